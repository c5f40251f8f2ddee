"""What is measured of the system as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pgtask.model.fleet import WorkerRecord
from pgtask.model.queue import QueueRecord
from pgtask.model.statistics import Statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTotals:
    """What came of all attempts at a task in a queue, ever. `run_buckets` has one number more than there are bounds.

    `pairs` is how many tasks of queues there are in all.
    """

    queue: str
    task: str
    completed: int
    failed: int
    retried: int
    cancelled: int
    lost: int
    run_seconds: float
    run_buckets: list[int] | None
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseHealth:
    """What makes a database slow before it fails. `oldest_snapshot_seconds` is None where nothing holds one."""

    oldest_snapshot_seconds: float | None
    notification_queue: float
    """Share of the room for notifications that is in use."""
    sessions: int
    transaction_age: int
    dead_rows: dict[str, int] = field(default_factory=dict)
    """By table."""
    total_bytes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All that is shown to Prometheus, as it stood at one moment."""

    created: int
    """Ids of jobs that were given out, those of enqueues that were rolled back included."""
    bounds: Sequence[float]
    """Upper bounds of the buckets of durations, in seconds."""
    totals: Sequence[TaskTotals]
    queues: Sequence[QueueRecord]
    workers: Sequence[WorkerRecord]
    health: DatabaseHealth
    queue_seconds: dict[str, float] = field(default_factory=dict)
    """How long the oldest due job of each queue has waited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Slots that there were on average, and how many of them were busy."""

    slots: float
    busy: float

    @property
    def share(self) -> float | None:
        """How much of the slots was used, from 0 to 1; None without any."""
        return self.busy / self.slots if self.slots else None


def metrics_as_json(
    statistics: Statistics, use: Use, queues: Sequence[QueueRecord], workers: Sequence[WorkerRecord]
) -> dict[str, Any]:
    """The system in figures, over the window of the statistics."""
    total, alive = statistics.total, [worker for worker in workers if worker.dead_at is None]
    completed_per_second = total.completed / statistics.window
    return {
        "window_seconds": statistics.window,
        "throughput": {
            "attempts": total.attempts,
            "attempts_per_second": statistics.rate(total),
            "completed": total.completed,
            "completed_per_second": completed_per_second,
        },
        "error_rate": total.error_rate,
        "average_run_seconds": total.average_run,
        "average_wait_seconds": total.average_wait,
        "tasks": [
            {
                "task": name,
                "attempts": tally.attempts,
                "average_run_seconds": tally.average_run,
                "max_run_seconds": tally.max_run_seconds,
                "error_rate": tally.error_rate,
            }
            for name, tally in statistics.by_task.items()
        ],
        "queues": [
            {
                "queue": queue.name,
                "pending": queue.pending,
                "scheduled": queue.scheduled,
                "retrying": queue.retrying,
                "running": queue.running,
                "counts_exact": queue.counts_exact,
                "paused": queue.paused_at is not None,
            }
            for queue in queues
        ],
        "workers": {
            "active": len(alive),
            "slots": sum(worker.slots for worker in alive),
            "running": sum(worker.running for worker in alive),
            "average_slots": use.slots,
            "average_busy": use.busy,
            "efficiency": use.share,
            "cpu_percent": sum(worker.cpu_percent or 0.0 for worker in alive),
            "rss_bytes": sum(worker.rss_bytes or 0 for worker in alive),
        },
    }
