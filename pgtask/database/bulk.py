"""Cancelling, retrying and deleting many jobs by their ids, each answered for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from psycopg import errors
from psycopg.rows import scalar_row, tuple_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.reading import in_words

_CANCEL = statements.load("cancel_jobs")
_RETRY = statements.load("retry_jobs")
_LOCK_KEYS = statements.load("lock_job_keys")
_LOCK = statements.load("lock_jobs")
_DELETE = statements.load("delete_jobs")


class Answer(NamedTuple):
    """What became of one job of many; `answer` is None when there is no such job."""

    id: int
    answer: str | None
    detail: str | None = None


def cancel_jobs(connection: Connection, ids: Sequence[int]) -> list[Answer]:
    """Cancels jobs.

    Answers `cancelled`, `requested` (it runs and was asked to stop), or the final status it had.
    """
    with in_words(connection):
        return _act(connection, _CANCEL, ids)


def retry_jobs(connection: Connection, ids: Sequence[int]) -> list[Answer]:
    """Puts ended jobs back.

    Answers `pending`, `completed` or `active` (nothing to retry), or `held` when another live job
    has its unique key, as the detail says.
    """
    with in_words(connection):
        try:
            return _act(connection, _RETRY, ids)
        except errors.UniqueViolation as error:
            if len(ids) == 1:
                return [Answer(ids[0], "held", error.diag.message_primary)]
        # One job that is refused fails the whole statement; the others are not to suffer for it.
        return [answer for id in ids for answer in retry_jobs(connection, [id])]


def delete_jobs(connection: Connection, ids: Sequence[int]) -> list[Answer]:
    """Deletes jobs with their runs and logs, which frees their unique keys, also those of jobs whose history is pruned.

    Answers `deleted`, or `running` for one that runs and was left alone.
    """
    with in_words(connection), connection.transaction():
        with connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(_LOCK_KEYS, {"ids": list(ids)})
            cursor.execute(_LOCK, {"ids": list(ids)})
            running = {row[0] for row in cursor if row[1] == "running"}
        with connection.cursor(row_factory=scalar_row) as ids_cursor:
            deleted = set(ids_cursor.execute(_DELETE, {"ids": [i for i in ids if i not in running]}))

    def answer(id: int) -> str | None:
        return "running" if id in running else "deleted" if id in deleted else None

    return [Answer(id, answer(id)) for id in ids]


def _act(connection: Connection, query: bytes, ids: Sequence[int]) -> list[Answer]:
    with connection.cursor(row_factory=tuple_row) as cursor:
        return [Answer(*row) for row in cursor.execute(query, {"ids": list(ids)})]
