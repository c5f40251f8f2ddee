"""Reading everything at one glance, cheaply enough to do it again and again."""

from __future__ import annotations

import time
from collections.abc import Iterable

from psycopg.rows import scalar_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.fleet import list_workers
from pgtask.database.following import latest_failures, under_way
from pgtask.database.listing import JobFilter
from pgtask.database.queues import list_queues
from pgtask.database.reading import reading
from pgtask.database.statistics import read_statistics
from pgtask.model.event import JobEvent
from pgtask.model.overview import Overview
from pgtask.model.statistics import Statistics

_INSTANT = statements.load("current_instant")

WINDOW = 1800.0
"""Seconds that statistics and failures go back."""

JOBS = 200
"""Running and failed jobs, each, at most."""

SHARE = 0.05
"""Of the time may be spent on statistics, which read all runs of the last minutes."""


class OverviewReader:
    """Reads overviews; on a busy system it reads the statistics less often than the rest."""

    def __init__(self, queues: Iterable[str] | None = None) -> None:
        """Of these queues, or of all, and of the workers that serve them."""
        self._queues = None if queues is None else sorted(queues)
        self._statistics: Statistics | None = None
        self._due_at = 0.0

    def read(self, connection: Connection) -> Overview:
        """How things stand. Raises DatabaseUnavailableError, TimeLimitError."""
        begun = time.monotonic()
        if self._statistics is None or begun >= self._due_at:
            self._statistics = read_statistics(connection, WINDOW, queues=self._queues)
            ended = time.monotonic()
            self._due_at = ended + (ended - begun) / SHARE
        queues, workers = list_queues(connection), list_workers(connection, ended_within=600)
        if self._queues is not None:
            queues = [queue for queue in queues if queue.name in self._queues]
            workers = [seen for worker in workers if (seen := worker.seen_from(self._queues)) is not None]
        with reading(connection):
            with connection.cursor(row_factory=scalar_row) as cursor:
                at = cursor.execute(_INSTANT, {"delay": 0.0}).fetchone()
            assert at is not None
            return Overview(
                at=at,
                queues=queues,
                workers=workers,
                statistics=self._statistics,
                running=self._running(connection),
                failures=latest_failures(connection, WINDOW, JOBS, self._queues),
            )

    def _running(self, connection: Connection) -> list[JobEvent]:
        if self._queues is None:
            return under_way(connection, JobFilter(), JOBS)
        found = [event for queue in self._queues for event in under_way(connection, JobFilter(queue=queue), JOBS)]
        return sorted(found, key=lambda event: event.at, reverse=True)[:JOBS]
