"""Stopping a job: by its timeout, or by cancelling it, while it waits, while it runs, and when it has just ended."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.acceptance.fleet import Make, Worker
from tests.checker import check
from tests.rows import ended, insert, number, runs
from tests.scene import Scene
from tests.support import eventually

Connection = psycopg.Connection[Any]


@pytest.fixture
def worker(make_worker: Make) -> Worker:
    return make_worker(app="tests.acceptance.apps.stoppable", lease=60.0)


def all_ended(connection: Connection, ids: list[int]) -> bool:
    return number(connection, "SELECT count(*) FROM pgtask.jobs WHERE id = ANY (%s)", [ids]) == 0


def cancel(connection: Connection, id: int) -> str:
    row = connection.execute("SELECT pgtask.cancel(%s)", [id]).fetchone()
    assert row is not None
    return str(row[0])


# Timeouts


@pytest.mark.parametrize("source", ["job", "task", "queue"])
def test_an_attempt_that_overruns_its_timeout_is_stopped_and_charged(
    source: str, worker: Worker, scene: Scene, connection: Connection
) -> None:
    columns: dict[str, Any] = {"timeout": 0.1} if source == "job" else {}
    if source == "queue":
        connection.execute("INSERT INTO pgtask.queues (name, timeout) VALUES ('default', 0.1)")
    tasks = ("brief", "brief_async") if source == "task" else ("spin", "spin_async")
    payload = {"seconds": 3600} if source == "task" else {}
    ids = [insert(connection, task, payload, **columns)[0] for task in tasks]
    bystanders = [insert(connection, task, {"gate": "g"})[0] for task in ("hold", "hold_async")]

    eventually(lambda: all_ended(connection, ids))
    scene.open("g")
    eventually(lambda: all_ended(connection, bystanders))

    check(connection, scene, ids + bystanders, faultless=True)
    limit = "0.02" if source == "task" else "0.1"
    for id in ids:
        run = ended(connection, id)
        assert (run["outcome"], run["status"], run["retry_count"]) == ("timeout", "failed", 1)
        assert (run["error_type"], run["error"]) == ("JobTimeout", f"It ran longer than its timeout of {limit} s.")
        assert "stoppable.py" in run["traceback"]


def test_a_timeout_is_followed_by_the_jobs_retries(worker: Worker, scene: Scene, connection: Connection) -> None:
    ids = [
        insert(connection, task, timeout=0.05, max_retries=2, retry_strategy="fixed", retry_delay=0)[0]
        for task in ("spin", "spin_async")
    ]

    eventually(lambda: all_ended(connection, ids))

    check(connection, scene, ids, faultless=True)
    for id in ids:
        assert [run["outcome"] for run in runs(connection, id)] == ["timeout"] * 3


def test_a_timeout_never_hits_the_next_job(worker: Worker, scene: Scene, connection: Connection) -> None:
    """Jobs of about the length of their timeout, so that many end just when the interruption comes."""
    ids = []
    for n in range(120):
        for task in ("brief", "brief_async"):
            ids += insert(connection, task, {"seconds": 0.016 + n % 12 / 1000})
    steady = insert(connection, "brief", {"seconds": 0.001}, count=200, timeout=600)

    eventually(lambda: all_ended(connection, ids + steady), 30)

    finals = check(connection, scene, ids + steady, faultless=True)
    assert {run["outcome"] for run in finals} == {"completed", "timeout"}
    assert {run["outcome"] for run in finals if run["job_id"] in set(steady)} == {"completed"}
    assert all(run["result"] == run["job_id"] for run in finals if run["outcome"] == "completed")


# Cancelling


def test_a_waiting_job_is_cancelled_at_once(worker: Worker, scene: Scene, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, paused_at) VALUES ('paused', now())")
    (id,) = insert(connection, "hold", {"gate": "g"}, queue="paused")

    assert cancel(connection, id) == "cancelled"

    assert ended(connection, id)["status"] == "cancelled"
    assert not scene.started()


@pytest.mark.parametrize("task", ["watch", "spin", "spin_async", "hold", "hold_async"])
def test_a_running_job_is_stopped(task: str, worker: Worker, scene: Scene, connection: Connection) -> None:
    payload = {"gate": "g"} if "hold" in task else {}
    bystander, id = (insert(connection, task, payload)[0] for _ in range(2))
    eventually(lambda: scene.started() == {bystander, id})

    assert cancel(connection, id) == "requested"
    eventually(lambda: all_ended(connection, [id]))

    (run,) = runs(connection, id)
    assert (run["status"], run["outcome"], run["retry_count"], run["attempt"]) == ("cancelled", "cancelled", 0, 1)
    assert not all_ended(connection, [bystander])
    assert [entry.id for entry in scene.entries("told")] == ([id] if task == "watch" else [])
    cancel(connection, bystander)
    eventually(lambda: all_ended(connection, [bystander]))
    check(connection, scene, [bystander, id], faultless=True)


def test_the_request_arrives_with_the_heartbeat_when_the_notice_was_lost(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    make_worker(app="tests.acceptance.apps.stoppable", lease=3.0, listen=False)
    ids = [insert(connection, task)[0] for task in ("watch", "spin", "spin_async")]
    eventually(lambda: scene.started() == set(ids))

    connection.execute("UPDATE pgtask.jobs SET cancel_requested_at = now()")

    eventually(lambda: all_ended(connection, ids))
    assert {run["status"] for run in check(connection, scene, ids, faultless=True)} == {"cancelled"}


@pytest.mark.parametrize("task", ["finish", "swallow", "swallow_async"])
def test_a_job_that_completes_all_the_same_stays_completed(
    task: str, worker: Worker, scene: Scene, connection: Connection
) -> None:
    (id,) = insert(connection, task)
    eventually(lambda: scene.started() == {id})

    cancel(connection, id)
    eventually(lambda: all_ended(connection, [id]))

    (run,) = check(connection, scene, [id], faultless=True)
    assert (run["status"], run["result"]) == ("completed", "done" if task == "finish" else "went on")
    assert cancel(connection, id) == "completed"


def test_a_request_wins_over_the_retry_of_a_failure(worker: Worker, scene: Scene, connection: Connection) -> None:
    (id,) = insert(connection, "stumble", max_retries=-1, retry_delay=0)
    eventually(lambda: scene.started() == {id})

    cancel(connection, id)
    eventually(lambda: all_ended(connection, [id]))

    (run,) = check(connection, scene, [id], faultless=True)
    assert (run["status"], run["outcome"], run["error"]) == ("cancelled", "failed", "stumbled")


@pytest.mark.parametrize("task", ["tidy", "tidy_async"])
def test_a_handler_that_cleans_up_is_not_interrupted_again_by_each_heartbeat(
    task: str, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    make_worker(app="tests.acceptance.apps.stoppable", lease=0.6)
    (id,) = insert(connection, task)
    eventually(lambda: scene.started() == {id})
    cancel(connection, id)

    beats = "SELECT extract(epoch FROM heartbeat_at) * 1e6 FROM pgtask.workers"
    for _ in range(4):
        beat = number(connection, beats)
        eventually(lambda: number(connection, beats) > beat)  # noqa: B023 - called at once
    assert not all_ended(connection, [id])
    scene.open("cleaned")
    eventually(lambda: all_ended(connection, [id]))

    assert [entry.id for entry in scene.entries("tidied")] == [id]
    (run,) = check(connection, scene, [id], faultless=True)
    assert run["status"] == "cancelled"


def test_jobs_cancelled_just_as_they_start_all_end(worker: Worker, scene: Scene, connection: Connection) -> None:
    """Whenever the request comes, before, during or after the first step, each job ends, and as cancelled."""
    ids: list[int] = []
    for _ in range(40):
        new = [insert(connection, task)[0] for task in ("spin", "spin_async", "watch")]
        for id in new:
            cancel(connection, id)
        ids += new

    eventually(lambda: all_ended(connection, ids), 20)

    assert {run["status"] for run in check(connection, scene, ids)} == {"cancelled"}
    later = [insert(connection, task, {"seconds": 0.001})[0] for task in ("brief", "brief_async") for _ in range(20)]
    eventually(lambda: all_ended(connection, later))  # no slot was lost on the way
