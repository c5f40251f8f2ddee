"""Time for tests: the clock is the database's and stays as it is, so waiting jobs are moved instead."""

from __future__ import annotations

from pgtask.database import statements
from pgtask.database.connection import Connection

_BRING_FORWARD = statements.load("bring_forward_jobs")


def bring_forward(connection: Connection, seconds: float) -> int:
    """Brings the due times of all waiting jobs nearer by so many seconds; returns how many wait."""
    row = connection.execute(_BRING_FORWARD, {"seconds": seconds}).fetchone()
    assert row is not None
    return int(row[0])
