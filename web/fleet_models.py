"""Task types and workers in requests and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from .fields import Text, TimeLimit, whole
from .inputs import Body
from .queue_models import BURST_WITH_RATE, LARGEST, RateText, check_burst
from .shapes import JobShape, Shape


class TaskRate(Body):
    """The rate of a task, counting all starts in the whole fleet."""

    model_config = ConfigDict(json_schema_extra=BURST_WITH_RATE)

    rate_limit: RateText | None
    """Null leaves its starts without a limit."""
    rate_burst: int | None = Field(None, ge=1, le=LARGEST)
    """Starts at once after a quiet time; null is what the rate gives in a second."""

    _whole = field_validator("*", mode="before")(whole)

    @model_validator(mode="after")
    def _check_burst(self) -> Self:
        check_burst(self.rate_limit, self.rate_burst)
        return self


class Opening(Body):
    """How a circuit is opened."""

    hold: TimeLimit | None = None
    """Then one job probes; null is until the circuit is closed by hand."""
    reason: Annotated[Text, Field(max_length=1000)] | None = None
    """Shown beside the circuit."""


class TaskTypeShape(Shape):
    """A task as workers have registered it, with its rate and its circuit."""

    model_config = ConfigDict(title="TaskType", use_attribute_docstrings=True)

    name: str
    queue: str
    """Where its jobs go unless they say otherwise."""
    priority: int
    max_retries: int | None
    retry_strategy: str | None
    retry_delay: float | None
    max_retry_delay: float | None
    timeout: float | None
    payload_schema: Any
    """What its jobs' arguments are to look like, as JSON Schema; null where that is not known."""
    code_version: str | None
    last_seen_at: datetime
    live: bool
    """Some live worker may know it."""
    rate_limit: int | None
    """Starts in `rate_period_seconds`."""
    rate_period_seconds: float | None
    rate_burst: int | None
    rate_set_by: str | None
    """Null for what the code declares."""
    breaker_failures: int | None
    breaker_rate: float | None
    breaker_window_seconds: float | None
    breaker_minimum: int | None
    breaker_hold_seconds: float | None
    breaker_max_hold_seconds: float | None
    circuit: Literal["closed", "open", "half_open"]
    """Of an open one the jobs are held, of a half open one all but a probe."""
    circuit_changed_at: datetime | None
    circuit_changed_by: str | None
    circuit_reason: str | None
    next_probe_at: datetime | None
    probe_job_id: int | None
    error_rate: float | None
    """Share of the attempts that failed in the breaker's window."""


class WorkerShape(Shape):
    """One start of a worker."""

    model_config = ConfigDict(title="Worker", use_attribute_docstrings=True)

    id: int
    name: str
    host: str
    pid: int
    version: str
    state: Literal["running", "stopping", "lost", "dead", "stopped"]
    """Lost: its lease has run out; dead: its jobs were taken back; stopped: it shut down in good order."""
    queues: list[str] | None
    """Null is all."""
    executors: int
    slots: int
    running: int
    lease: float
    started_at: datetime
    heartbeat_at: datetime
    expires_at: datetime
    stopping_at: datetime | None
    dead_at: datetime | None
    cpu_percent: float | None
    rss_bytes: int | None
    leader: bool


class WorkerWithJobs(WorkerShape):
    """One start of a worker, and what it runs now."""

    model_config = ConfigDict(title="WorkerWithJobs", use_attribute_docstrings=True)

    jobs: list[JobShape]
