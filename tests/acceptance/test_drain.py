"""A draining worker ends when nothing is left for it to run."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.acceptance.fleet import Make
from tests.checker import check
from tests.rows import ago, ended, insert, live, number
from tests.scene import Scene
from tests.support import eventually

Connection = psycopg.Connection[Any]


def test_a_draining_worker_runs_what_is_due_with_its_retries_and_ends(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    ids = insert(connection, "quick", count=50) + insert(connection, "quick_async", count=50)
    failing = insert(connection, "fail", {"times": 2}, retry_delay=0.5)
    hopeless = insert(connection, "fail", {"times": 9}, retry_delay=0, max_retries=1)
    later = insert(connection, "quick", scheduled_at=ago(-3600))
    unknown = insert(connection, "unknown", count=3)
    connection.execute("INSERT INTO pgtask.queues (name, paused_at) VALUES ('paused', now())")
    paused = insert(connection, "quick", queue="paused")

    worker = make_worker(wait=False, drain=True, processes=2, lease=60.0)

    assert worker.wait() == 0
    check(connection, scene, [*ids, *failing, *hopeless], faultless=True)
    assert ended(connection, failing[0])["result"] == 2
    assert ended(connection, hopeless[0])["status"] == "failed"
    assert {live(connection, id)["status"] for id in [*later, *unknown, *paused]} == {"pending"}
    assert number(connection, "SELECT count(*) FROM pgtask.workers WHERE dead_at IS NULL") == 0


def test_a_draining_worker_waits_for_a_retry_that_is_not_yet_due(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    (id,) = insert(connection, "fail", {"times": 1}, retry_delay=3600, retry_strategy="fixed")
    worker = make_worker(drain=True, lease=60.0)
    eventually(lambda: live(connection, id)["retry_count"] == 1)
    assert worker.process.poll() is None

    connection.execute("UPDATE pgtask.jobs SET scheduled_at = now()")

    assert worker.wait() == 0
    assert ended(connection, id)["status"] == "completed"


def test_a_draining_worker_finds_what_is_committed_late(
    database: str, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    """Behind the watermark, where only a full look finds it."""
    with psycopg.connect(database) as late:
        (hidden,) = insert(late, "quick")
        holding = insert(connection, "hold", {"gate": "g"})
        shown = insert(connection, "quick", count=200)
        worker = make_worker(drain=True, lease=60.0)
        eventually(lambda: scene.started() == {*holding, *shown})
    scene.open("g")

    assert worker.wait() == 0
    check(connection, scene, [hidden, *holding, *shown], faultless=True)


def test_a_draining_worker_with_nothing_to_do_ends_at_once(make_worker: Make) -> None:
    assert make_worker(wait=False, drain=True).wait() == 0


def test_only_its_own_queues_hold_a_draining_worker(make_worker: Make, connection: Connection) -> None:
    others = insert(connection, "quick", queue="other")
    mine = insert(connection, "quick", queue="mine")

    assert make_worker(wait=False, drain=True, queues=["mine"]).wait() == 0

    assert ended(connection, mine[0])["status"] == "completed"
    assert live(connection, others[0])["status"] == "pending"
