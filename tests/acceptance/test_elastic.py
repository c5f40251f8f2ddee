"""Workers that find the number of their slots and executors by themselves."""

from __future__ import annotations

import signal
from typing import Any

import psycopg
import pytest

from pgtask.engine.governor import BUSY
from tests.acceptance.fleet import Make, Worker
from tests.checker import check
from tests.command_line import answer, run
from tests.rows import insert, number
from tests.scene import Scene
from tests.support import eventually

Connection = psycopg.Connection[Any]

APP = "tests.acceptance.apps.elastic"


def all_ended(connection: Connection, ids: list[int]) -> bool:
    return number(connection, "SELECT count(*) FROM pgtask.jobs WHERE id = ANY (%s)", [ids]) == 0


def most_at_once(scene: Scene) -> int:
    running, most = 0, 0
    for entry in scene.all_entries():
        running += 1 if entry.what == "start" else -1
        most = max(most, running)
    return most


def shown(database: str, id: int) -> tuple[int, int]:
    """Executors and slots, as `pgtask workers show` says."""
    worker = answer(run(database, "workers", "show", str(id), "--json"))
    return worker["executors"], worker["slots"]


def jobs_of(scene: Scene, worker: Worker) -> list[int]:
    """How many jobs have started in each executor that lives."""
    started = [entry.pid for entry in scene.entries()]
    return sorted(started.count(process.pid) for process in worker.executors())


@pytest.mark.parametrize("task", ["meet", "meet_async"])
def test_as_many_slots_come_as_there_may_be_while_jobs_wait_for_one(
    task: str, database: str, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    """Each job waits until fifty are there."""
    id = make_worker(app="tests.acceptance.apps.crowd", concurrency=[1, 50], lease=1.5, grace=60.0).ready()
    assert shown(database, id) == (1, 10)

    ids = insert(connection, task, {"count": 50}, count=50)
    eventually(lambda: all_ended(connection, ids), 50)

    eventually(lambda: shown(database, id) == (1, 50))
    assert {run["status"] for run in check(connection, scene, ids, faultless=True)} == {"completed"}


def test_jobs_that_wait_get_more_slots_and_never_more_than_may_be(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    make_worker(app=APP, concurrency=[1, 25], lease=60.0, log_level="debug")

    ids = insert(connection, "wait", {"seconds": 0.3}, count=400)
    eventually(lambda: all_ended(connection, ids), 60)

    assert 10 < most_at_once(scene) <= 25
    assert {run["status"] for run in check(connection, scene, ids, faultless=True)} == {"completed"}


def test_jobs_that_compute_get_no_more_slots(make_worker: Make, scene: Scene, connection: Connection) -> None:
    worker = make_worker(app=APP, concurrency=[1, 50], lease=60.0, grace=60.0, log_level="debug")

    ids = insert(connection, "compute", {"seconds": 0.12}, count=80)
    eventually(lambda: all_ended(connection, ids), 60)

    # So few end in a second that only the time of processors tells; where other processes take it, it tells nothing.
    steps = worker.said(r"^slots: (\d+), after (\d+) \((\d+\.\d+) of a core busy\)")
    assert all(int(step[1]) < int(step[2]) for step in steps if float(step[3]) >= BUSY)
    if all(float(step[3]) >= BUSY for step in steps):
        assert most_at_once(scene) <= 10
    assert {run["status"] for run in check(connection, scene, ids, faultless=True)} == {"completed"}
    assert worker.stop() == 0


def test_a_second_executor_comes_with_the_backlog_and_goes_without(
    database: str, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    worker = make_worker(app=APP, processes=[1, 2], concurrency=2, lease=1.5, grace=60.0, spare_for=1.0)
    id = worker.ready()
    first = insert(connection, "hold", {"gate": "first"}, count=6)

    # The two that are in no slot bring the second one, which takes two more.
    eventually(lambda: len(scene.started()) == 4, 30)
    assert jobs_of(scene, worker) == [2, 2]
    eventually(lambda: shown(database, id) == (2, 4))
    scene.open("first")
    eventually(lambda: all_ended(connection, first))

    eventually(lambda: len(worker.executors()) == 1, 30)
    assert worker.said(r"executor \d is stopped: one less suffices")
    eventually(lambda: shown(database, id) == (1, 2))
    again = insert(connection, "hold", {"gate": "again"}, count=4)
    eventually(lambda: len(scene.started() & set(again)) == 4, 30)
    scene.open("again")
    eventually(lambda: all_ended(connection, again))

    check(connection, scene, [*first, *again], faultless=True)
    assert worker.stop() == 0


def test_executors_of_one_job_at_a_time_come_and_go_too(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    worker = make_worker(app=APP, processes=[1, 3], isolation="process", lease=60.0, grace=60.0, spare_for=1.0)
    ids = insert(connection, "hold", {"gate": "open"}, count=5)

    eventually(lambda: len(scene.started()) == 3, 30)
    assert jobs_of(scene, worker) == [1, 1, 1]
    scene.open("open")
    eventually(lambda: all_ended(connection, ids))
    eventually(lambda: len(worker.executors()) == 1, 30)

    check(connection, scene, ids, faultless=True)


def test_what_came_with_the_backlog_is_renewed_and_drained_as_any(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    """Renewed by HUP while jobs run, killed, and still as many as are wanted."""
    worker = make_worker(app=APP, processes=[1, 2], concurrency=2, lease=60.0, grace=60.0)
    ids = insert(connection, "hold", {"gate": "first"}, count=6)
    eventually(lambda: len(scene.started()) == 4, 30)
    old = {process.pid for process in worker.executors()}

    worker.signal(signal.SIGHUP)
    scene.open("first")
    eventually(lambda: all_ended(connection, ids))
    eventually(lambda: len(worker.executors()) == 2 and not old & {process.pid for process in worker.executors()}, 30)

    victim = worker.executors()[0]
    victim.kill()
    eventually(lambda: len(worker.executors()) == 2 and victim.pid not in {one.pid for one in worker.executors()}, 30)
    more = insert(connection, "wait", {"seconds": 0.0}, count=50)
    eventually(lambda: all_ended(connection, more))
    check(connection, scene, [*ids, *more], faultless=True)
    assert worker.stop() == 0


def test_recycled_and_drained_it_still_runs_each_job_once(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    ids = insert(connection, "wait", {"seconds": 0.02}, count=600)

    worker = make_worker(
        wait=False,
        app=APP,
        processes=[1, 2],
        concurrency=[1, 20],
        max_jobs=100,
        drain=True,
        lease=60.0,
        grace=60.0,
    )

    assert worker.process.wait(60) == 0
    assert worker.said("is replaced: it has run")
    assert all_ended(connection, ids)
    check(connection, scene, ids, faultless=True)
