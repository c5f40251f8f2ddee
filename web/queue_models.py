"""Queues in requests and answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from pgtask.model.errors import QueueStateError
from pgtask.model.queue import QueueRecord
from pgtask.model.rate import Rate

from .fields import Duration, Priority, QueueName, TimeLimit, whole
from .inputs import Body
from .shapes import Shape
from .statistics_models import StatisticsShape

LARGEST = 2**31 - 1

_LENGTH = r"(0\.[0-9]{1,6}|[1-9][0-9]{0,8}(\.[0-9]{1,6})?)(s|m|min|h)|[1-9][0-9]{0,2}[dw]"
_RATE = rf"^[1-9][0-9]{{0,8}}/(s|sec|second|m|min|minute|h|hour|d|day|{_LENGTH})$"


def _rate(text: str) -> str:
    Rate.parse(text)
    if not re.search(_RATE, text) or text.endswith("\n"):
        raise ValueError("Write a rate without spaces and with six decimals at most, such as 100/min or 5/10s")
    return text


RateText = Annotated[
    str,
    AfterValidator(_rate),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": _RATE,
            "description": "So many in a length of time.",
            "examples": ["100/min", "5/10s", "1000/h"],
        },
        mode="validation",
    ),
]
"""A rate as people write it."""

BURST_WITH_RATE: dict[str, Any] = {
    "anyOf": [
        {"properties": {"rate_burst": {"type": "null"}}},
        {"properties": {"rate_limit": {"type": "string"}}, "required": ["rate_limit"]},
    ]
}
"""A burst belongs to a rate."""


_NO_RATE = "Without a rate there is no burst: give rate_limit, too, or leave rate_burst out."


def check_burst(rate: str | None, burst: int | None) -> None:
    """Raises ValueError for a burst without a rate."""
    if rate is None and burst is not None:
        raise ValueError(_NO_RATE.removesuffix("."))


def _optional(schema: dict[str, Any]) -> None:
    for found in schema["properties"].values():
        found.pop("default", None)
    schema["anyOf"] = [
        {"properties": {"rate_burst": {"type": "null"}}},
        {"properties": {"rate_limit": {"type": "string"}}},
    ]


class QueueSettings(Body):
    """What is set of a queue. What is null is inherited, or not limited."""

    model_config = ConfigDict(json_schema_extra=BURST_WITH_RATE)

    priority: Priority = 0
    """Queues with a bigger one are served first."""
    weight: int = Field(1, ge=1, le=1000)
    """Its share beside queues of equal priority."""
    max_retries: int | None = Field(None, ge=-1, le=LARGEST)
    """Retries of a job; 0 none, -1 without limit."""
    retry_strategy: Literal["fixed", "linear", "exponential"] | None = None
    """How the delay grows."""
    retry_delay: Duration | None = None
    """Delay before the first retry."""
    max_retry_delay: Duration | None = None
    """Longest delay before a retry."""
    timeout: TimeLimit | None = None
    """Longest run time of an attempt."""
    max_workers: int | None = Field(None, ge=0, le=LARGEST)
    """Jobs running at once, on all workers."""
    max_workers_per_key: int = Field(1, ge=1, le=LARGEST)
    """Jobs of one concurrency key running at once."""
    rate_limit: RateText | None = None
    """Starts of jobs."""
    rate_burst: int | None = Field(None, ge=1, le=LARGEST)
    """Starts at once after a quiet time; null is what the rate gives in a second."""
    max_size: int | None = Field(None, ge=1, le=LARGEST)
    """Waiting jobs, beyond which no more are enqueued."""
    retry_budget: float | None = Field(None, ge=0, le=1, examples=[0.2])
    """Retries as a share of starts while it fails."""
    dead_letter_queue: QueueName | None = None
    """Queue that gets a copy of each job that fails."""

    _whole = field_validator("*", mode="before")(whole)

    @model_validator(mode="after")
    def _check_burst(self) -> Self:
        check_burst(self.rate_limit, self.rate_burst)
        return self

    def changes(self, names: Iterable[str], before: QueueRecord | None = None) -> dict[str, Any]:
        """These settings as the database takes them. Raises QueueStateError for a burst where there is no rate."""
        found = {name: getattr(self, name) for name in names}
        if found.keys() & {"rate_limit", "rate_burst"}:
            burst = found.pop("rate_burst", None)
            text: str | None = found.get("rate_limit", before.rate_limit if before else None)
            if text is None and burst is not None:
                raise QueueStateError(_NO_RATE)
            found["rate_limit"] = None if text is None else Rate.parse(text, burst)
        return found


class NewQueue(QueueSettings):
    """A queue to be stored."""

    model_config = ConfigDict(json_schema_extra=BURST_WITH_RATE)

    name: QueueName


class QueueChanges(QueueSettings):
    """Settings of a queue to be changed; what is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra=_optional)

    @model_validator(mode="after")
    def _check_burst(self) -> Self:
        # A burst alone changes that of the rate there is.
        if "rate_limit" in self.model_fields_set:
            check_burst(self.rate_limit, self.rate_burst)
        return self


class QueueShape(Shape):
    """A queue, with what waits and runs in it."""

    model_config = ConfigDict(title="Queue", use_attribute_docstrings=True)

    name: str
    priority: int
    weight: int
    paused_at: datetime | None
    paused_by: str | None
    max_retries: int | None
    retry_strategy: str | None
    retry_delay: float | None
    max_retry_delay: float | None
    timeout: float | None
    max_workers: int | None
    max_workers_per_key: int
    rate_limit: str | None
    rate_burst: int | None
    max_size: int | None
    retry_budget: float | None
    dead_letter_queue: str | None
    created_at: datetime | None
    """Null where nothing is stored of it, and it is there only by what names it."""
    pending: int
    """Due, and never tried."""
    pending_estimated: bool
    scheduled: int
    """Not yet due."""
    retrying: int
    running: int
    counts_exact: bool
    """Otherwise the counts are lower bounds, and `pending` is an estimate where `pending_estimated` says so."""
    oldest_due_at: datetime | None
    workers: int
    """Live ones that serve it."""


class QueueStatsShape(QueueShape):
    """A queue, with what came of its jobs."""

    model_config = ConfigDict(title="QueueStatistics", use_attribute_docstrings=True)

    statistics: StatisticsShape
    drain_seconds: float | None
    """Until what is due has ended, at the pace of these statistics and if nothing came in; null when nothing ends."""
