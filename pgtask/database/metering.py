"""Reading what is measured of the system, for Prometheus and for the API."""

from __future__ import annotations

from psycopg.rows import class_row, scalar_row

from pgtask.database import health, statements
from pgtask.database.connection import Connection
from pgtask.database.fleet import list_workers
from pgtask.database.queues import list_queues
from pgtask.database.reading import reading
from pgtask.database.statistics import current_instant
from pgtask.model.errors import NotSeenError
from pgtask.model.metrics import DatabaseHealth, Measured, TaskTotals, Use

_TOTALS = statements.load("read_totals")
_BOUNDS = statements.load("read_duration_bounds")
_CREATED = statements.load("read_created")
_SNAPSHOT = statements.load("oldest_snapshot")
_USE = statements.load("use_of_workers")

MOST = 1000
"""Tasks of queues that are shown to Prometheus: each is some thirty series."""


def measure(connection: Connection) -> Measured:
    """All that is shown to Prometheus. Raises TimeLimitError, DatabaseUnavailableError."""
    queues, workers = list_queues(connection), list_workers(connection, ended_within=60.0)
    now = current_instant(connection)
    with reading(connection):
        with connection.cursor(row_factory=class_row(TaskTotals)) as cursor:
            totals = cursor.execute(_TOTALS, {"most": MOST}).fetchall()
        with connection.cursor(row_factory=scalar_row) as scalars:
            bounds: list[float] = scalars.execute(_BOUNDS).fetchone() or []
            created: int = scalars.execute(_CREATED).fetchone() or 0
            snapshot: float | None = scalars.execute(_SNAPSHOT).fetchone()
    server = health.read_server(connection)
    try:
        tables = health.read_tables(connection)
    except NotSeenError:
        tables = []
    return Measured(
        created=created,
        bounds=bounds,
        totals=totals,
        queues=queues,
        workers=workers,
        health=DatabaseHealth(
            oldest_snapshot_seconds=snapshot,
            notification_queue=server.notification_queue,
            sessions=server.sessions,
            transaction_age=server.transaction_age,
            dead_rows={table.name: table.dead_rows for table in tables},
            total_bytes={table.name: table.total_bytes for table in tables},
        ),
        queue_seconds={
            queue.name: max((now - queue.oldest_due_at).total_seconds(), 0.0)
            for queue in queues
            if queue.oldest_due_at is not None
        },
    )


def use_of_workers(connection: Connection, window: float) -> Use:
    """Slots and how many of them were busy, on average over the last `window` seconds."""
    with reading(connection), connection.cursor(row_factory=class_row(Use)) as cursor:
        found = cursor.execute(_USE, {"window": window}).fetchone()
    assert found is not None
    return found
