"""Statistics, and everything at one glance."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import current_app
from pydantic import ConfigDict

from pgtask.database import statistics
from pgtask.database.connection import Connection
from pgtask.database.overview import OverviewReader
from pgtask.model.errors import QueueNotFoundError
from pgtask.model.overview import overview_as_json
from pgtask.model.serialise import statistics_as_json

from ..contract import Section
from ..fields import QueueName, TaskName
from ..fleet_models import WorkerShape
from ..queue_models import QueueShape
from ..requests import caller, require_queue
from ..shapes import Shape
from ..statistics_models import Span, StatisticsShape

section = Section("statistics", "Throughput, errors and times, and how things stand.")

_READERS = 100
"""Readers of overviews that are kept, one for each set of queues that tokens are limited to."""


class StatsQuery(Span):
    """Which statistics."""

    queue: QueueName | None = None
    task: TaskName | None = None


class EventShape(Shape):
    """An attempt that started or ended."""

    model_config = ConfigDict(title="JobEvent", use_attribute_docstrings=True)

    event: str
    at: datetime
    id: int
    """The job's."""
    task: str
    queue: str
    attempt: int | None
    status: str
    outcome: str | None
    run_seconds: float | None
    worker_id: int | None
    error_type: str | None
    error: str | None


class TotalsShape(Shape):
    """All queues together."""

    model_config = ConfigDict(title="Totals", use_attribute_docstrings=True)

    pending: int
    scheduled: int
    retrying: int
    running: int
    oldest_due_at: datetime | None
    attempts_per_second: float
    """Of the last full minute and the one that runs."""


class OverviewShape(Shape):
    """How things stand."""

    model_config = ConfigDict(title="Overview", use_attribute_docstrings=True)

    at: datetime
    totals: TotalsShape
    queues: list[QueueShape]
    workers: list[WorkerShape]
    """Live, or ended within ten minutes."""
    running: list[EventShape]
    """200 at most."""
    failures: list[EventShape]
    """Of half an hour, 200 at most."""
    statistics: StatisticsShape
    """Of half an hour; on a busy system some seconds old."""


@section.get("/stats", answer=StatisticsShape, problems={404})
def get_stats(connection: Connection, query: StatsQuery) -> dict[str, Any]:
    """Throughput, errors and times by queue and task, and along time."""
    queues = caller().queues
    if query.queue is not None:
        require_queue(query.queue, QueueNotFoundError(query.queue, ()))
        queues = frozenset({query.queue})
    span = query.chosen(statistics.current_instant(connection))
    found = statistics.read_statistics(connection, span, queues=queues, task=query.task, step=query.step)
    return statistics_as_json(found)


@section.get("/overview", answer=OverviewShape)
def get_overview(connection: Connection) -> dict[str, Any]:
    """Queues, workers, what runs and what failed of late, in one document."""
    return overview_as_json(_reader(caller().queues).read(connection))


def _reader(queues: frozenset[str] | None) -> OverviewReader:
    # Kept, as one reader reads the statistics less often than the rest.
    readers: dict[frozenset[str] | None, OverviewReader] = current_app.extensions.setdefault("pgtask.overviews", {})
    if queues not in readers and len(readers) >= _READERS:
        readers.clear()
    return readers.setdefault(queues, OverviewReader(queues))
