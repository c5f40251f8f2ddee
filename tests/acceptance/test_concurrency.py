"""As many jobs run at once as there are slots, and no more; long ones are not hoarded behind each other."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg
import pytest

from tests.acceptance.fleet import Make
from tests.checker import check
from tests.rows import insert, live, number, runs
from tests.scene import Scene
from tests.support import eventually

Connection = psycopg.Connection[Any]


def all_ended(connection: Connection, ids: list[int]) -> bool:
    return number(connection, "SELECT count(*) FROM pgtask.jobs WHERE id = ANY (%s)", [ids]) == 0


@pytest.mark.parametrize("task", ["meet", "meet_async"])
def test_a_thousand_jobs_run_at_once_on_a_thousand_slots(
    task: str, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    """Each waits until all of them are there."""
    make_worker(app="tests.acceptance.apps.crowd", concurrency=1000, lease=60.0)

    ids = insert(connection, task, {"count": 1000}, count=1000)
    eventually(lambda: all_ended(connection, ids), 60)

    assert {run["status"] for run in check(connection, scene, ids, faultless=True)} == {"completed"}


def test_plain_functions_and_coroutines_share_the_slots(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    make_worker(app="tests.acceptance.apps.crowd", concurrency=10, lease=60.0)

    # With a place less for either kind they would never all be there.
    ids = insert(connection, "meet_mixed", {"count": 10}, count=4)
    ids += insert(connection, "meet_mixed_async", {"count": 10}, count=6)
    eventually(lambda: all_ended(connection, ids))

    assert {run["status"] for run in check(connection, scene, ids, faultless=True)} == {"completed"}


@pytest.mark.parametrize("slots", [1, 3])
def test_as_many_jobs_run_at_once_as_there_are_slots_and_no_more(
    slots: int, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    make_worker(concurrency=slots, lease=60.0)
    scene.open("open")
    tasks = ("hold", "hold_async")
    quick = [insert(connection, task, {"gate": "open"})[0] for _ in range(50) for task in tasks]
    eventually(lambda: all_ended(connection, quick))

    # Known to be quick by now, many are taken, of either kind enough for all slots; those that wait go back.
    # On a machine so busy that they did not seem quick none was taken ahead: then once more.
    given_back = "SELECT count(*) FROM pgtask.jobs WHERE status = 'pending' AND attempt > 0 AND id = ANY (%s)"
    ids: list[int] = []
    back = 0
    for turn in range(5):
        with connection.transaction():
            batch = [insert(connection, task, {"gate": f"later-{turn}"})[0] for _ in range(10) for task in tasks]
        ids += batch
        eventually(lambda: len(scene.started() & set(batch)) >= slots)  # noqa: B023 - called at once
        with contextlib.suppress(AssertionError):
            eventually(lambda: number(connection, given_back, [batch]) > 0, 3)  # noqa: B023 - called at once
        back = number(connection, given_back, [batch])
        assert len(scene.started() & set(batch)) == slots
        scene.open(f"later-{turn}")
        eventually(lambda: all_ended(connection, batch))  # noqa: B023 - called at once
        if back:
            break
    assert back, "none was taken ahead: the test has shown nothing"

    check(connection, scene, quick + ids, faultless=True)
    running, most = 0, 0
    for entry in scene.all_entries():
        running += 1 if entry.what == "start" else -1
        most = max(most, running)
    assert most == slots


def test_jobs_behind_long_ones_are_run_by_whoever_has_room(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    busy = make_worker(concurrency=2, queues=["default"], lease=60.0)
    long = insert(connection, "hold", {"gate": "end"}, count=2)
    eventually(lambda: scene.started() == set(long))
    behind = insert(connection, "quick", count=20)

    make_worker(concurrency=2, lease=60.0)
    eventually(lambda: all_ended(connection, behind))

    assert [live(connection, id)["status"] for id in long] == ["running"] * 2
    own = {process.pid for process in busy.executors()}
    assert not {entry.pid for entry in scene.entries() if entry.id in set(behind)} & own
    scene.open("end")
    eventually(lambda: all_ended(connection, long))
    check(connection, scene, long + behind, faultless=True)


def test_jobs_prefetched_behind_what_turns_out_long_go_back(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    """The executor has learnt that these jobs are quick, takes many, and then some of them are not."""
    busy = make_worker(concurrency=2, lease=60.0)
    warm = insert(connection, "hold", {"gate": "open"}, count=300)
    scene.open("open")
    eventually(lambda: all_ended(connection, warm))

    # At once, so that one claim takes the long ones with the many behind them.
    with connection.transaction():
        long = insert(connection, "hold", {"gate": "later"}, count=2)
        behind = insert(connection, "hold", {"gate": "open"}, count=50)
    eventually(lambda: set(long) <= scene.started())
    others = make_worker(concurrency=2, lease=60.0)
    eventually(lambda: all_ended(connection, behind))

    by_others = {process.pid for process in others.executors()}
    assert {entry.pid for entry in scene.entries() if entry.id in set(behind)} == by_others
    assert busy.process.poll() is None
    for id in behind:
        (run,) = runs(connection, id)  # what was taken and never started leaves no run
        assert (run["outcome"], run["retry_count"]) == ("completed", 0)
    taken = number(connection, "SELECT count(*) FROM pgtask.runs WHERE job_id = ANY (%s) AND attempt > 1", [behind])
    assert taken, "nothing was prefetched: the test has shown nothing"
    scene.open("later")
    eventually(lambda: all_ended(connection, long))
    check(connection, scene, [*warm, *long, *behind], faultless=True)
