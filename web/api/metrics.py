"""The system in figures."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pgtask.database import metering
from pgtask.database.connection import Connection
from pgtask.database.fleet import list_workers
from pgtask.database.queues import list_queues
from pgtask.database.statistics import read_statistics
from pgtask.model.metrics import metrics_as_json

from ..contract import Section
from ..inputs import Query
from ..requests import require_all_queues
from ..shapes import Shape

section = Section("metrics", "The system in figures. For Prometheus there is /metrics, outside the API.")


class MetricsQuery(Query):
    """Over what time."""

    window: int = Field(default=300, ge=60, le=86400)
    """Seconds to look back, from a full minute on."""


class Throughput(Shape):
    """Attempts that ran to an end of their own."""

    attempts: int
    attempts_per_second: float
    completed: int
    completed_per_second: float


class TaskFigures(Shape):
    """A task in figures."""

    task: str
    attempts: int
    average_run_seconds: float | None
    """From start to end; null where none has ended."""
    max_run_seconds: float
    error_rate: float | None


class QueueFigures(Shape):
    """What is in a queue."""

    queue: str
    pending: int
    scheduled: int
    retrying: int
    running: int
    counts_exact: bool
    paused: bool


class WorkerFigures(Shape):
    """All live workers together."""

    active: int
    slots: int
    running: int
    average_slots: float
    """Over the window, as in the next one."""
    average_busy: float
    efficiency: float | None
    """Share of the slots that was busy over the window; null without workers."""
    cpu_percent: float
    """Of one core."""
    rss_bytes: int


class Metrics(Shape):
    """The system in figures."""

    window_seconds: float
    throughput: Throughput
    error_rate: float | None
    """Share of the attempts that failed; null where none has ended."""
    average_run_seconds: float | None
    average_wait_seconds: float | None
    """From due to started."""
    tasks: list[TaskFigures]
    queues: list[QueueFigures]
    workers: WorkerFigures


@section.get("/metrics", answer=Metrics, problems={403})
def get_metrics(connection: Connection, query: MetricsQuery) -> dict[str, Any]:
    """Throughput, durations, error rates, queues and workers."""
    require_all_queues()
    window = float(query.window)
    return metrics_as_json(
        read_statistics(connection, window),
        metering.use_of_workers(connection, window),
        list_queues(connection),
        list_workers(connection, ended_within=60.0),
    )
