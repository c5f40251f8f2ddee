"""Statistics of ended attempts: rolling them up by the minute, and reading them over a window."""

from __future__ import annotations

import math
from collections import defaultdict

from psycopg.rows import class_row, dict_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.reading import reading
from pgtask.model.statistics import Bucket, Statistics, Tally, total

_ROLL_UP = statements.load("roll_up")
_READ = statements.load("read_stats")
_TIMELINE = statements.load("read_stats_timeline")

BUCKETS = 60
"""Most slices of a timeline; none is shorter than a minute."""


def roll_up(connection: Connection) -> None:
    """Recomputes the latest minutes of the statistics from the runs; repeating it changes nothing.

    For the leader, several times a minute; nothing breaks when two do it or none does for an hour.
    """
    connection.execute(_ROLL_UP)


def read_statistics(connection: Connection, window: float, queue: str | None = None) -> Statistics:
    """What came of the attempts of the last `window` seconds, from the full minute on."""
    minutes = max(1, math.ceil(window / 60))
    width = math.ceil(minutes / BUCKETS) * 60
    buckets = math.ceil(minutes * 60 / width)
    by_queue: defaultdict[str, Tally] = defaultdict(Tally)
    by_task: defaultdict[str, Tally] = defaultdict(Tally)
    with reading(connection):
        with connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(_READ, {"window": window, "queue": queue}, prepare=False)
            for row in cursor:
                queue_name, task = row.pop("queue"), row.pop("task")
                tally = Tally(**row)
                by_queue[queue_name] += tally
                by_task[task] += tally
        with connection.cursor(row_factory=class_row(Bucket)) as buckets_cursor:
            buckets_cursor.execute(_TIMELINE, {"width": width, "buckets": buckets, "queue": queue}, prepare=False)
            timeline = buckets_cursor.fetchall()
    return Statistics(
        window=window,
        total=total(by_queue.values()),
        by_queue=_busiest_first(by_queue),
        by_task=_busiest_first(by_task),
        timeline=timeline,
    )


def _busiest_first(tallies: dict[str, Tally]) -> dict[str, Tally]:
    return dict(sorted(tallies.items(), key=lambda item: (-item[1].attempts, item[0])))
