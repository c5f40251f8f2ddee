"""Lists of jobs that have something in common, how many there are, and all there is about one.

Ids are found first and rows read after, by primary key: a filter never carries payloads about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from psycopg.rows import class_row

from pgtask.database import finding, statements
from pgtask.database.connection import Connection
from pgtask.database.finding import Place, anchored, find
from pgtask.database.reading import job_cursor, reading
from pgtask.model.cursor import decode_cursor, encode_cursor, refused
from pgtask.model.dead_letter import Aftermath
from pgtask.model.errors import JobNotFoundError
from pgtask.model.explanation import Reason
from pgtask.model.job import JobRecord
from pgtask.model.job_filter import JobFilter, Sort
from pgtask.model.listing import JobCount, JobDetails, JobPage
from pgtask.model.run import LogLine, RunRecord
from pgtask.model.search import write_search
from pgtask.model.serialise import instant_as_text

_READ_MANY = statements.load("read_jobs")
_LIST_RUNS = statements.load("list_runs")
_LIST_LOGS = statements.load("list_logs")
_EXPLAIN = statements.load("explain_job")
_AFTERMATH = statements.load("read_aftermath")

COUNT_CAP = 10_000

EVERYTHING = frozenset({"payload", "result", "traceback"})
"""What of a job may be large, and is read where it is asked for."""


def list_jobs(
    connection: Connection,
    wanted: JobFilter,
    *,
    sort: Sort = Sort.NEWEST,
    before: int | None = None,
    cursor: str | None = None,
    include: frozenset[str] = EVERYTHING,
    limit: int = 50,
) -> JobPage:
    """The first `limit` jobs that match: of those after a cursor, or, newest first, of those with ids below `before`.

    What `include` does not name is None in them. Raises SearchError, CursorError.
    """
    binding = f"{sort} {sorted(wanted.queues) if wanted.queues is not None else '*'} {write_search(wanted)}"
    after = None if before is None else Place(None, before)
    if cursor is not None:
        after = _place(sort, decode_cursor(binding, cursor))
    with reading(connection):
        places = find(connection, wanted, sort=sort, after=after, limit=limit + 1)
        jobs = read_in_order(connection, [place.id for place in places[:limit]], include)
    if len(places) <= limit:
        return JobPage(jobs, more=False)
    last = places[limit - 1]
    position = [last.id] if last.time is None else [last.id, instant_as_text(last.time)]
    return JobPage(jobs, more=True, next_cursor=encode_cursor(binding, position))


def _place(sort: Sort, position: list[Any]) -> Place:
    """The place in a cursor, which is no secret, so that anyone may have made it up."""
    match sort, position:
        case ((Sort.NEWEST | Sort.OLDEST), [int(id)]) if 0 < id < 2**63:
            return Place(None, id)
        case ((Sort.FINISHED | Sort.SCHEDULED), [int(id), str(text)]) if -(2**63) <= id < 2**63:
            with suppress(ValueError, OverflowError):
                time = datetime.fromisoformat(text).astimezone(UTC)
                if 1970 <= time.year < 9999:
                    return Place(time, id)
    raise refused()


def count_jobs(connection: Connection, wanted: JobFilter, cap: int | None = None) -> JobCount:
    """How many jobs match, counted up to `cap`, which is COUNT_CAP unless given."""
    most = COUNT_CAP if cap is None else cap
    with reading(connection):
        places = find(connection, wanted, limit=most + 1)
    return JobCount(min(len(places), most), len(places) <= most, places[0].id if places else 0)


def batches(connection: Connection, wanted: JobFilter, newest: int, size: int = 500) -> Iterator[list[int]]:
    """The ids of the jobs that match, newest first from `newest` on, found batch by batch."""
    wanted = anchored(wanted)
    before: int | None = newest + 1
    while before is not None:
        with reading(connection):
            ids = [place.id for place in find(connection, wanted, after=Place(None, before), limit=size)]
        if ids:
            yield ids
        before = ids[-1] if len(ids) == size else None


def find_ids(connection: Connection, wanted: JobFilter, *, before: int, limit: int) -> list[int]:
    """The ids of the newest `limit` jobs that match, of those below `before`."""
    with reading(connection):
        return [place.id for place in find(connection, wanted, after=Place(None, before), limit=limit)]


def matching(connection: Connection, wanted: JobFilter, ids: Sequence[int]) -> set[int]:
    """Which of these jobs match; for use inside `reading`."""
    if not ids:
        return set()
    chosen = tuple(set(ids) & set(wanted.ids)) if wanted.ids else tuple(set(ids))
    found = find(connection, replace(wanted, ids=chosen), limit=len(chosen)) if chosen else []
    return {place.id for place in found}


def running_on(
    connection: Connection, worker_id: int, limit: int = 50, *, queues: frozenset[str] | None = None
) -> list[JobRecord]:
    """The jobs that a worker runs, newest first; only those of `queues`, unless that is None."""
    with reading(connection):
        return _read(connection, finding.running_on(connection, worker_id, limit, queues))


def show_job(connection: Connection, job_id: int, *, runs: int = 100, logs: int = 1000) -> JobDetails:
    """All there is about a job at one instant. Raises JobNotFoundError."""
    values = {"id": job_id}
    with reading(connection):
        found = _read(connection, [job_id])
        if not found:
            raise JobNotFoundError(job_id)
        with connection.cursor(row_factory=class_row(RunRecord)) as cursor:
            run_records = cursor.execute(_LIST_RUNS, values | {"limit": runs}).fetchall()
        with connection.cursor(row_factory=class_row(LogLine)) as cursor:
            lines = cursor.execute(_LIST_LOGS, values | {"limit": logs}).fetchall()
        with connection.cursor(row_factory=class_row(Aftermath)) as cursor:
            aftermath = cursor.execute(_AFTERMATH, values).fetchone()
        explanation = _explain(connection, job_id)
    return JobDetails(job=found[0], runs=run_records, logs=lines, explanation=explanation, aftermath=aftermath)


def read_aftermath(connection: Connection, job_id: int) -> Aftermath:
    """What came of a job beyond its end; for use inside `reading`."""
    with connection.cursor(row_factory=class_row(Aftermath)) as cursor:
        found = cursor.execute(_AFTERMATH, {"id": job_id}).fetchone()
    return found or Aftermath(copy_id=None, resolved_at=None, resolved_by=None, note=None)


def read_in_order(connection: Connection, ids: Sequence[int], include: frozenset[str] = EVERYTHING) -> list[JobRecord]:
    """The jobs with these ids, in their order; for use inside `reading`."""
    found = {job.id: job for job in _read(connection, list(ids), include)}
    return [found[id] for id in ids if id in found]


def explain(connection: Connection, job_id: int) -> list[Reason]:
    """Why a job waits, runs or has ended as it did, what matters most first; never empty, whatever the id."""
    with reading(connection):
        return _explain(connection, job_id)


def _explain(connection: Connection, job_id: int) -> list[Reason]:
    with connection.cursor(row_factory=class_row(Reason)) as cursor:
        return cursor.execute(_EXPLAIN, {"id": job_id}).fetchall()


def _read(connection: Connection, ids: list[int], include: frozenset[str] = EVERYTHING) -> list[JobRecord]:
    if not ids:
        return []
    with job_cursor(connection) as cursor:
        return cursor.execute(_READ_MANY, {"ids": ids} | {part: part in include for part in EVERYTHING}).fetchall()
