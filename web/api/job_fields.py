"""What a request may say of a job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, WithJsonSchema, model_validator

from pgtask.model.errors import DeadlineError
from pgtask.model.unique import Unique

from ..fields import WHOLE, Duration, Instant, Priority
from ..inputs import Body


def _text(most: int) -> Any:
    """Text of 1 to so many bytes in UTF-8, without U+0000."""

    def check(value: str) -> str:
        if not value or (4 * len(value) > most and len(value.encode()) > most):
            raise ValueError(f"Write 1 to {most} bytes")
        if "\0" in value:
            raise ValueError("U+0000 cannot be stored")
        return value

    ascii_text = {"type": "string", "minLength": 1, "maxLength": most, "pattern": "^[ -~]+$"}
    any_text = {"type": "string", "minLength": 1, "maxLength": most // 4, "pattern": "^[^\\u0000]+$"}
    description = f"1 to {most} bytes in UTF-8."
    return (
        AfterValidator(check),
        WithJsonSchema({"anyOf": [ascii_text, any_text], "description": description}, mode="validation"),
    )


TaskName = Annotated[str, *_text(256)]
QueueName = Annotated[str, *_text(128)]
Key = Annotated[str, *_text(512)]
TraceParent = Annotated[str, *_text(256)]
Tags = Annotated[list[Annotated[str, *_text(128)]], Field(max_length=30)]
Path = Annotated[str, Field(pattern=r"^[^.\x00]+(\.[^.\x00]+)*$", max_length=200)]
Retries = Annotated[int, Field(ge=-1, le=2**31 - 1), WHOLE]
"""Retries after the first attempt; -1 without limit."""

_LONGER_THAN_NOTHING = {
    "anyOf": [
        {"type": "number", "minimum": 0.001, "maximum": 1e9},
        {"type": "string", "pattern": r"^[1-9][0-9]{0,4} ?(ms|s|min|m|h|d|w)$"},
    ],
    "description": 'Seconds, or text such as "2s", "5m" or "1h 30m".',
    "examples": [60, "5m"],
}

TimeLimit = Annotated[Duration, Field(ge=0.000001), WithJsonSchema(_LONGER_THAN_NOTHING, mode="validation")]
"""Seconds, more than none."""

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def _storable(value: datetime) -> datetime:
    if not _FIRST <= value < _LAST:
        raise ValueError("Write a time from 1970 to 9998")
    return value


When = Annotated[
    Instant,
    AfterValidator(_storable),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "pattern": "^(19[89][0-9]|[2-8][0-9]{3})-",
            "description": "An RFC 3339 time with its offset.",
            "examples": ["2030-01-01T07:00:00Z"],
        },
        mode="validation",
    ),
]


def never_both(*pairs: tuple[str, str]) -> list[JsonValue]:
    """That of each pair not both are given, in JSON Schema."""
    given: list[JsonValue] = [
        {"required": list(pair), "properties": {name: {"not": {"type": "null"}} for name in pair}} for pair in pairs
    ]
    return [{"not": {"anyOf": given}}]


class JobOptions(Body):
    """How jobs are to run. What is null or left out comes from the task, then the queue."""

    queue: QueueName | None = None
    priority: Priority | None = None
    delay: Duration | None = None
    """From now on. Not together with `scheduled_at`."""
    scheduled_at: When | None = None
    max_retries: Retries | None = None
    """Retries after the first attempt; 0 none, -1 without limit."""
    retry_strategy: Literal["fixed", "linear", "exponential"] | None = None
    retry_delay: Duration | None = None
    max_retry_delay: Duration | None = None
    timeout: TimeLimit | None = None
    """Longest run time of an attempt."""
    concurrency_key: Key | None = None
    """Jobs of one key share the limit per key of their queue."""
    start_by: When | None = None
    """Cancelled unless started by then. Not together with `expires`."""
    expires: TimeLimit | None = None
    """Cancelled unless started within this."""
    tags: Tags | None = None
    traceparent: TraceParent | None = None
    """W3C trace context."""
    unique_by: Annotated[list[Path], Field(max_length=20)] | None = None
    """The key is made of the values at these paths of the payload, such as `order.id`; none: of all of it."""
    unique_scope: Literal["waiting", "active", "until_success", "always"] | None = None
    """How long the key is held; `active` unless given: while the job waits or runs."""
    unique_window: TimeLimit | None = None
    """The key is held no longer than this."""
    on_conflict: Literal["skip", "error", "replace", "reschedule"] | None = None
    """What to do where the key is held; `skip` unless given: answer with its holder."""
    max_wait: Duration | None = None
    """With `reschedule`: no later after the first one was made."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        given = self.model_fields_set
        if self.delay is not None and self.scheduled_at is not None:
            raise ValueError("Give delay or scheduled_at, not both")
        if self.start_by is not None and self.expires is not None:
            raise ValueError("Give start_by or expires, not both")
        if not given.isdisjoint(_UNIQUE):
            self._check_unique()
        return self

    def check_times(self) -> None:
        """Raises DeadlineError for a job that never could start. That goes by the clock, so no schema tells."""
        if self.start_by is None and self.expires is None:
            return
        now = datetime.now(UTC)
        last = now + timedelta(seconds=self.expires) if self.expires is not None else self.start_by
        if last is not None and last <= now:
            raise DeadlineError("start_by has passed: give an instant to come")
        if last is not None and last < (self.scheduled_at or now + timedelta(seconds=self.delay or 0)):
            raise DeadlineError("The job would expire before it is due: let it expire later")

    def _check_unique(self) -> None:
        key = getattr(self, "unique_key", None)
        by = True if self.unique_by == [] else self.unique_by
        if any(getattr(self, name) is not None for name in _UNIQUE):
            Unique(
                key=key,
                by=by,
                scope=self.unique_scope or "active",
                window=self.unique_window,
                on_conflict=self.on_conflict or "skip",
                max_wait=self.max_wait,
            ).checked()

    def options(self) -> dict[str, Any]:
        """What was given of it."""
        return {name: getattr(self, name) for name in self.model_fields_set if name not in _NO_OPTIONS}


