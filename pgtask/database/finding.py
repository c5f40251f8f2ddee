"""Finding the ids of jobs that match a filter, in an order and from a position on; inside `reading`.

Each statement reads along an index in the order asked for, so that a page costs the same however long the list is,
unless what is asked for is rare. Live and ended jobs are found apart and merged: a job that ends between two pages is
in one of them, as its id, by which the list goes on, stays the same.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from typing import Any, NamedTuple

from psycopg.rows import scalar_row, tuple_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.model.errors import SearchError
from pgtask.model.job_filter import JobFilter, Moment, Names, PayloadTerm, Sort, several
from pgtask.model.search import variants
from pgtask.model.status import FINAL, JobStatus

_FIND_LIVE = statements.load("find_live_jobs")
_FIND_OLDEST_LIVE = statements.load("find_oldest_live_jobs")
_FIND_RUNNING = statements.load("find_running_jobs")
_FIND_ENDED = statements.load("find_ended_jobs")
_FIND_OLDEST_ENDED = statements.load("find_oldest_ended_jobs")
_FIND_UNSUCCESSFUL = statements.load("find_unsuccessful_jobs")
_FIND_LATEST_UNSUCCESSFUL = statements.load("find_latest_unsuccessful_jobs")
_FIND_LATEST_ENDED = statements.load("find_latest_ended_jobs")
_FIND_WAITING = statements.load("find_waiting_jobs")
_KEEP_TO_INDEX = statements.load("keep_to_index")

LIVE = frozenset(JobStatus) - FINAL
WAITING = LIVE - {JobStatus.RUNNING}
# What lives has no error yet.
_WITH_ERROR = FINAL - {JobStatus.COMPLETED}

MOST = 20_000
"""Jobs of a stretch of time that are sorted to find those that ended last; with more of them, a shorter one is read."""

_ALL = 2**31 - 1
_FIRST, _SHORTEST, _LONGEST = timedelta(seconds=1), timedelta(milliseconds=1), timedelta(days=30)
_CLOCKS_APART = timedelta(minutes=5)
_DAWN, _DOOM = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

_SORTED_BY = {Sort.FINISHED: (FINAL, "Only ended jobs"), Sort.SCHEDULED: (WAITING, "Only jobs that wait")}


class Place(NamedTuple):
    """Where a job stands in a list: by its id, or by a time first."""

    time: datetime | None
    id: int


def find(
    connection: Connection, wanted: JobFilter, *, sort: Sort = Sort.NEWEST, after: Place | None = None, limit: int
) -> list[Place]:
    """The first jobs that match and come after a place. Raises SearchError for statuses that cannot be sorted so."""
    if sort in _SORTED_BY:
        sortable, what = _SORTED_BY[sort]
        if wanted.statuses - sortable:
            raise SearchError(f"{what} can be sorted by {sort}: {', '.join(s for s in JobStatus if s in sortable)}.")
    values = arguments(wanted) | {"limit": limit}
    if values["queues"] == []:
        return []
    if sort is Sort.FINISHED:
        return _latest_ended(connection, wanted, values, after, limit)
    if sort is Sort.SCHEDULED:
        return _waiting(connection, wanted, values, after)
    return [Place(None, id) for id in _by_id(connection, wanted, sort, values, after and after.id, limit)]


def running_on(connection: Connection, worker_id: int, limit: int, queues: frozenset[str] | None) -> list[int]:
    """The ids of the jobs that a worker runs, newest first."""
    values = arguments(JobFilter(workers=(worker_id,), queues=queues)) | {"before": None, "limit": limit}
    return _ids(connection, _FIND_RUNNING, values)


def anchored(wanted: JobFilter) -> JobFilter:
    """The filter with instants for what it says of how long ago, so that it means the same when it is used again."""
    return replace(wanted, since=_instant(wanted.since), before=_instant(wanted.before))


def arguments(wanted: JobFilter) -> dict[str, Any]:
    """What a filter gives the statements, but for statuses, which differ."""
    return {
        "ids": list(wanted.ids) or None,
        "statuses": None,
        "queues": _queues(wanted),
        "not_queues": _names(wanted.not_queue),
        **_tasks(wanted),
        "not_tasks": _patterns(wanted.not_task),
        "tags": _names(wanted.tag),
        "not_tags": _names(wanted.not_tag),
        "priorities": list(wanted.priorities) or None,
        "workers": list(wanted.workers) or None,
        "schedules": _names(wanted.schedule),
        "errors": _patterns(wanted.error),
        "not_errors": _patterns(wanted.not_error),
        "unique_keys": _names(wanted.unique_key),
        "concurrency_keys": _names(wanted.concurrency_key),
        "created_after": wanted.created_after,
        "created_before": wanted.created_before,
        "since": _instant(wanted.since),
        "until": _instant(wanted.before),
        "payloads": _payloads(wanted.payload),
    }


def like(pattern: str) -> str:
    """A pattern of LIKE for a name in which `*` stands for any text."""
    for special in "\\%_":
        pattern = pattern.replace(special, f"\\{special}")
    return pattern.replace("*", "%")


def _by_id(
    connection: Connection, wanted: JobFilter, sort: Sort, values: dict[str, Any], after: int | None, limit: int
) -> list[int]:
    live, ended = _statuses(wanted, LIVE), _statuses(wanted, FINAL)
    newest = sort is Sort.NEWEST
    found = []
    if live:
        query = _FIND_LIVE if newest else _FIND_OLDEST_LIVE
        if newest and live == {JobStatus.RUNNING}:
            query = _FIND_RUNNING
        found.append(_ids(connection, query, values | _from(newest, after) | {"statuses": _words(live, LIVE)}))
    if ended:
        query = _FIND_ENDED if newest else _FIND_OLDEST_ENDED
        if newest and JobStatus.COMPLETED not in ended:
            query = _FIND_UNSUCCESSFUL
        found.append(_ids(connection, query, values | _from(newest, after) | {"statuses": _words(ended, FINAL)}))
    merged = (id for id, _ in groupby(heapq.merge(*found, reverse=newest)))
    return list(islice(merged, limit))


def _from(newest: bool, after: int | None) -> dict[str, Any]:
    return {"before" if newest else "after": after}


def _waiting(connection: Connection, wanted: JobFilter, values: dict[str, Any], after: Place | None) -> list[Place]:
    statuses = _statuses(wanted, WAITING)
    if not statuses:
        return []
    if statuses == {JobStatus.SCHEDULED}:
        # Those that are due stand in front of them.
        due = Place(datetime.now(UTC) - _CLOCKS_APART, 0)
        after = due if after is None else max(after, due)
    values |= {"after_time": after and after.time, "after_id": after and after.id}
    values["statuses"] = _words(statuses, WAITING)
    with connection.transaction(force_rollback=True):
        connection.execute(_KEEP_TO_INDEX)
        return list(itertools.starmap(Place, _rows(connection, _FIND_WAITING, values)))


def _latest_ended(
    connection: Connection, wanted: JobFilter, values: dict[str, Any], after: Place | None, limit: int
) -> list[Place]:
    values |= {"before_time": after and after.time, "before_id": after and after.id}
    statuses = _statuses(wanted, FINAL)
    if not statuses:
        return []
    values["statuses"] = _words(statuses, FINAL)
    if JobStatus.COMPLETED not in statuses:
        return list(itertools.starmap(Place, _rows(connection, _FIND_LATEST_UNSUCCESSFUL, values)))
    # No index has all in this order: stretches of time are read from the end, longer ones where little happened.
    found: list[Place] = []
    floor = values["since"] or _DAWN
    ends_at = _DOOM if after is None or after.time is None else after.time + timedelta(microseconds=1)
    length = _FIRST
    while len(found) < limit and ends_at > floor:
        begins_at = max(floor, min(ends_at, datetime.now(UTC)) - length) if length < _LONGEST else floor
        values |= {"begins_at": begins_at, "ends_at": ends_at, "limit": limit - len(found)}
        rows = _rows(connection, _FIND_LATEST_ENDED, values | {"most": MOST if length > _SHORTEST else _ALL})
        if rows and rows[0][2] >= MOST and length > _SHORTEST:
            length /= 8
            continue
        found += [Place(*row[:2]) for row in rows]
        ends_at, length = begins_at, length * 4
    return found


def _instant(moment: Moment) -> datetime | None:
    return datetime.now(UTC) - moment if isinstance(moment, timedelta) else moment


def _queues(wanted: JobFilter) -> list[str] | None:
    named = several(wanted.queue)
    if wanted.queues is None:
        return list(named) or None
    return sorted(wanted.queues.intersection(named) if named else wanted.queues)


def _tasks(wanted: JobFilter) -> dict[str, list[str] | None]:
    """Names are looked up in an index, patterns cannot be."""
    if any("*" in name for name in several(wanted.task)):
        return {"tasks": None, "task_patterns": _patterns(wanted.task)}
    return {"tasks": _names(wanted.task), "task_patterns": None}


def _names(names: Names) -> list[str] | None:
    return list(several(names)) or None


def _patterns(names: Names) -> list[str] | None:
    return list(map(like, several(names))) or None


def _payloads(terms: Sequence[PayloadTerm]) -> list[str] | None:
    """The payloads, as JSON, of which one must be contained: a value for each term."""
    if not terms:
        return None
    choices = ([variant for value in term.values for variant in variants(value)] for term in terms)
    return [_object(zip((term.path for term in terms), values, strict=True)) for values in itertools.product(*choices)]


def _object(entries: Iterable[tuple[tuple[str, ...], str]]) -> str:
    by_key: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for path, value in entries:
        by_key.setdefault(path[0], []).append((path[1:], value))
    parts = (f"{json.dumps(key)}:{rest[0][1] if not rest[0][0] else _object(rest)}" for key, rest in by_key.items())
    return f"{{{','.join(parts)}}}"


def _statuses(wanted: JobFilter, among: frozenset[JobStatus]) -> frozenset[JobStatus]:
    """Which of these a job that matches can have."""
    if wanted.error is not None:
        among &= _WITH_ERROR
    return wanted.statuses & among if wanted.statuses else among


def _words(statuses: frozenset[JobStatus], among: frozenset[JobStatus]) -> list[str] | None:
    return None if statuses == among else sorted(status.value for status in statuses)


def _ids(connection: Connection, query: bytes, values: dict[str, Any]) -> list[int]:
    with connection.cursor(row_factory=scalar_row) as cursor:
        # Planned anew each time: with the filters unknown, no plan is good for all of them.
        return cursor.execute(query, values, prepare=False).fetchall()


def _rows(connection: Connection, query: bytes, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(query, values, prepare=False).fetchall()
