"""Finding jobs by what they have in common, and reading all there is about one.

Lists are newest first and go on from an id, so that a page costs the same however long the list is.
Ids are found first and rows read after, by primary key: a filter never carries payloads about.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, NamedTuple

from psycopg.rows import class_row, scalar_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.reading import job_cursor, reading
from pgtask.model.dead_letter import Aftermath
from pgtask.model.errors import JobNotFoundError
from pgtask.model.explanation import Reason
from pgtask.model.job import JobRecord
from pgtask.model.run import LogLine, RunRecord
from pgtask.model.status import FINAL, JobStatus

_FIND_LIVE = statements.load("find_live_jobs")
_FIND_RUNNING = statements.load("find_running_jobs")
_FIND_ENDED = statements.load("find_ended_jobs")
_FIND_UNSUCCESSFUL = statements.load("find_unsuccessful_jobs")
_READ_MANY = statements.load("read_jobs")
_LIST_RUNS = statements.load("list_runs")
_LIST_LOGS = statements.load("list_logs")
_EXPLAIN = statements.load("explain_job")
_AFTERMATH = statements.load("read_aftermath")

COUNT_CAP = 10_000
LIVE = frozenset(JobStatus) - FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """What jobs must have in common; what is None or empty does not matter."""

    statuses: frozenset[JobStatus] = frozenset()
    queue: str | None = None
    task: str | None = None
    """A name, in which `*` stands for any text."""
    tag: str | None = None

    def __bool__(self) -> bool:
        return bool(self.statuses or self.queue or self.task or self.tag)


class JobPage(NamedTuple):
    """Jobs, newest first, and whether there are older ones."""

    jobs: list[JobRecord]
    more: bool


class JobCount(NamedTuple):
    """How many jobs match, at least `number` unless `exact`, and the newest of them."""

    number: int
    exact: bool
    newest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDetails:
    """A job with its latest runs and log lines, and why it is where it is; `aftermath` is None until it has ended."""

    job: JobRecord
    runs: list[RunRecord]
    logs: list[LogLine]
    explanation: list[Reason]
    aftermath: Aftermath | None


def list_jobs(
    connection: Connection,
    wanted: JobFilter,
    *,
    before: int | None = None,
    limit: int = 50,
) -> JobPage:
    """The newest `limit` jobs that match, of those with ids below `before`."""
    with reading(connection):
        ids = _find(connection, wanted, before, limit + 1)
        return JobPage(_read(connection, ids[:limit]), len(ids) > limit)


def count_jobs(connection: Connection, wanted: JobFilter) -> JobCount:
    """How many jobs match, counted up to COUNT_CAP."""
    with reading(connection):
        ids = _find(connection, wanted, None, COUNT_CAP + 1)
    return JobCount(min(len(ids), COUNT_CAP), len(ids) <= COUNT_CAP, ids[0] if ids else 0)


def batches(connection: Connection, wanted: JobFilter, newest: int, size: int = 500) -> Iterator[list[int]]:
    """The ids of the jobs that match, newest first from `newest` on, found batch by batch."""
    before: int | None = newest + 1
    while before is not None:
        with reading(connection):
            ids = _find(connection, wanted, before, size)
        if ids:
            yield ids
        before = ids[-1] if len(ids) == size else None


def find_ids(connection: Connection, wanted: JobFilter, *, before: int, limit: int) -> list[int]:
    """The ids of the newest `limit` jobs that match, of those below `before`."""
    with reading(connection):
        return _find(connection, wanted, before, limit)


def running_on(connection: Connection, worker_id: int, limit: int = 50) -> list[JobRecord]:
    """The jobs that a worker runs, newest first."""
    with reading(connection):
        values = _arguments(JobFilter(), None, limit) | {"worker_id": worker_id}
        return _read(connection, _ids(connection, _FIND_RUNNING, values))


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


def read_in_order(connection: Connection, ids: Sequence[int]) -> list[JobRecord]:
    """The jobs with these ids, in their order; for use inside `reading`."""
    found = {job.id: job for job in _read(connection, list(ids))}
    return [found[id] for id in ids if id in found]


def explain(connection: Connection, job_id: int) -> list[Reason]:
    """Why a job waits, runs or has ended as it did, what matters most first; never empty, whatever the id."""
    with reading(connection):
        return _explain(connection, job_id)


def _explain(connection: Connection, job_id: int) -> list[Reason]:
    with connection.cursor(row_factory=class_row(Reason)) as cursor:
        return cursor.execute(_EXPLAIN, {"id": job_id}).fetchall()


def _find(connection: Connection, wanted: JobFilter, before: int | None, limit: int) -> list[int]:
    live, ended = wanted.statuses & LIVE, wanted.statuses & FINAL
    values = _arguments(wanted, before, limit)
    found = []
    if live == {JobStatus.RUNNING}:
        found.append(_ids(connection, _FIND_RUNNING, values))
    elif live or not ended:
        found.append(_ids(connection, _FIND_LIVE, values | {"statuses": _words(live)}))
    if ended or not live:
        query = _FIND_UNSUCCESSFUL
        if not ended or JobStatus.COMPLETED in ended:
            query = _FIND_ENDED
        found.append(_ids(connection, query, values | {"statuses": _words(ended)}))
    merged = (id for id, _ in groupby(heapq.merge(*found, reverse=True)))
    return list(islice(merged, limit))


def _arguments(wanted: JobFilter, before: int | None, limit: int) -> dict[str, Any]:
    task = None if wanted.task is None else like(wanted.task)
    return {
        "before": before,
        "limit": limit,
        "queue": wanted.queue,
        "task": task,
        "tag": wanted.tag,
        "worker_id": None,
    }


def like(pattern: str) -> str:
    """A pattern of LIKE for a name in which `*` stands for any text."""
    for special in "\\%_":
        pattern = pattern.replace(special, f"\\{special}")
    return pattern.replace("*", "%")


def _words(statuses: frozenset[JobStatus]) -> list[str] | None:
    return sorted(status.value for status in statuses) or None


def _ids(connection: Connection, query: bytes, values: dict[str, Any]) -> list[int]:
    with connection.cursor(row_factory=scalar_row) as cursor:
        # Planned anew each time: with the filters unknown, no plan is good for all of them.
        return cursor.execute(query, values, prepare=False).fetchall()


def _read(connection: Connection, ids: list[int]) -> list[JobRecord]:
    if not ids:
        return []
    with job_cursor(connection) as cursor:
        return cursor.execute(_READ_MANY, {"ids": ids}).fetchall()
