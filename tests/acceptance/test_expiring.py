"""Jobs that were not started in time end while real workers run: the leader among them sees to it."""

from __future__ import annotations

from typing import Any

import psycopg

from tests import rows
from tests.acceptance.operated import Fleet
from tests.support import eventually

Connection = psycopg.Connection[Any]


def ended(connection: Connection, id: int) -> dict[str, Any]:
    return eventually(lambda: rows.final(connection, id)) or {}


def test_jobs_that_nobody_starts_end_at_their_deadline(workers: Fleet, connection: Connection) -> None:
    workers.start("--processes", "1", "--queues", "served", "--lease", "2").await_ready()
    eventually(lambda: rows.number(connection, "SELECT count(*) FROM pgtask.leader WHERE name = 'upkeep'"))

    (unserved,) = rows.insert(connection, "quick", queue="unserved", start_by=rows.ago(-0.5))
    (unknown,) = rows.insert(connection, "nobody knows", queue="served", start_by=rows.ago(-0.5))
    (started,) = rows.insert(connection, "hold", queue="served", start_by=rows.ago(-60))
    eventually(lambda: rows.live(connection, started)["status"] == "running")
    connection.execute("UPDATE pgtask.jobs SET start_by = now() - interval '1 s' WHERE id = %s", [started])

    for id in (unserved, unknown):
        run = ended(connection, id)
        assert (run["status"], run["attempt"], run["error_type"]) == ("cancelled", None, "Expired")
        assert run["finished_at"] > run["start_by"]

    workers.ledger.open_gate()
    assert ended(connection, started)["status"] == "completed"


def test_the_leader_counts_large_queues(workers: Fleet, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, max_size) VALUES ('unserved', 5000)")
    rows.insert(connection, "quick", queue="unserved", count=1500)
    workers.start("--processes", "1", "--queues", "served", "--lease", "2")
    eventually(lambda: rows.number(connection, "SELECT waiting FROM pgtask.queue_sizes") == 1500, 30)


def test_a_worker_that_has_just_started_ends_what_has_expired(workers: Fleet, connection: Connection) -> None:
    """It may not rescue for as long as its lease, but this it may; and what has expired is not left to run."""
    (expired,) = rows.insert(connection, "quick", start_by=rows.ago(1))

    worker = workers.launch("--processes", "1", "--lease", "60", "--drain")

    assert worker.process.wait(timeout=20) == 0
    worker = workers.start("--processes", "1", "--lease", "60")
    assert ended(connection, expired)["status"] == "cancelled"
    assert rows.number(connection, "SELECT count(*) FROM pgtask.leader WHERE name = 'upkeep'") == 0
