"""Copies in a dead letter queue, made by real workers: one of each job that failed for good, whatever happens."""

from __future__ import annotations

from functools import partial
from typing import Any

import psycopg
import pytest

from tests import rows
from tests.acceptance.operated import Fleet
from tests.command_line import lines, run
from tests.support import eventually

Connection = psycopg.Connection[Any]
PATIENCE = 40.0

COPIES = "SELECT id, (dead_letter ->> 'job_id')::int8 FROM pgtask.jobs WHERE dead_letter IS NOT NULL"


@pytest.fixture(autouse=True)
def queue(connection: Connection) -> None:
    """A queue whose failures are copied, with retries that come at once."""
    connection.execute(
        "INSERT INTO pgtask.queues (name, dead_letter_queue, retry_strategy, retry_delay) "
        "VALUES ('mail', 'dead', 'fixed', 0.01)"
    )


def final(connection: Connection, id: int) -> dict[str, Any]:
    return eventually(lambda: rows.final(connection, id) or {}, PATIENCE)


def run_again(connection: Connection, id: int) -> dict[str, Any]:
    """The second run of a job."""
    found = eventually(lambda: rows.runs(connection, id)[1:], PATIENCE)
    return found[0]


@pytest.mark.parametrize(
    ("task", "columns", "status", "attempts", "error_type"),
    [
        ("raise", {"max_retries": 2}, "failed", 3, "ValueError"),
        ("discard", {}, "failed", 1, "Discard"),
        ("slow", {"max_retries": 0}, "failed", 1, "JobTimeout"),
        ("segfault", {"max_retries": 9}, "quarantined", 3, "ProcessDied"),
        ("segfault", {"max_retries": 0}, "failed", 1, "ProcessDied"),
    ],
)
def test_a_job_that_fails_for_good_is_copied_once(
    task: str,
    columns: dict[str, Any],
    status: str,
    attempts: int,
    error_type: str,
    workers: Fleet,
    connection: Connection,
) -> None:
    workers.start("--processes", "1", "--queues", "mail", app="letters")
    (id,) = rows.insert(connection, task, queue="mail", tags=["a"], **columns)

    record = final(connection, id)

    assert (record["status"], record["attempt"]) == (status, attempts)
    # They are there as soon as the end is.
    assert connection.execute(COPIES.encode()).fetchall() == [(record["copy_id"], id)]
    copy = rows.live(connection, record["copy_id"])
    assert (copy["task"], copy["queue"], copy["tags"], copy["max_retries"]) == (task, "dead", ["a"], None)
    told = copy["dead_letter"]
    assert (told["status"], told["attempt"], told["error_type"]) == (status, attempts, error_type)
    assert told["error"] == record["error"]


@pytest.mark.parametrize("task", ["plain", "coroutine", "transactional"])
def test_a_handler_is_told_what_its_job_is_a_copy_of(task: str, workers: Fleet, connection: Connection) -> None:
    """The copy wakes the worker, which looks at its queues once a minute."""
    workers.start("--processes", "1", "--poll", "60s", app="letters")
    (id,) = rows.insert(connection, task, queue="mail", max_retries=0)

    copy = final(connection, final(connection, id)["copy_id"])

    assert (copy["status"], copy["error"]) == ("completed", None)
    assert copy["result"] == f"{id} mail failed 1 ValueError: no such customer"


def test_a_copy_that_fails_ends_where_it_is(workers: Fleet, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, dead_letter_queue) VALUES ('dead', 'mail')")
    workers.start("--processes", "1", app="letters")
    (id,) = rows.insert(connection, "discard", queue="mail")

    copy = final(connection, final(connection, id)["copy_id"])

    assert (copy["status"], copy["queue"], copy["copy_id"]) == ("failed", "dead", None)
    assert rows.number(connection, "SELECT count(*) FROM pgtask.jobs") == 0


def test_executors_killed_again_and_again_leave_one_copy_of_each(workers: Fleet, connection: Connection) -> None:
    worker = workers.start("--processes", "2", "--concurrency", "5", "--queues", "mail", app="letters")
    ids = rows.insert(connection, "brief", queue="mail", max_retries=0, count=3000)
    dead = "SELECT count(*) FROM pgtask.dead_letters WHERE task = 'brief'"
    killed: set[int] = set()

    def at_least(number: int) -> bool:
        return rows.number(connection, dead) >= number

    for so_many in range(300, 2400, 300):
        eventually(partial(at_least, so_many), PATIENCE)
        victim = eventually(lambda: next((p for p in worker.executors() if p.pid not in killed), None), PATIENCE)
        assert victim
        killed.add(victim.pid)
        victim.kill()

    eventually(lambda: rows.number(connection, dead) == len(ids), PATIENCE)
    ends = dict(connection.execute("SELECT copy_id, job_id FROM pgtask.runs WHERE final").fetchall())
    assert dict(connection.execute(COPIES.encode()).fetchall()) == ends
    assert sorted(ends.values()) == ids
    lost = rows.number(connection, "SELECT count(*) FROM pgtask.runs WHERE outcome IN ('lost', 'crashed')")
    assert lost, "none was killed with a job in hand"


def test_a_retried_job_that_fails_again_is_copied_again(workers: Fleet, connection: Connection) -> None:
    workers.start("--processes", "1", "--queues", "mail", app="letters")
    (id,) = rows.insert(connection, "discard", queue="mail")
    first = final(connection, id)["copy_id"]
    connection.execute("SELECT pgtask.resolve(%s)", [id])

    connection.execute("SELECT pgtask.retry(%s)", [id])

    second = eventually(lambda: (rows.final(connection, id) or {}).get("copy_id"), PATIENCE)
    assert sorted(connection.execute(COPIES.encode()).fetchall()) == [(first, id), (second, id)]
    assert rows.number(connection, "SELECT count(*) FROM pgtask.dead_letters WHERE id = %s", [id]) == 1


def test_a_rate_lets_retries_start_one_after_the_other(workers: Fleet, connection: Connection) -> None:
    """Each starts no sooner than its turn, and none is forgotten."""
    ids = rows.insert(connection, "discard", queue="mail", count=10)
    workers.start("--processes", "1", "--queues", "mail", app="letters")
    for id in ids:
        final(connection, id)
    connection.execute("DELETE FROM pgtask.jobs")

    assert lines(run(workers.url, "dead", "retry", "--task", "discard", "--rate", "10/s", "-y")) == [["pending", "10"]]

    again = [run_again(connection, id) for id in ids]
    assert all(one["started_at"] >= one["scheduled_at"] for one in again)
    due = sorted(one["scheduled_at"] for one in again)
    assert [round((later - due[0]).total_seconds(), 3) for later in due] == [n / 10 for n in range(10)]
