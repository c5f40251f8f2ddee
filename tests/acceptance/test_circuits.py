"""Circuits, rates and retry budgets with real workers."""

from __future__ import annotations

from typing import Any

import psycopg

from tests import rows
from tests.acceptance.operated import Fleet
from tests.command_line import run
from tests.support import eventually

Connection = psycopg.Connection[Any]


def circuit(connection: Connection, task: str) -> str:
    """The state of a task's circuit."""
    row = connection.execute("SELECT state::text FROM pgtask.circuits WHERE task = %s", [task]).fetchone()
    return row[0] if row else "closed"


def between_probes(workers: Fleet, connection: Connection) -> tuple[int, int] | None:
    """How many probes have failed and how many attempts were started, when none runs; None when one does."""

    def probes() -> int | None:
        if rows.number(connection, "SELECT count(*) FROM pgtask.jobs WHERE status = 'running'"):
            return None
        row = connection.execute("SELECT failed_probes FROM pgtask.circuits WHERE state = 'open'").fetchone()
        return row[0] if row else None

    before, started = probes(), len(workers.ledger.starts())
    return (before, started) if before is not None and before == probes() else None


def beyond(probes: int, found: tuple[int, int] | None) -> tuple[int, int] | None:
    """What was found once so many probes have failed."""
    return found if found is not None and found[0] >= probes else None


def test_a_fleet_stops_calling_what_is_away_probes_and_goes_on_when_it_is_back(
    workers: Fleet, connection: Connection
) -> None:
    workers.start("--processes", "1", "--concurrency", "2", app="breaking")
    workers.start("--processes", "1", "--concurrency", "2", app="breaking")
    rows.insert(connection, "call", count=5000)
    eventually(lambda: circuit(connection, "call") != "closed")

    # What was claimed before the workers had heard of it has been run or given back.
    first = eventually(lambda: between_probes(workers, connection))
    assert first is not None
    later = eventually(lambda: beyond(first[0] + 3, between_probes(workers, connection)), 30)
    assert later is not None
    # Nothing has started meanwhile but the probes.
    assert later[1] - first[1] == later[0] - first[0]
    untried = "SELECT count(*) FROM pgtask.jobs WHERE retry_count = 0 AND status = 'pending'"
    assert rows.number(connection, untried) > 1000
    (workers.folder / "mended").touch()

    eventually(lambda: rows.number(connection, "SELECT count(*) FROM pgtask.jobs") == 0, 30)
    assert circuit(connection, "call") == "closed"
    assert rows.number(connection, "SELECT count(*) FROM pgtask.runs WHERE status = 'completed'") == 5000


def test_crashes_open_a_circuit(workers: Fleet, connection: Connection) -> None:
    workers.start("--processes", "1", "--concurrency", "2", app="breaking")
    rows.insert(connection, "crash", count=6)

    eventually(lambda: circuit(connection, "crash") == "open", 30)
    assert rows.number(connection, "SELECT count(*) FROM pgtask.jobs WHERE status = 'pending'") >= 1


def test_a_circuit_opened_by_hand_holds_the_jobs_of_all_workers_until_it_is_closed(
    workers: Fleet, connection: Connection
) -> None:
    (workers.folder / "mended").touch()
    workers.start("--processes", "2", app="breaking")
    assert run(workers.url, "tasks", "open", "bare", "--reason", "the bank is away").exit_code == 0
    # Once they have done later work, they have heard of it.
    after = rows.insert(connection, "call", count=20)
    eventually(lambda: set(rows.statuses(connection, after).values()) == {"completed"})
    held = rows.insert(connection, "bare", count=10)
    others = rows.insert(connection, "call", count=20)
    eventually(lambda: set(rows.statuses(connection, others).values()) == {"completed"})
    assert set(rows.statuses(connection, held).values()) == {"pending"}
    assert rows.number(connection, "SELECT max(attempt) FROM pgtask.jobs") == 0

    assert run(workers.url, "tasks", "close", "bare").exit_code == 0

    eventually(lambda: set(rows.statuses(connection, held).values()) == {"completed"})


def test_a_declared_rate_holds_and_one_set_by_hand_takes_its_place(workers: Fleet, connection: Connection) -> None:
    workers.start("--processes", "2", app="breaking")
    ids = rows.insert(connection, "paced", count=50)
    eventually(lambda: rows.number(connection, "SELECT count(*) FROM pgtask.runs") == 2)
    assert run(workers.url, "tasks", "set", "paced", "--rate-limit", "3/h", "--rate-burst", "3").exit_code == 0
    eventually(lambda: rows.number(connection, "SELECT count(*) FROM pgtask.runs") == 5)
    workers.start("--processes", "1", app="breaking")
    assert rows.number(connection, "SELECT rate_limit FROM pgtask.tasks WHERE name = 'paced'") == 3
    assert run(workers.url, "tasks", "set", "paced", "--rate-limit", "none").exit_code == 0

    eventually(lambda: set(rows.statuses(connection, ids).values()) == {"completed"})


def test_a_queue_with_a_budget_spreads_the_retries_of_an_outage(workers: Fleet, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, retry_budget) VALUES ('careful', 0.2)")
    careful = rows.insert(connection, "bare", queue="careful", count=60)
    careless = rows.insert(connection, "bare", queue="careless", count=60)
    workers.start("--processes", "1", app="breaking")

    eventually(lambda: set(rows.statuses(connection, careless).values()) == {"failed"})
    waiting = "FROM pgtask.jobs WHERE queue = 'careful' AND retry_count = 1"
    eventually(lambda: rows.number(connection, f"SELECT count(*) {waiting}") >= 30)
    assert rows.number(connection, f"SELECT extract(epoch FROM max(scheduled_at) - min(scheduled_at)) {waiting}") > 25
    assert rows.number(connection, "SELECT count(*) FROM pgtask.all_jobs WHERE queue = 'careful'") == len(careful)
