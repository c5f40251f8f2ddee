"""Schedules fire once per tick, whoever dies meanwhile; code that goes and comes takes its schedules along.

With PGTASK_LONG_SCHEDULES set the storm lasts two minutes over 60 schedules.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.acceptance.fleet import Make
from tests.command_line import start
from tests.rows import number
from tests.scene import Scene
from tests.schedules import add, column
from tests.support import eventually

Connection = psycopg.Connection[Any]
LONG = bool(os.environ.get("PGTASK_LONG_SCHEDULES"))
SCHEDULES, SECONDS, KILL_EVERY = (60, 120.0, 5.0) if LONG else (20, 15.0, 4.0)
LEADER = """
    SELECT w.pid FROM pgtask.leader l JOIN pgtask.workers w ON w.id = l.holder
     WHERE l.name = 'scheduler' AND l.expires_at > now()
"""


@pytest.fixture
def launch(database: str) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts dedicated schedulers, all ended with the test."""
    made: list[subprocess.Popen[str]] = []

    def run() -> subprocess.Popen[str]:
        made.append(start(database, "scheduler", "--lease", "3s"))
        return made[-1]

    yield run
    for process in made:
        process.kill()
        process.wait()


def clock(connection: Connection) -> datetime:
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    return row[0]  # type: ignore[no-any-return]


def leader(connection: Connection) -> int | None:
    row = connection.execute(LEADER).fetchone()
    return None if row is None else int(row[0])


def whole_seconds(after: datetime, until: datetime) -> list[datetime]:
    """The oracle of a schedule that is due every second."""
    tick = after.replace(microsecond=0) + timedelta(seconds=1)
    found = []
    while tick <= until:
        found.append(tick)
        tick += timedelta(seconds=1)
    return found


@pytest.mark.timeout(60 + 2 * SECONDS)
def test_no_tick_is_lost_or_doubled_while_leaders_are_killed(
    launch: Callable[[], subprocess.Popen[str]], connection: Connection
) -> None:
    schedulers = {process.pid: process for process in (launch() for _ in range(3))}
    eventually(lambda: leader(connection), 30)
    every_second: list[tuple[str, dict[str, Any]]] = [("* * * * * *", {"seconds_field": "first"}), ("@every 1s", {})]
    ids = [
        add(connection, expression, name=f"s{n}", overlap="allow", anchor="2026-01-01 00:00+00", **columns)
        for n in range(SCHEDULES)
        for expression, columns in [every_second[n % 2]]
    ]
    # Read back, as a schedule's ticks are those after it was made.
    begun = {id: column(connection, id, "due_after") for id in ids}
    ends = clock(connection) + timedelta(seconds=SECONDS)
    killed = set[int]()
    kill_at = clock(connection) + timedelta(seconds=1)
    while kill_at < ends:
        eventually(lambda at=kill_at: clock(connection) >= at, 2 * KILL_EVERY)  # type: ignore[misc]
        pid = eventually(lambda: leader(connection), 30)
        if pid in schedulers:
            schedulers.pop(pid).kill()
            killed.add(pid)
            process = launch()
            schedulers[process.pid] = process
        kill_at += timedelta(seconds=KILL_EVERY)
    assert len(killed) >= 2

    seen = "SELECT count(*) FROM pgtask.schedules WHERE due_after >= %s"
    eventually(lambda: number(connection, seen, [ends]) == len(ids), 60)
    found: dict[int, list[datetime]] = {id: [] for id in ids}
    outcomes = set()
    for id, tick_at, outcome in connection.execute(
        "SELECT schedule_id, tick_at, outcome::text FROM pgtask.schedule_ticks WHERE tick_at <= %s ORDER BY tick_at",
        [ends],
    ):
        found[id].append(tick_at)
        outcomes.add(outcome)
    assert {id: found[id] for id in ids} == {id: whole_seconds(begun[id], ends) for id in ids}
    assert outcomes == {"fired"}
    strays = """
        SELECT count(*)
          FROM (SELECT schedule_id, tick_at, count(*) AS jobs, min(id) AS job_id FROM pgtask.jobs GROUP BY 1, 2) made
          FULL JOIN pgtask.schedule_ticks t USING (schedule_id, tick_at)
         WHERE made.jobs IS DISTINCT FROM 1 OR t.job_id IS DISTINCT FROM made.job_id
    """
    assert number(connection, strays) == 0
    assert number(connection, "SELECT term FROM pgtask.leader WHERE name = 'scheduler'") > len(killed)


def test_a_scheduler_is_listed_and_ends_when_asked(
    launch: Callable[[], subprocess.Popen[str]], connection: Connection
) -> None:
    first, second = launch(), launch()
    alive = "SELECT count(*) FROM pgtask.workers WHERE dead_at IS NULL AND slots = 0 AND pid = ANY (%s)"
    eventually(lambda: number(connection, alive, [[first.pid, second.pid]]) == 2, 30)
    pid = eventually(lambda: leader(connection))

    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    connection.execute("UPDATE pgtask.workers SET stopping_at = now()")
    assert second.wait(30) == 0
    assert number(connection, alive, [[first.pid, second.pid]]) == 0
    assert pid in (first.pid, second.pid)
    assert leader(connection) is None


def outcome(connection: Connection, name: str) -> list[tuple[str, bool]]:
    """What came of the ticks of a schedule: the status of the job, and whether its handler was told its tick."""
    return connection.execute(
        """
        SELECT r.status::text, (r.result #>> '{}')::timestamptz = t.tick_at AND r.tick_at = t.tick_at
          FROM pgtask.schedules s
          JOIN pgtask.schedule_ticks t ON t.schedule_id = s.id
          JOIN pgtask.runs r ON r.job_id = t.job_id AND r.final
         WHERE s.name = %s
        """,
        [name],
    ).fetchall()


def test_code_takes_its_schedules_along(
    make_worker: Make, connection: Connection, monkeypatch: pytest.MonkeyPatch, scene: Scene
) -> None:
    app = "tests.acceptance.apps.scheduled"
    monkeypatch.setenv("SCHEDULES", "old,both")
    old = make_worker(app=app)
    for name in ("old", "both"):
        eventually(lambda name=name: len(outcome(connection, name)) >= 2, 30)  # type: ignore[misc]
        assert set(outcome(connection, name)) == {("completed", True)}

    monkeypatch.setenv("SCHEDULES", "both,new")
    make_worker(app=app)
    eventually(lambda: len(scene.entries("new")) >= 1, 30)
    orphans = "SELECT count(*) FROM pgtask.schedules WHERE orphaned_at IS NOT NULL"
    assert number(connection, orphans) == 0, "a live worker still declares it"

    old.stop()
    eventually(lambda: number(connection, orphans) == 1, 30)
    assert number(connection, "SELECT count(*) FROM pgtask.schedules WHERE name = 'old' AND orphaned_at IS NULL") == 0
    before = len(scene.entries("new"))
    eventually(lambda: len(scene.entries("new")) > before + 1, 30)
    last = "SELECT count(*) FROM pgtask.schedules WHERE name = 'old' AND last_tick_at > orphaned_at"
    assert number(connection, last) == 0
