"""Reading everything at one glance, cheaply enough to do it again and again."""

from __future__ import annotations

import time

from psycopg.rows import scalar_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.fleet import list_workers
from pgtask.database.following import latest_failures, under_way
from pgtask.database.listing import JobFilter
from pgtask.database.queues import list_queues
from pgtask.database.reading import reading
from pgtask.database.statistics import read_statistics
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

    def __init__(self) -> None:
        self._statistics: Statistics | None = None
        self._due_at = 0.0

    def read(self, connection: Connection) -> Overview:
        """How things stand. Raises DatabaseUnavailableError, TimeLimitError."""
        begun = time.monotonic()
        if self._statistics is None or begun >= self._due_at:
            self._statistics = read_statistics(connection, WINDOW)
            ended = time.monotonic()
            self._due_at = ended + (ended - begun) / SHARE
        queues, workers = list_queues(connection), list_workers(connection, ended_within=600)
        with reading(connection):
            with connection.cursor(row_factory=scalar_row) as cursor:
                at = cursor.execute(_INSTANT, {"delay": 0.0}).fetchone()
            assert at is not None
            return Overview(
                at=at,
                queues=queues,
                workers=workers,
                statistics=self._statistics,
                running=under_way(connection, JobFilter(), JOBS),
                failures=latest_failures(connection, WINDOW, JOBS),
            )
