"""Cancelling, retrying and deleting many jobs by their ids, each answered for itself."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from psycopg.rows import scalar_row, tuple_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.reading import in_words
from pgtask.model.answer import Answer
from pgtask.model.rate import Rate

_CANCEL = statements.load("cancel_jobs")
_RETRY = statements.load("retry_jobs")
_LOCK_KEYS = statements.load("lock_job_keys")
_INSTANT = statements.load("current_instant")
_LOCK = statements.load("lock_jobs")
_DELETE = statements.load("delete_jobs")
_QUEUES = statements.load("find_queues_of_jobs")


def cancel_jobs(connection: Connection, ids: Sequence[int]) -> list[Answer]:
    """Cancels jobs.

    Answers `cancelled`, `requested` (it runs and was asked to stop), or the final status it had.
    """
    with in_words(connection):
        return _act(connection, _CANCEL, ids)


def retry_jobs(
    connection: Connection, ids: Sequence[int], *, due: datetime | None = None, spacing: float | None = None
) -> list[Answer]:
    """Puts ended jobs back, in one transaction.

    They keep their places, unless the first is to be `due` at an instant and each further one `spacing` seconds later.
    Answers `pending`, `completed` or `active` (nothing to retry), or `held` when another live job
    has its unique key, as the detail says.
    """
    with in_words(connection), connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute(_RETRY, {"ids": list(ids), "due": due, "spacing": spacing})
        answers = {row[0]: Answer(*row) for row in cursor}
    return [answers[id] for id in ids]


def retry_spaced(
    connection: Connection, ids: Sequence[int], begun_at: str, spacing: float, put_back: int
) -> list[Answer]:
    """`retry_jobs` after so many others that became due one by one from an instant on, in RFC 3339."""
    due = datetime.fromisoformat(begun_at) + timedelta(seconds=spacing * put_back)
    return retry_jobs(connection, ids, due=due, spacing=spacing)


def retry_paced(connection: Connection, ids: Sequence[int], rate: Rate | None, delay: float) -> list[Answer]:
    """`retry_jobs` whose jobs become due so many seconds from now or, with a rate, one by one from then on."""
    spacing = 0.0 if rate is None else rate.period / rate.limit
    return retry_jobs(connection, ids, due=_instant(connection, delay), spacing=spacing)


class Pace:
    """A `retry_jobs` whose jobs, in however many calls they come, become due one by one at a rate from the first on."""

    def __init__(self, rate: Rate) -> None:
        self._spacing = rate.period / rate.limit
        self._begun_at: datetime | None = None
        self._put_back = 0

    def __call__(self, connection: Connection, ids: Sequence[int]) -> list[Answer]:
        """As `retry_jobs`; the oldest of these are due first."""
        if self._begun_at is None:
            self._begun_at = _instant(connection, 0.0)
        due = self._begun_at + timedelta(seconds=self._spacing * self._put_back)
        answers = retry_jobs(connection, ids, due=due, spacing=self._spacing)
        self._put_back += sum(answer.answer == "pending" for answer in answers)
        return answers


def _instant(connection: Connection, delay: float) -> datetime:
    with in_words(connection), connection.cursor(row_factory=scalar_row) as cursor:
        found: datetime
        (found,) = cursor.execute(_INSTANT, {"delay": delay}).fetchall()
        return found


def delete_jobs(connection: Connection, ids: Sequence[int], *, ended: bool = False) -> list[Answer]:
    """Deletes jobs with their runs and logs, which frees their unique keys, also those of jobs whose history is pruned.

    Answers `deleted`, or `running` for one that runs and was left alone. With `ended` one that waits is left alone,
    too, which is `active`: it was put back since it was found among the ended ones.
    """
    with in_words(connection), connection.transaction():
        live = lock_jobs(connection, ids)
        spared = {id: "active" if status == "pending" else status for id, status in live.items()}
        if not ended:
            spared = {id: status for id, status in live.items() if status == "running"}
        with connection.cursor(row_factory=scalar_row) as ids_cursor:
            deleted = set(ids_cursor.execute(_DELETE, {"ids": [i for i in ids if i not in spared]}))
    return [Answer(id, spared.get(id, "deleted" if id in deleted else None)) for id in ids]


def lock_jobs(connection: Connection, ids: Sequence[int]) -> dict[int, str]:
    """Keeps live jobs as they are until the caller's transaction ends; returns their statuses."""
    with in_words(connection), connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute(_LOCK_KEYS, {"ids": list(ids)})
        return dict(cursor.execute(_LOCK, {"ids": list(ids)}).fetchall())


def seen(connection: Connection, ids: Sequence[int], queues: Collection[str] | None) -> list[int]:
    """Those of the jobs that are in these queues, None meaning all; in their order."""
    if queues is None:
        return list(ids)
    with in_words(connection), connection.cursor(row_factory=tuple_row) as cursor:
        visible = {id for id, queue in cursor.execute(_QUEUES, {"ids": list(ids)}) if queue in queues}
    return [id for id in ids if id in visible]


def _act(connection: Connection, query: bytes, ids: Sequence[int]) -> list[Answer]:
    with connection.cursor(row_factory=tuple_row) as cursor:
        return [Answer(*row) for row in cursor.execute(query, {"ids": list(ids)})]
