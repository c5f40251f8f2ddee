"""How often callers of the API may ask, counted in the database so that all servers count together."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import tuple_row

from pgtask.database import statements
from pgtask.database.connection import Connection

_TAKE = statements.load("take_requests")


@dataclass(frozen=True, slots=True)
class Permits:
    """Requests that a caller may make now, those that were left after them, and seconds until there are more."""

    granted: int
    left: int
    wait: float


def take(connection: Connection, caller: str, *, rate: float, burst: float, wanted: int) -> Permits:
    """Takes up to so many permits of a caller with `rate` requests a second, `burst` at once after a quiet time."""
    values = {"caller": caller, "rate": rate, "burst": burst, "wanted": wanted}
    with connection.cursor(row_factory=tuple_row) as cursor:
        while (row := cursor.execute(_TAKE, values).fetchone()) is None:
            pass  # Another process has put the caller in.
    return Permits(*row)
