"""Everything at one glance: queues, workers, what runs, what fails."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgtask.model.event import JobEvent, event_as_json
from pgtask.model.fleet import WorkerRecord
from pgtask.model.queue import QueueRecord
from pgtask.model.serialise import instant_as_text, record_as_json, statistics_as_json
from pgtask.model.statistics import Statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What was read at about `at`, by the database's clock; the statistics may be somewhat older."""

    at: datetime
    queues: list[QueueRecord]
    workers: list[WorkerRecord]
    statistics: Statistics
    running: list[JobEvent]
    failures: list[JobEvent]

    def total(self, field: str) -> int:
        """The sum of a count over the queues."""
        return sum(getattr(queue, field) for queue in self.queues)

    @property
    def oldest_due_at(self) -> datetime | None:
        """Since when the oldest waiting job has been due."""
        return min((queue.oldest_due_at for queue in self.queues if queue.oldest_due_at), default=None)

    @property
    def rate(self) -> float:
        """Attempts per second, of the last full minute and the one that runs."""
        latest = self.statistics.timeline[-2:]
        if not latest:
            return 0.0
        ended = sum(bucket.completed + bucket.unsuccessful for bucket in latest)
        return ended / max((self.at - latest[0].began_at).total_seconds(), 1.0)


def overview_as_json(overview: Overview) -> dict[str, Any]:
    """An overview as one document."""
    fields = ("pending", "scheduled", "retrying", "running")
    oldest = overview.oldest_due_at
    totals: dict[str, Any] = {field: overview.total(field) for field in fields}
    totals |= {"oldest_due_at": oldest and instant_as_text(oldest), "attempts_per_second": overview.rate}
    return {
        "at": instant_as_text(overview.at),
        "totals": totals,
        "queues": [record_as_json(queue) for queue in overview.queues],
        "workers": [record_as_json(worker) for worker in overview.workers],
        "running": [event_as_json(job) for job in overview.running],
        "failures": [event_as_json(job) for job in overview.failures],
        "statistics": statistics_as_json(overview.statistics),
    }
