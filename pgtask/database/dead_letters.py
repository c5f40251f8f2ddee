"""Dead letters: finding them by what they have in common, counting them, and marking them as dealt with.

Lists are latest failure first and go on from a position, so that a page costs the same however long the list is.
Actions go from the oldest to the latest, and no further than the one that was the latest when they began: what is put
back and fails again meanwhile is not met twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from psycopg.rows import class_row, tuple_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.finding import like
from pgtask.database.listing import COUNT_CAP, read_in_order
from pgtask.database.reading import in_words, reading
from pgtask.model.answer import Answer
from pgtask.model.dead_letter import DeadLetterCount, DeadLetterFilter, DeadLetterGroup, DeadLetterPage, Position

_FIND = statements.load("find_dead_letters")
_FIND_OLDEST = statements.load("find_oldest_dead_letters")
_GROUP = statements.load("group_dead_letters")
_RESOLVE = statements.load("resolve_jobs")
_LOCK_KEYS = statements.load("lock_job_keys")
_DELETE = statements.load("delete_dead_letters")
_UNRESOLVE = statements.load("unresolve_jobs")

BATCH = 1000
"""Dead letters that are acted on in one transaction."""


def list_dead_letters(
    connection: Connection,
    wanted: DeadLetterFilter,
    *,
    before: Position | None = None,
    limit: int = 50,
) -> DeadLetterPage:
    """The `limit` dead letters that match and failed last, of those before a position."""
    with reading(connection):
        found = _find(connection, wanted, before, limit + 1)
        shown = found[:limit]
        jobs = read_in_order(connection, [position.id for position in shown])
    return DeadLetterPage(jobs, shown[-1] if len(found) > limit else None)


def count_dead_letters(connection: Connection, wanted: DeadLetterFilter) -> DeadLetterCount:
    """How many dead letters match, counted up to COUNT_CAP."""
    with reading(connection):
        found = _find(connection, wanted, None, COUNT_CAP + 1)
    return DeadLetterCount(min(len(found), COUNT_CAP), len(found) <= COUNT_CAP, found[0] if found else None)


def batches(
    connection: Connection, wanted: DeadLetterFilter, latest: Position, size: int = BATCH
) -> Iterator[list[int]]:
    """The ids of the dead letters that match, from the oldest to `latest`, found batch by batch."""
    after: Position | None = None
    found: list[Position] | None = None
    while found is None or len(found) == size:
        found = find_oldest(connection, wanted, after=after, until=latest, limit=size)
        if found:
            yield [position.id for position in found]
            after = found[-1]


def find_oldest(
    connection: Connection, wanted: DeadLetterFilter, *, after: Position | None, until: Position, limit: int
) -> list[Position]:
    """The oldest `limit` dead letters that match, of those after one position up to another."""
    values = _arguments(wanted, limit) | {
        "after_time": after and after.finished_at,
        "after_id": after and after.id,
        "until_time": until.finished_at,
        "until_id": until.id,
    }
    with reading(connection):
        return _positions(connection, _FIND_OLDEST, values)


def group_dead_letters(connection: Connection, wanted: DeadLetterFilter, *, limit: int = 1000) -> list[DeadLetterGroup]:
    """The dead letters that match by task and type of error, most first, at most `limit` groups."""
    with reading(connection), connection.cursor(row_factory=class_row(DeadLetterGroup)) as cursor:
        return cursor.execute(_GROUP, _arguments(wanted, limit), prepare=False).fetchall()


def resolve_jobs(
    connection: Connection, ids: Sequence[int], *, note: str | None = None, resolved_by: str | None = None
) -> list[Answer]:
    """Marks dead letters as dealt with; `resolved_by` None says the database role.

    Answers `resolved`; `completed`, `cancelled` or `active` for one that is no dead letter.
    """
    return _act(connection, _RESOLVE, {"ids": list(ids), "note": note, "resolved_by": resolved_by})


def unresolve_jobs(connection: Connection, ids: Sequence[int]) -> list[Answer]:
    """Takes resolutions back.

    Answers `unresolved`, or the status (`active` for one that has not ended) of a job that has no resolution.
    """
    return _act(connection, _UNRESOLVE, {"ids": list(ids)})


def delete_jobs(connection: Connection, ids: Sequence[int]) -> list[Answer]:
    """Deletes dead letters, resolved ones too, with their runs, logs and unique keys.

    Answers `deleted`; `completed`, `cancelled` or `active` for one that is no dead letter and was left alone.
    """
    values = {"ids": list(ids)}
    with in_words(connection), connection.transaction():
        connection.execute(_LOCK_KEYS, values)
        return _act(connection, _DELETE, values)


def _act(connection: Connection, query: bytes, values: dict[str, Any]) -> list[Answer]:
    with in_words(connection), connection.cursor(row_factory=tuple_row) as cursor:
        answers = {row[0]: Answer(*row) for row in cursor.execute(query, values)}
    return [answers[id] for id in values["ids"]]


def _find(connection: Connection, wanted: DeadLetterFilter, before: Position | None, limit: int) -> list[Position]:
    bounds = {"before_time": before and before.finished_at, "before_id": before and before.id}
    return _positions(connection, _FIND, _arguments(wanted, limit) | bounds)


def _positions(connection: Connection, query: bytes, values: dict[str, Any]) -> list[Position]:
    with connection.cursor(row_factory=tuple_row) as cursor:
        # Planned anew each time: with the filters unknown, no plan is good for all of them.
        return [Position(at, id) for id, at in cursor.execute(query, values, prepare=False)]


def _arguments(wanted: DeadLetterFilter, limit: int) -> dict[str, Any]:
    return {
        "limit": limit,
        "queue": wanted.queue,
        "queues": None if wanted.queues is None else sorted(wanted.queues),
        "task": None if wanted.task is None else like(wanted.task),
        "error_type": None if wanted.error_type is None else like(wanted.error_type),
        "status": wanted.status,
        "tag": wanted.tag,
        "since": wanted.since,
    }
