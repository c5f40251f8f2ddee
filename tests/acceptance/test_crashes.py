"""Processes that die, freeze or are told to stop with jobs in hand."""

from __future__ import annotations

import signal
from typing import Any

import psutil
import psycopg

from tests import rows
from tests.acceptance.operated import Fleet
from tests.support import eventually

Connection = psycopg.Connection[Any]


def all_completed(connection: Connection, ids: list[int]) -> bool:
    return set(rows.statuses(connection, ids).values()) == {"completed"}


def given_back(connection: Connection, ids: list[int], executor: int) -> bool:
    query = "SELECT count(*) FROM pgtask.jobs WHERE id = ANY (%s) AND status = 'running' AND executor = %s"
    return rows.number(connection, query, [ids, executor]) == 0


def started(workers: Fleet, count: int) -> bool:
    return len(workers.ledger.starts()) >= count


def test_an_executor_killed_with_twenty_jobs_in_hand_loses_and_charges_none(
    workers: Fleet, connection: Connection
) -> None:
    worker = workers.start("--processes", "1", "--concurrency", "20")
    ids = rows.insert(connection, "hold", count=20)
    eventually(lambda: started(workers, 20))
    victim = worker.executors()[0]

    victim.kill()

    # Any of them may have been the cause: they are back at once, and then run one at a time.
    eventually(lambda: given_back(connection, ids, executor=1))
    eventually(lambda: started(workers, 21))
    workers.ledger.open_gate()
    eventually(lambda: all_completed(connection, ids))
    for id in ids:
        first, last = rows.runs(connection, id)
        assert (first["outcome"], first["final"], last["outcome"]) == ("lost", False, "completed")
        assert last["retry_count"] == 0, "a lost attempt is not charged"
        assert "SIGKILL" in first["error"]
    assert worker.process.poll() is None


def test_the_siblings_of_a_killed_executor_are_untouched(workers: Fleet, connection: Connection) -> None:
    worker = workers.start("--processes", "2", "--concurrency", "5")
    ids = rows.insert(connection, "hold", count=10)
    eventually(lambda: started(workers, 10))
    victim = worker.executors()[0]
    theirs = {start.job_id for start in workers.ledger.starts() if start.pid == victim.pid}

    victim.kill()

    eventually(lambda: started(workers, 11))
    workers.ledger.open_gate()
    eventually(lambda: all_completed(connection, ids))
    assert 0 < len(theirs) < 10
    assert set(workers.ledger.twice()) == theirs


def test_the_jobs_of_a_killed_worker_run_elsewhere(workers: Fleet, connection: Connection) -> None:
    other = workers.start("--processes", "1", "--lease", "2s", "--queues", "other")
    doomed = workers.start("--processes", "1", "--lease", "2s", "--queues", "default")
    heir = workers.start("--processes", "1", "--lease", "2s", "--queues", "default")
    heir.process.send_signal(signal.SIGSTOP)
    for process in heir.executors():
        process.suspend()
    ids = rows.insert(connection, "hold", count=8)
    eventually(lambda: started(workers, 8))
    executors = doomed.executors()

    doomed.process.kill()

    psutil.wait_procs(executors, timeout=10)
    assert not any(process.is_running() for process in executors), "executors must not outlive their supervisor"
    heir.signal_all(signal.SIGCONT)
    eventually(lambda: started(workers, 16), 30)
    workers.ledger.open_gate()
    eventually(lambda: all_completed(connection, ids))
    for id in ids:
        assert [run["outcome"] for run in rows.runs(connection, id)] == ["lost", "completed"]
        assert rows.ended(connection, id)["retry_count"] == 0
    assert other.process.poll() is None


def test_a_worker_frozen_past_its_lease_cannot_complete_what_others_took_over(
    workers: Fleet, connection: Connection
) -> None:
    frozen = workers.start("--processes", "1", "--lease", "2s")
    ids = rows.insert(connection, "hold", {"gate": "first"}, count=6)
    eventually(lambda: started(workers, 6))
    old = frozen.id(connection)
    frozen.signal_all(signal.SIGSTOP)
    workers.ledger.open_gate("first")
    heir = workers.start("--processes", "1", "--lease", "2s")

    eventually(lambda: all_completed(connection, ids), 30)
    frozen.signal_all(signal.SIGCONT)

    eventually(lambda: frozen.said("starting anew under a new identity"))
    eventually(lambda: frozen.id(connection) != old)
    for id in ids:
        finished = rows.ended(connection, id)
        assert finished["worker_id"] == heir.id(connection)
        assert [run["outcome"] for run in rows.runs(connection, id)] == ["lost", "completed"]
    assert heir.terminate() == 0
    more = rows.insert(connection, "quick", count=3)
    eventually(lambda: all_completed(connection, more))


def test_a_worker_told_to_stop_finishes_what_runs_within_its_grace(workers: Fleet, connection: Connection) -> None:
    worker = workers.start("--processes", "1", "--concurrency", "4", "--grace", "60s")
    ids = rows.insert(connection, "hold", count=4)
    eventually(lambda: started(workers, 4))
    later = rows.insert(connection, "quick", count=3)
    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: worker.said("shuts down"))

    workers.ledger.open_gate()

    assert worker.process.wait(30) == 0
    assert all_completed(connection, ids)
    for id in later:
        job = rows.live(connection, id)
        assert (job["status"], job["retry_count"]) == ("pending", 0)
        assert rows.runs(connection, id) == [], "what never started leaves no run"


def test_what_outlives_the_grace_goes_back_uncharged(workers: Fleet, connection: Connection) -> None:
    worker = workers.start("--processes", "1", "--grace", "0.2s")
    (id,) = rows.insert(connection, "hold")
    eventually(lambda: started(workers, 1))

    assert worker.terminate() == 0

    job = rows.live(connection, id)
    assert (job["status"], job["retry_count"], job["attempt"]) == ("pending", 0, 1)
    assert [run["outcome"] for run in rows.runs(connection, id)] == ["released"]
    workers.ledger.open_gate()
    workers.start("--processes", "1")
    eventually(lambda: all_completed(connection, [id]))


def test_a_second_signal_cuts_the_grace_short(workers: Fleet, connection: Connection) -> None:
    worker = workers.start("--processes", "1", "--grace", "1h")
    (id,) = rows.insert(connection, "hold")
    eventually(lambda: started(workers, 1))
    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: worker.said("shuts down"))

    assert worker.terminate() == 0

    assert rows.live(connection, id)["status"] == "pending"
    assert [run["outcome"] for run in rows.runs(connection, id)] == ["released"]
