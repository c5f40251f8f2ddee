"""The runs and log lines of one job, page by page, oldest first; inside `reading`."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from psycopg.rows import class_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.model.cursor import decode_cursor, encode_cursor, refused
from pgtask.model.run import LogLine, RunRecord
from pgtask.model.serialise import instant_as_text

_RUNS = statements.load("list_runs_after")
_LOGS = statements.load("list_logs_after")


class RunPage(NamedTuple):
    """Runs, and the cursor that leads to further ones."""

    runs: list[RunRecord]
    next_cursor: str | None


class LogPage(NamedTuple):
    """Log lines, and whether there are further ones."""

    lines: list[LogLine]
    more: bool


def runs_page(connection: Connection, job_id: int, cursor: str | None, limit: int) -> RunPage:
    """The first `limit` runs of a job after a cursor. Raises CursorError."""
    binding = f"runs {job_id}"
    time, attempt = (None, 0) if cursor is None else _after(decode_cursor(binding, cursor))
    values = {"id": job_id, "after_time": time, "after_attempt": attempt, "limit": limit + 1}
    with connection.cursor(row_factory=class_row(RunRecord)) as rows:
        found = rows.execute(_RUNS, values).fetchall()
    if len(found) <= limit:
        return RunPage(found, None)
    last = found[limit - 1]
    return RunPage(found[:limit], encode_cursor(binding, [instant_as_text(last.finished_at), last.attempt or 0]))


def logs_page(connection: Connection, job_id: int, attempt: int, line: int, limit: int) -> LogPage:
    """The first `limit` log lines of a job after a line of an attempt."""
    values = {"id": job_id, "attempt": attempt, "line": line, "limit": limit + 1}
    with connection.cursor(row_factory=class_row(LogLine)) as rows:
        found = rows.execute(_LOGS, values).fetchall()
    return LogPage(found[:limit], len(found) > limit)


def _after(position: list[object]) -> tuple[datetime, int]:
    match position:
        case [str(text), int(attempt)] if 0 <= attempt < 2**31:
            with suppress(ValueError, OverflowError):
                return datetime.fromisoformat(text).astimezone(UTC), attempt
    raise refused()