_UNIQUE = frozenset({"unique_by", "unique_scope", "unique_window", "on_conflict", "max_wait"})
_NO_OPTIONS = frozenset({"task", "type", "payload", "jobs", "payloads"})

EITHER_TASK_OR_TYPE: JsonValue = {
    "oneOf": [
        {"required": ["task"], "properties": {"task": {"type": "string"}, "type": {"type": "null"}}},
        {"required": ["type"], "properties": {"type": {"type": "string"}, "task": {"type": "null"}}},
    ]
}
NEVER_BOTH: list[JsonValue] = never_both(
    ("delay", "scheduled_at"), ("start_by", "expires"), ("unique_key", "unique_by")
)


def named_task(task: str | None, synonym: str | None) -> str:
    """The task that `task`, or `type` as its synonym, names. Raises ValueError."""
    named = synonym if task is None else task
    if named is None:
        raise ValueError("Name the task to run: task")
    if synonym is not None and synonym != named:
        raise ValueError("task and type mean the same: give one of them")
    return named


class NewJob(JobOptions):
    """A job to enqueue."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [EITHER_TASK_OR_TYPE, *NEVER_BOTH],
            "examples": [
                {"task": "echo", "payload": {"message": "hi"}},
                {"task": "email.send", "payload": {"to": "a@b.c"}, "queue": "mail", "priority": "high", "delay": "5m"},
            ],
        }
    )

    task: TaskName | None = None
    """The task to run. It need not be registered yet."""
    type: TaskName | None = None
    """The same as `task`, for clients that say so."""
    payload: dict[str, Any] = Field(default_factory=dict)
    """Its keyword arguments, stored exactly as they are."""
    unique_key: Key | None = None
    """Only one live job has this key; how long else it is held, `unique_scope` says."""

    @model_validator(mode="after")
    def _name_task(self) -> Self:
        named_task(self.task, self.type)
        return self

    @property
    def name(self) -> str:
        """The task."""
        return named_task(self.task, self.type)
