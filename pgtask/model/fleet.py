"""Workers, and the tasks they have registered."""

from __future__ import annotations

from dataclasses import dataclass
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
    leader: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """A task with the defaults it was registered with. `live`: some live worker may know it."""

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
