"""The task report, over runs that are rolled up and runs that are not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pgtask.builtin import report as reports
from pgtask.builtin.report import report
from pgtask.model.payload import encode_result
from pgtask.model.period import Period
from pgtask.model.statistics import Tally
from pgtask.model.verdict import Discard
from tests.command_line import add_run
from tests.rows import Connection

NOW = datetime.now(UTC)
HOUR = NOW.replace(minute=0, second=0, microsecond=0)


def add(connection: Connection, id: int, finished: datetime, status: str | None = "completed", **columns: Any) -> None:
    """A run that waited 2 s and took 3."""
    seconds = columns.pop("seconds", 3)
    started = finished - timedelta(seconds=seconds)
    times = {"finished_at": finished, "started_at": started, "scheduled_at": started - timedelta(seconds=2)}
    add_run(connection, id, status, **times, **columns)


def fill(connection: Connection) -> None:
    """Attempts in the last full hour, at its edges, and outside of it."""
    inside = HOUR - timedelta(minutes=20)
    for id in (1, 2):
        add(connection, id, inside, queue="mail", task="send")
    add(connection, 3, inside, None, queue="mail", task="send", outcome="timeout")
    add(connection, 3, inside, "failed", queue="mail", task="send")
    add(connection, 4, inside, queue="slow", task="crunch", seconds=60)
    add(connection, 5, inside, "cancelled", queue="slow", task="crunch", attempt=None)
    add(connection, 6, inside, None, queue="slow", task="crunch", outcome="lost")
    add(connection, 7, HOUR - timedelta(hours=1), queue="edge", task="first")
    add(connection, 8, HOUR - timedelta(microseconds=1), queue="edge", task="last")
    add(connection, 9, HOUR - timedelta(hours=1, microseconds=1), queue="out", task="before")
    add(connection, 10, HOUR, queue="out", task="after")


def test_it_tells_what_came_of_the_jobs_of_the_period(database: str, connection: Connection) -> None:
    fill(connection)
    found = report(database, "hourly", NOW.isoformat(), "UTC")
    assert (found["type"], found["timezone"]) == ("hourly", "UTC")
    assert found["from"] == (HOUR - timedelta(hours=1)).isoformat()
    assert found["to"] == HOUR.isoformat()
    total = found["total"]
    assert (total["completed"], total["failed"], total["retried"]) == (5, 1, 1)
    assert (total["cancelled"], total["lost"], total["attempts"]) == (1, 1, 7)
    assert total["error_rate"] == pytest.approx(2 / 7)
    assert total["attempts_per_second"] == pytest.approx(7 / 3600)
    assert list(found["by_queue"]) == ["mail", "edge", "slow"]
    assert list(found["by_task"]) == ["send", "crunch", "first", "last"]
    assert found["by_task"]["send"]["error_rate"] == 0.5
    assert [(pair["queue"], pair["task"], pair["attempts"]) for pair in found["by_queue_and_task"]] == [
        ("mail", "send", 4),
        ("edge", "first", 1),
        ("edge", "last", 1),
        ("slow", "crunch", 1),
    ]
    assert found["slowest_tasks"][0]["task"] == "crunch"
    assert found["slowest_tasks"][0]["average_run_seconds"] == pytest.approx(60)
    assert found["failing_tasks"] == [{"task": "send", "error_rate": 0.5, "failed": 1, "retried": 1}]
    assert found["complete"]


def test_minutes_that_are_rolled_up_count_once(database: str, connection: Connection) -> None:
    for minutes, completed in ((61, 1), (60, 10), (30, 100), (1, 1_000), (0, 10_000), (-1, 100_000)):
        minute = HOUR - timedelta(minutes=minutes)
        connection.execute(
            "INSERT INTO pgtask.stats_minute (minute, queue, task, completed) VALUES (%s, 'q', 't', %s)",
            [minute, completed],
        )
        add(connection, minutes + 2, minute, queue="q", task="t")
    assert report(database, "hourly", NOW.isoformat(), "UTC")["total"]["completed"] == 1_110


def test_it_can_be_asked_for_an_earlier_time_and_another_zone(database: str, connection: Connection) -> None:
    add(connection, 1, datetime(2026, 3, 29, 21, 30, tzinfo=UTC))
    add(connection, 2, datetime(2026, 3, 29, 22, 30, tzinfo=UTC))
    found = report(database, "daily", "2026-03-30T07:00:00+02:00", "Europe/Vienna")
    assert (found["from"], found["to"]) == ("2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00")
    assert (found["timezone"], found["total"]["attempts"]) == ("Europe/Vienna", 1)
    assert found["total"]["attempts_per_second"] == pytest.approx(1 / (23 * 3600))


def test_a_period_without_jobs_has_a_report_too(database: str) -> None:
    found = report(database, "weekly", None, "UTC")
    assert (found["total"]["attempts"], found["total"]["error_rate"]) == (0, None)
    assert (found["by_queue"], found["slowest_tasks"], found["failing_tasks"]) == ({}, [], [])


@pytest.mark.parametrize(
    ("kind", "at", "zone", "reason"),
    [
        ("yearly", None, "UTC", "unknown type 'yearly': use hourly, daily, weekly"),
        ("daily", "yesterday", "UTC", "is no instant"),
        ("daily", 5, "UTC", "is no instant"),
        ("daily", "2026-01-31T07:00:00", "UTC", "has no time zone"),
        ("daily", None, "Europe/Nowhere", "unknown time zone"),
        ("daily", None, "../../etc/passwd", "unknown time zone"),
        ("daily", None, "", "unknown time zone"),
        ("daily", None, None, "unknown time zone"),
    ],
)
def test_what_makes_no_sense_is_refused(kind: Any, at: Any, zone: Any, reason: str) -> None:
    with pytest.raises(Discard, match=reason):
        report("postgresql://nobody@nowhere.invalid/x", kind, at, zone)


def test_a_report_on_very_many_tasks_fits_into_a_result() -> None:
    tallies = {(f"queue {n} " + "q" * 100, f"task {n} " + "t" * 200): Tally(completed=n) for n in range(5000)}
    found = reports.summary(tallies, Period(HOUR, HOUR + timedelta(days=1)))
    assert encode_result(found)
    assert not found["complete"]
    assert found["total"]["completed"] == sum(range(5000))
    assert next(iter(found["by_queue"])).startswith("queue 4999 ")
    assert len(json.dumps(found)) > 100_000
