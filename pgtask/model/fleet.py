"""Workers, and the tasks they have registered."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord:
    """One start of a worker process.

    `state` is `running`, `stopping` (asked to shut down), `lost` (its lease has run out), `dead`
    (declared so, its jobs taken back) or `stopped` (shut down in good order).
    """

    id: int
    name: str
    host: str
    pid: int
    version: str
    state: str
    queues: list[str] | None
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
    completed: int
    """Attempts that completed there."""
    unsuccessful: int
    """Attempts that failed there, tried again or not."""
    leader: bool

    @property
    def live(self) -> bool:
        """Whether it may run jobs."""
        return self.state in ("running", "stopping")

    def seen_from(self, queues: Collection[str]) -> WorkerRecord | None:
        """The worker as far as it serves some of these queues, None where it serves none of them."""
        if self.queues is None:
            return self
        served = [queue for queue in self.queues if queue in queues]
        return replace(self, queues=served) if served else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """A task with the defaults it was registered with, its rate, and its circuit. `live`: some live worker may know it.

    `rate_set_by` is None for a rate that the code declares. `circuit` is `closed`, `open` (its jobs are held, until
    `next_probe_at` if it has one) or `half_open` (one probes). `error_rate` is that of the breaker's window.
    """

    name: str
    queue: str
    priority: int
    max_retries: int | None
    retry_strategy: str | None
    retry_delay: float | None
    max_retry_delay: float | None
    timeout: float | None
    payload_schema: Any
    code_version: str | None
    last_seen_at: datetime
    live: bool
    rate_limit: int | None
    rate_period_seconds: float | None
    rate_burst: int | None
    rate_set_by: str | None
    breaker_failures: int | None
    breaker_rate: float | None
    breaker_window_seconds: float | None
    breaker_minimum: int | None
    breaker_hold_seconds: float | None
    breaker_max_hold_seconds: float | None
    circuit: str
    circuit_changed_at: datetime | None
    circuit_changed_by: str | None
    circuit_reason: str | None
    next_probe_at: datetime | None
    probe_job_id: int | None
    error_rate: float | None
