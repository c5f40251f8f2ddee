"""Schedules in requests and answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal, cast

from pydantic import AliasChoices, ConfigDict, Field, WithJsonSchema, field_validator

from pgtask.model.payload import encode
from pgtask.model.schedule import MAX_JITTER, MAX_LIMIT, MAX_NAME

from .fields import Duration, Instant, Priority, QueueName, TaskName, Text, TimeLimit, whole
from .inputs import Body
from .shapes import Shape

_SYNONYMS = {"task": ("type", "job_type"), "expression": ("cron", "cron_expr")}
_TASK = AliasChoices("task", *_SYNONYMS["task"])
_EXPRESSION = AliasChoices("expression", *_SYNONYMS["expression"])

Expression = Annotated[Text, Field(min_length=1, max_length=1000, examples=["0 7 * * mon-fri", "@daily", "@every 5m"])]
"""Five cron fields, six with `seconds`, an alias, or @every and a length of time."""

Jitter = Annotated[
    Duration,
    Field(le=MAX_JITTER),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": MAX_JITTER},
                {"type": "string", "pattern": r"^[0-9]{1,3}(ms|s|m|min)( ?[0-9]{1,3}(ms|s|m|min))?$"},
            ],
            "examples": [60, "5m"],
        },
        mode="validation",
    ),
]
Zone = Annotated[Text, Field(min_length=1, max_length=64, examples=["Europe/Vienna"])]
SecondsPlace = Literal["first", "last"]
Tag = Annotated[Text, Field(min_length=1, max_length=200)]


def _synonyms(*, required: bool) -> Callable[[dict[str, Any]], None]:
    """Says in a schema that a field has further names, of which one is given, or at most one."""

    def extend(schema: dict[str, Any]) -> None:
        rules = []
        for name, others in _SYNONYMS.items():
            properties = schema["properties"]
            if name not in properties:
                continue
            for other in others:
                properties[other] = {**properties[name], "description": f"The same as `{name}`."}
            given: list[dict[str, Any]] = [{"required": [word]} for word in (name, *others)]
            rules.append({"oneOf": given if required else [*given, {"not": {"anyOf": given}}]})
        schema["allOf"] = rules
        schema["required"] = [name for name in schema.get("required", ()) if name not in _SYNONYMS]
        if not required:
            for found in schema["properties"].values():
                found.pop("default", None)

    return extend


class ScheduleTerms(Body):
    """What a schedule is to do, beside its task and its expression. What is null is the task's."""

    timezone: Zone = "UTC"
    """IANA name of a time zone."""
    seconds: SecondsPlace | None = None
    """Where seconds stand in six fields."""
    payload: dict[str, Any] = Field({})
    """The arguments of its jobs."""
    queue: QueueName | None = None
    priority: Priority | None = None
    max_retries: int | None = Field(None, ge=-1, le=2**31 - 1)
    """Retries of each job; 0 none, -1 without limit."""
    timeout: TimeLimit | None = None
    """Longest run of an attempt."""
    tags: list[Tag] = Field([], max_length=50)
    """Tags of its jobs; together up to 4000 bytes, each counting 8 more."""
    catchup: Literal["none", "one", "all"] = "one"
    """Missed ticks that fire: none, the latest, or all."""
    catchup_limit: int = Field(100, ge=1, le=MAX_LIMIT)
    """With `all`, at most so many."""
    catchup_max_age: Duration = 604800.0
    """With `all`, none older than this."""
    overlap: Literal["allow", "skip", "queue_one", "cancel_running"] = "queue_one"
    """What a tick does while earlier jobs live."""
    jitter: Jitter = 0.0
    """Puts each job off by up to this; a day at most."""
    starts_at: Instant | None = None
    """No tick before."""
    ends_at: Instant | None = None
    """No tick after."""

    _whole = field_validator("*", mode="before")(whole)

    def values(self) -> dict[str, Any]:
        """What was given or holds by default, as the database takes it. Raises PayloadError."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return found | {"payload": encode(self.payload), "tags": self.tags or None}


class ScheduleSettings(ScheduleTerms):
    """What a schedule is to do."""

    model_config = ConfigDict(json_schema_extra=_synonyms(required=True))

    task: TaskName = Field(validation_alias=_TASK)
    """The task to enqueue."""
    expression: Expression = Field(validation_alias=_EXPRESSION)
    """When it is due."""


class NewSchedule(ScheduleSettings):
    """A schedule to be made."""

    name: Annotated[Text, Field(min_length=1, max_length=MAX_NAME)]


class ScheduleChanges(ScheduleTerms):
    """What a schedule is to do otherwise; what is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra=_synonyms(required=False))

    task: TaskName = Field(cast("Any", None), validation_alias=_TASK)
    """The task to enqueue."""
    expression: Expression = Field(cast("Any", None), validation_alias=_EXPRESSION)
    """When it is due."""

    def values(self) -> dict[str, Any]:
        """What was given, as the database takes it. Raises PayloadError."""
        given = super().values()
        return {name: given[name] for name in self.model_fields_set}


class Recurring(Body):
    """An expression to be tried."""

    model_config = ConfigDict(json_schema_extra=_synonyms(required=True))

    expression: Expression = Field(validation_alias=_EXPRESSION)
    timezone: Zone = "UTC"
    """IANA name of a time zone."""
    seconds: SecondsPlace | None = None
    """Where seconds stand in six fields."""
    limit: int = Field(10, ge=1, le=100)
    """How many ticks."""


class ScheduleShape(Shape):
    """A schedule."""

    model_config = ConfigDict(title="Schedule", use_attribute_docstrings=True)

    id: int
    name: str
    state: Literal["active", "paused", "orphaned", "broken", "over"]
    """Orphaned: no longer declared in the code it came from; broken: see `error`; over: no more ticks."""
    source: Literal["code", "runtime"]
    application: str | None
    """The one whose code declares it."""
    expression: str
    timezone: str
    seconds: str | None
    task: str
    payload: Any
    queue: str | None
    """Null is the task's."""
    priority: int | None
    max_retries: int | None
    timeout: float | None
    tags: list[str] | None
    catchup: str
    catchup_limit: int
    catchup_max_age: float
    overlap: str
    jitter: float
    starts_at: datetime | None
    ends_at: datetime | None
    anchored_at: datetime
    """What @every counts from."""
    paused_at: datetime | None
    paused_by: str | None
    orphaned_at: datetime | None
    error: str | None
    next_tick_at: datetime | None
    last_tick_at: datetime | None
    created_at: datetime
    updated_at: datetime


class TickShape(Shape):
    """A tick that was seen to."""

    model_config = ConfigDict(title="Tick", use_attribute_docstrings=True)

    tick_at: datetime
    fired_at: datetime
    """When it was seen to, whatever came of it."""
    outcome: Literal["fired", "skipped", "missed"]
    backfill: bool
    """It fired late."""
    reason: str | None
    """Why it did not fire."""
    job_id: int | None
    status: str | None
    """Its job's."""
    started_at: datetime | None
    finished_at: datetime | None


class UpcomingShape(Shape):
    """A tick to come."""

    model_config = ConfigDict(title="UpcomingTick", use_attribute_docstrings=True)

    tick_at: datetime
    local: datetime
    """The same in the schedule's time zone."""
    clock_change: str | None
    """What a change of clocks does to it."""


class RanShape(Shape):
    """A job that was enqueued outside of the ticks."""

    model_config = ConfigDict(title="ScheduleRun", use_attribute_docstrings=True)

    name: str
    """The schedule's."""
    job_id: int
