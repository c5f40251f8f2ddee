"""The statistics by the minute: rolled up from the runs, again and again to the same end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from pgtask.database import statistics

Connection = psycopg.Connection


@pytest.fixture
def connection(connection: Connection) -> Iterator[Connection]:
    """A transaction, in which it is always the same minute."""
    with connection.transaction():
        yield connection


def run(
    connection: Connection,
    outcome: str,
    *,
    minutes_ago: float = 0,
    final: bool = True,
    queue: str = "q",
    task: str = "t",
    waited: float = 2.0,
    ran: float = 3.0,
) -> None:
    connection.execute(
        """
        INSERT INTO pgtask.runs (job_id, finished_at, started_at, scheduled_at, attempt, outcome, priority, final,
                                 queue, task, status)
        SELECT 1, at, at - make_interval(secs => %(ran)s), at - make_interval(secs => %(ran)s + %(waited)s), 1,
               %(outcome)s::pgtask.run_outcome, 1, %(final)s, %(queue)s, %(task)s,
               CASE WHEN %(final)s THEN 'failed'::pgtask.job_status END
          FROM (SELECT date_trunc('minute', now()) - make_interval(mins => %(minutes)s) + interval '1 s') x (at)
        """,
        {
            "outcome": outcome,
            "minutes": minutes_ago,
            "final": final,
            "queue": queue,
            "task": task,
            "waited": waited,
            "ran": ran,
        },
    )


def minutes(connection: Connection) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "SELECT (extract(epoch FROM date_trunc('minute', now()) - minute) / 60)::int AS ago, queue, task, "
            "completed, failed, retried, cancelled, lost, run_seconds, wait_seconds, max_run_seconds, max_wait_seconds "
            "FROM pgtask.stats_minute ORDER BY minute, queue, task"
        )
        return cursor.fetchall()


def test_every_outcome_has_its_column(connection: Connection) -> None:
    for outcome, final in [
        *(("completed", True), ("completed", True), ("failed", True), ("timeout", True), ("failed", False)),
        *(("timeout", False), ("crashed", False), ("cancelled", True), ("lost", False)),
        *(("released", False), ("snoozed", False)),
    ]:
        run(connection, outcome, final=final)

    statistics.roll_up(connection)

    (row,) = minutes(connection)
    assert row | {"ago": 0} == {
        "ago": 0,
        "queue": "q",
        "task": "t",
        "completed": 2,
        "failed": 2,
        "retried": 3,
        "cancelled": 1,
        "lost": 1,
        # Over the seven that ran to an end of their own.
        "run_seconds": 21.0,
        "wait_seconds": 14.0,
        "max_run_seconds": 3.0,
        "max_wait_seconds": 2.0,
    }


def test_each_minute_queue_and_task_has_a_row(connection: Connection) -> None:
    run(connection, "completed")
    run(connection, "completed", minutes_ago=1)
    run(connection, "completed", queue="r")
    run(connection, "completed", task="u", ran=7.0)
    run(connection, "completed", task="u", ran=1.0)

    statistics.roll_up(connection)

    assert [(row["queue"], row["task"], row["completed"], row["max_run_seconds"]) for row in minutes(connection)] == [
        ("q", "t", 1, 3.0),
        ("q", "t", 1, 3.0),
        ("q", "u", 2, 7.0),
        ("r", "t", 1, 3.0),
    ]


def test_repeating_it_changes_nothing_and_later_runs_are_added(connection: Connection) -> None:
    run(connection, "completed")
    for _ in range(2):
        statistics.roll_up(connection)
        assert [(row["completed"], row["failed"], row["run_seconds"]) for row in minutes(connection)] == [(1, 0, 3.0)]

    run(connection, "failed")
    statistics.roll_up(connection)

    assert [(row["completed"], row["failed"]) for row in minutes(connection)] == [(1, 1)]


def test_after_a_break_the_minutes_missed_are_made_up_for_an_hour(connection: Connection) -> None:
    run(connection, "completed", minutes_ago=90)
    run(connection, "completed", minutes_ago=30)
    connection.execute(
        "INSERT INTO pgtask.stats_minute (minute, queue, task, completed) "
        "VALUES (date_trunc('minute', now()) - interval '40 min', 'q', 't', 5)"
    )

    statistics.roll_up(connection)

    assert [(row["ago"] // 10, row["completed"]) for row in minutes(connection)] == [(4, 5), (3, 1)]


def test_older_minutes_stay_as_they_are(connection: Connection) -> None:
    """Their runs may have been pruned."""
    connection.execute(
        "INSERT INTO pgtask.stats_minute (minute, queue, task, completed) "
        "VALUES (date_trunc('minute', now()) - interval '2 h', 'q', 't', 5), "
        "       (date_trunc('minute', now()) - interval '3 min', 'q', 't', 7)"
    )
    run(connection, "completed", minutes_ago=2)

    statistics.roll_up(connection)

    assert [row["completed"] for row in minutes(connection)] == [5, 7, 1]
