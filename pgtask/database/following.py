"""Following what happens to jobs, at no cost to those who run them: only reads, by index, bounded each time.

**How nothing is lost or seen twice.** Runs commit in another order than they ended in, so a mark in `finished_at` alone
would step over those that come late. A look therefore asks for the runs written by transactions that the look before
could not have seen the end of: those not older than the oldest transaction that was under way then
(`pg_snapshot_xmin`). That holds for whatever order they commit in, and for subtransactions, whose numbers are greater
than their parents'. It also finds some again, so the ones shown are remembered. Rows are asked for in pages by key,
hence no number of them is too large.

**What it costs.** No index leads from a transaction to its rows, and the one that there is, on `finished_at`, costs as
much as it reads. So a look goes back over as much time as it can read in about CHEAP seconds: an hour where little
happens, never less than LEAST_OVERLAP. A run that is written later than that after it ended (its worker was cut off
from the database for so long, on a busy system) is in the history but not shown here.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from psycopg.rows import class_row, tuple_row

from pgtask.database import listing, statements
from pgtask.database.connection import Connection
from pgtask.database.finding import like
from pgtask.database.reading import job_cursor, reading
from pgtask.model.errors import JobNotFoundError
from pgtask.model.event import JobEvent
from pgtask.model.job import JobRecord
from pgtask.model.job_filter import JobFilter
from pgtask.model.run import LogLine, RunRecord
from pgtask.model.status import JobStatus

CHEAP = 0.05
LEAST_OVERLAP, LONGEST_OVERLAP = timedelta(seconds=15), timedelta(hours=1)
FIRST_OVERLAP = timedelta(seconds=2)
"""What ended so long before the first look counts as seen, and what ended earlier is never asked for."""

PAGE = 5000
REMEMBERED = 50_000

DEPTH, MOST = 500, 20_000
"""Due jobs of a lane, and in all, among which running ones are looked for."""

_POSITION = statements.load("follow_position")
_RUNS = statements.load("follow_runs")
_LOGS = statements.load("follow_logs")
_UNDER_WAY = statements.load("find_attempts_under_way")
_FAILURES = statements.load("find_latest_failures")
_READ = statements.load("read_job")
_LIST_RUNS = statements.load("list_runs")

_Key = tuple[datetime, int, int]


class _Position(NamedTuple):
    """The database's clock, the oldest transaction under way, and one that has not begun."""

    now: datetime
    horizon: int
    newest: int


class Follower:
    """Tells once of each attempt that starts or ends. One that is shorter than the time between two looks only ends.

    May be given another connection each time, as after an outage: nothing that happened meanwhile is lost.
    """

    def __init__(self, wanted: JobFilter) -> None:
        self._wanted = wanted
        self._position: _Position | None = None
        self._floor = datetime.min.replace(tzinfo=UTC)
        self._overlap = LEAST_OVERLAP
        self._seen: dict[_Key, None] = {}
        self._started: dict[tuple[int, int | None], None] = {}

    def look(self, connection: Connection) -> list[JobEvent]:
        """What has happened since the last look, by its time. The first one finds nothing: it sees where things stand.

        Raises DatabaseUnavailableError, TimeLimitError; the next look then finds what this one would have.
        """
        first = self._position is None
        started = self._find_started(connection)
        ended, position = self._find_ended(connection)
        # Only now, when all went well, is anything taken as told.
        self._position = position
        news = [event for event in started if (event.id, event.attempt) not in self._started]
        news += [event for event in ended if _key(event) not in self._seen]
        self._started.update(dict.fromkeys((event.id, event.attempt) for event in started))
        self._seen.update(dict.fromkeys(map(_key, ended)))
        self._forget(position.now)
        if first or not news:
            return []
        return sorted(self._matching(connection, news), key=lambda event: event.at)

    def _find_started(self, connection: Connection) -> list[JobEvent]:
        if self._wanted.statuses and JobStatus.RUNNING not in self._wanted.statuses:
            return []
        with reading(connection):
            return under_way(connection, self._wanted, PAGE)

    def _find_ended(self, connection: Connection) -> tuple[list[JobEvent], _Position]:
        """The runs that the last look could not have seen, and where this one stands."""
        found: list[JobEvent] = []
        after: _Key = (datetime(1970, 1, 1, tzinfo=UTC), 0, 0)
        standing: _Position | None = None
        while True:
            with reading(connection):
                began = time.monotonic()
                position = _position(connection)
                # Where the first page stands: what commits between two pages is for the next look.
                standing = standing or position
                since, horizon = position.now - FIRST_OVERLAP, 0
                if self._position is not None:
                    since, horizon = self._position.now - self._overlap, self._position.horizon
                elif not found:
                    self._floor = since
                page_began = time.monotonic()
                page = self._page(connection, max(since, self._floor), horizon, position.newest, after)
                spent = time.monotonic() - page_began - (page_began - began)
            found += page
            if len(page) < PAGE:
                self._adapt(spent)
                return found, standing
            after = _key(page[-1])

    def _page(self, connection: Connection, since: datetime, horizon: int, newest: int, after: _Key) -> list[JobEvent]:
        values = _arguments(self._wanted) | {
            "since": max(since, after[0]),
            "horizon": horizon,
            "newest": newest,
            "after_time": after[0],
            "after_id": after[1],
            "after_attempt": after[2],
            "statuses": sorted(status.value for status in self._wanted.statuses) or None,
            "limit": PAGE,
        }
        with connection.cursor(row_factory=class_row(JobEvent)) as cursor:
            return cursor.execute(_RUNS, values, prepare=False).fetchall()

    def _matching(self, connection: Connection, events: list[JobEvent]) -> list[JobEvent]:
        """Those of jobs that match in what the statements of this module do not ask for."""
        beyond = replace(self._wanted, statuses=frozenset(), since=None, before=None)
        if beyond == _asked_for(beyond):
            return events
        with reading(connection):
            found = listing.matching(connection, beyond, [event.id for event in events])
        return [event for event in events if event.id in found]

    def _adapt(self, spent: float) -> None:
        """Looks back less far when that took long, `spent` being seconds without the round trip, else further."""
        wanted = self._overlap / 2 if spent > CHEAP else self._overlap * 1.5 if spent < CHEAP / 2 else self._overlap
        self._overlap = min(max(wanted, LEAST_OVERLAP), LONGEST_OVERLAP)

    def _forget(self, now: datetime) -> None:
        limit = now - (LONGEST_OVERLAP if len(self._seen) <= REMEMBERED else self._overlap)
        if limit > self._floor:
            # What is forgotten is not asked for again.
            self._floor = limit
            self._seen = {key: None for key in self._seen if key[0] >= limit}
        while len(self._started) > REMEMBERED:
            del self._started[next(iter(self._started))]


