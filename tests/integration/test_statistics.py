from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import psycopg
import pytest

from pgtask.database.statistics import read_statistics, roll_up
from pgtask.model.statistics import Statistics
from tests.command_line import add_run, answer, lines, on_terminal, run
from tests.rows import Connection, ago, number


def fill(connection: Connection) -> None:
    """Attempts of the last minutes, each having waited 2 s and run 3 s."""
    times = {"scheduled_at": ago(65), "started_at": ago(63), "finished_at": ago(60)}
    for id in range(1, 4):
        add_run(connection, id, "completed", queue="a", task="x", **times)
    add_run(connection, 4, None, queue="a", task="y", outcome="timeout", **times)
    add_run(connection, 4, "failed", queue="a", task="y", **times)
    add_run(connection, 5, "quarantined", outcome="crashed", queue="b", task="x", **times)
    add_run(connection, 6, "cancelled", queue="b", task="x", finished_at=ago(60), started_at=None, attempt=None)
    add_run(connection, 7, None, queue="b", task="x", outcome="lost", **times)
    for outcome in ("released", "snoozed"):
        add_run(connection, 8, None, queue="b", task="x", outcome=outcome, **times)


def check(statistics: Statistics) -> None:
    total = statistics.total
    assert (total.completed, total.failed, total.retried, total.cancelled, total.lost) == (3, 2, 1, 1, 1)
    assert (total.attempts, total.error_rate) == (6, 0.5)
    assert total.average_run == pytest.approx(3, abs=0.1)
    assert total.average_wait == pytest.approx(2, abs=0.1)
    assert total.max_run_seconds == pytest.approx(3, abs=0.1)
    assert list(statistics.by_queue) == ["a", "b"]
    assert list(statistics.by_task) == ["x", "y"]
    assert statistics.by_task["y"].retried == 1
    assert sum(bucket.completed for bucket in statistics.timeline) == 3
    assert sum(bucket.unsuccessful for bucket in statistics.timeline) == 3


def table(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT s.* FROM pgtask.stats_minute s ORDER BY s.minute, s.queue, s.task").fetchall()


def test_they_are_the_same_before_and_after_rolling_up(connection: Connection) -> None:
    fill(connection)
    check(read_statistics(connection, 3600))
    roll_up(connection)
    check(read_statistics(connection, 3600))
    first = table(connection)
    roll_up(connection)
    assert table(connection) == first != []


def test_rolling_up_adds_what_came_late_and_leaves_older_minutes(connection: Connection) -> None:
    fill(connection)
    roll_up(connection)
    connection.execute(
        "INSERT INTO pgtask.stats_minute (minute, queue, task, completed)"
        " VALUES (date_trunc('minute', now()) - interval '40 min', 'a', 'x', 500)"
    )
    add_run(connection, 9, "completed", queue="a", task="x", finished_at=ago(60), started_at=ago(63))
    roll_up(connection)
    assert read_statistics(connection, 3600).total.completed == 504


def test_minutes_without_a_leader_are_made_up_for(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO pgtask.stats_minute (minute, queue, task, completed)"
        " VALUES (date_trunc('minute', now()) - interval '30 min', 'a', 'x', 0)"
    )
    add_run(connection, 1, "completed", finished_at=ago(20 * 60), started_at=ago(20 * 60))
    roll_up(connection)
    assert number(connection, "SELECT sum(completed) FROM pgtask.stats_minute") == 1


def test_a_run_before_the_window_does_not_count(connection: Connection) -> None:
    add_run(connection, 1, "completed", finished_at=ago(600), started_at=ago(601))
    assert read_statistics(connection, 300).total.attempts == 0
    assert read_statistics(connection, 900).total.attempts == 1


@pytest.mark.parametrize(("window", "slices"), [(30, 1), (900, 15), (3600, 60), (86400, 60), (90000, 60)])
def test_the_timeline_ends_now_and_covers_the_window(connection: Connection, window: int, slices: int) -> None:
    timeline = read_statistics(connection, window).timeline
    assert len(timeline) == slices
    (now,) = connection.execute("SELECT now()").fetchone() or (None,)
    assert isinstance(now, datetime)
    width = max(60, -(-window // 60 // 60) * 60)
    assert timedelta() <= now - timeline[-1].began_at < timedelta(seconds=width + 60)
    steps = {later.began_at - sooner.began_at for sooner, later in pairwise(timeline)}
    assert steps <= {timedelta(seconds=width)}


def test_stats_on_the_command_line(database: str, connection: Connection) -> None:
    assert "No attempt has ended in the last 1 h." in on_terminal(database, "stats")
    fill(connection)
    shown = on_terminal(database, "stats")
    assert "6 attempts, 6.0/h, 50 % errors" in shown
    assert "█" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    plain = lines(run(database, "stats"))
    assert plain[:3] == [["completed", "3"], ["failed", "2"], ["retried", "1"]]
    assert [line[0] for line in plain[7:]] == ["queue", "a", "b", "task", "x", "y"]
    assert answer(run(database, "stats", "--window", "15m", "--json"))["window_seconds"] == 900
    assert answer(run(database, "stats", "--queue", "b", "--json"))["by_queue"].keys() == {"b"}
    assert run(database, "stats", "--window", "0").exit_code == 2


def test_two_leaders_at_once_do_not_hinder_each_other(database: str, connection: Connection) -> None:
    fill(connection)
    with psycopg.connect(database) as other:
        roll_up(other)
        other.commit()
        roll_up(connection)
        roll_up(other)
    check(read_statistics(connection, 3600))
