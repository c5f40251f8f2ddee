"""Statistics of ended attempts: rolling them up by the minute, and reading them over a window."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from psycopg.rows import class_row, dict_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.reading import in_words, reading
from pgtask.model.period import Period
from pgtask.model.statistics import Bucket, Statistics, Tally, total

_ROLL_UP = statements.load("roll_up")
_LOCK_TOTALS = statements.load("lock_totals")
_ADD_TOTALS = statements.load("add_totals")
_READ = statements.load("read_stats")
_TIMELINE = statements.load("read_stats_timeline")
_INSTANT = statements.load("current_instant")

BUCKETS, MOST_BUCKETS = 60, 1440
"""Most slices of a timeline, and where a step is asked for; none is shorter than a minute."""


def roll_up(connection: Connection) -> None:
    """Recomputes the latest minutes of the statistics from the runs, and adds to the totals what is settled.

    For the leader, several times a minute; repeating it changes nothing, and nothing breaks when two do it or none does
    for an hour.
    """
    with connection.transaction():
        connection.execute(_LOCK_TOTALS)
        connection.execute(_ROLL_UP)
        connection.execute(_ADD_TOTALS)


def read_statistics(
    connection: Connection,
    window: float | Period,
    queue: str | None = None,
    *,
    queues: Iterable[str] | None = None,
    task: str | None = None,
    step: float | None = None,
) -> Statistics:
    """What came of the attempts of the last `window` seconds, from the full minute on, or of a period of full minutes.

    Of one queue or several, and of one task; None is all. The timeline goes by about `step` seconds.
    """
    chosen: dict[str, Any] = {"queues": None if queues is None else sorted(queues), "task": task}
    if queue is not None:
        chosen["queues"] = [queue]
    if isinstance(window, Period):
        span: dict[str, Any] = {"began_at": window.began_at, "ended_at": window.ended_at}
        window = window.seconds
    else:
        span = {"window": window}
    minutes = max(1, math.ceil(window / 60))
    width = math.ceil(minutes / (BUCKETS if step is None else MOST_BUCKETS)) * 60
    if step is not None:
        width = max(width, math.ceil(step / 60) * 60)
    buckets = math.ceil(minutes * 60 / width)
    by_queue: defaultdict[str, Tally] = defaultdict(Tally)
    by_task: defaultdict[str, Tally] = defaultdict(Tally)
    with reading(connection):
        for (queue_name, task_name), tally in _tallies(connection, **span, **chosen).items():
            by_queue[queue_name] += tally
            by_task[task_name] += tally
        with connection.cursor(row_factory=class_row(Bucket)) as buckets_cursor:
            slices = {"width": width, "buckets": buckets, "began_at": span.get("began_at")}
            buckets_cursor.execute(_TIMELINE, slices | chosen, prepare=False)
            timeline = buckets_cursor.fetchall()
    return Statistics(
        window=window,
        total=total(by_queue.values()),
        by_queue=_busiest_first(by_queue),
        by_task=_busiest_first(by_task),
        timeline=timeline,
    )


def read_period(connection: Connection, began_at: datetime, ended_at: datetime) -> dict[tuple[str, str], Tally]:
    """What came of the attempts that ended from one full minute to just before another, by queue and task."""
    with reading(connection):
        return _tallies(connection, began_at=began_at, ended_at=ended_at)


def current_instant(connection: Connection) -> datetime:
    """The database's clock."""
    with in_words(connection):
        row = connection.execute(_INSTANT, {"delay": 0.0}).fetchone()
    assert row is not None
    found: datetime = row[0]
    return found


def _tallies(connection: Connection, **chosen: Any) -> dict[tuple[str, str], Tally]:
    arguments = {"window": None, "queues": None, "task": None, "began_at": None, "ended_at": None} | chosen
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(_READ, arguments, prepare=False)
        return {(row.pop("queue"), row.pop("task")): Tally(**row) for row in cursor}


def _busiest_first(tallies: dict[str, Tally]) -> dict[str, Tally]:
    return dict(sorted(tallies.items(), key=lambda item: (-item[1].attempts, item[0])))