class JobState(NamedTuple):
    """A job, its latest runs and the log lines not seen before, at one instant."""

    job: JobRecord
    runs: list[RunRecord]
    logs: list[LogLine]


class JobFollower:
    """Follows one job. Lines of an attempt are written in their order, so the last one seen of each is enough."""

    def __init__(self, job_id: int) -> None:
        self._id = job_id
        self._lines: dict[int, int] = {}

    def look(self, connection: Connection, limit: int = PAGE) -> JobState:
        """How the job stands. Its last lines come with its end: both are written in one transaction.

        Raises JobNotFoundError, DatabaseUnavailableError.
        """
        # Lines of the attempt before the last two are not waited for any more.
        latest = dict(sorted(self._lines.items())[-3:])
        values = {"id": self._id, "limit": limit}
        position = {"oldest": min(latest, default=0), "attempts": list(latest), "lines": list(latest.values())}
        with reading(connection):
            with job_cursor(connection) as cursor:
                job = cursor.execute(_READ, {"id": self._id}).fetchone()
            if job is None:
                raise JobNotFoundError(self._id)
            with connection.cursor(row_factory=class_row(RunRecord)) as runs_cursor:
                runs = runs_cursor.execute(_LIST_RUNS, values).fetchall()
            with connection.cursor(row_factory=class_row(LogLine)) as logs_cursor:
                logs = logs_cursor.execute(_LOGS, values | position).fetchall()
        for line in logs:
            self._lines[line.attempt] = max(line.line, self._lines.get(line.attempt, -1))
        return JobState(job, runs, logs)


def under_way(connection: Connection, wanted: JobFilter, limit: int) -> list[JobEvent]:
    """Running jobs, latest started first, of those that are looked at; inside `reading`."""
    values = _arguments(wanted) | {"depth": DEPTH, "most": MOST, "limit": limit}
    with connection.cursor(row_factory=class_row(JobEvent)) as cursor:
        return cursor.execute(_UNDER_WAY, values, prepare=False).fetchall()


def latest_failures(
    connection: Connection, window: float, limit: int, queues: list[str] | None = None
) -> list[JobEvent]:
    """Jobs of these queues that failed for good in the last `window` seconds, latest first; inside `reading`."""
    with connection.cursor(row_factory=class_row(JobEvent)) as cursor:
        values = {"window": window, "limit": limit, "queues": queues}
        return cursor.execute(_FAILURES, values, prepare=False).fetchall()


def _key(event: JobEvent) -> _Key:
    return event.at, event.id, event.attempt or 0


def _position(connection: Connection) -> _Position:
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_POSITION).fetchone()
    assert row is not None
    return _Position(*row)


def _asked_for(wanted: JobFilter) -> JobFilter:
    """Of a filter, what the statements of this module ask for by themselves."""
    names = (wanted.queue, wanted.task, wanted.tag)
    queue, task, tag = (name if isinstance(name, str) else None for name in names)
    return JobFilter(queue=queue, task=task, tag=tag)


def _arguments(wanted: JobFilter) -> dict[str, Any]:
    asked = _asked_for(wanted)
    task = None if asked.task is None else like(str(asked.task))
    return {"queue": asked.queue, "task": task, "tag": asked.tag}
