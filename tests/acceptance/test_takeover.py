"""What one worker leaves behind, another takes over; whoever comes back late changes nothing."""

from __future__ import annotations

import signal
import threading
from typing import Any

import psycopg

from tests.acceptance.fleet import Make, Worker, alive
from tests.checker import check
from tests.rows import insert, live, number, runs
from tests.scene import Scene
from tests.support import eventually

Connection = psycopg.Connection[Any]


def all_ended(connection: Connection, ids: list[int]) -> bool:
    return number(connection, "SELECT count(*) FROM pgtask.jobs WHERE id = ANY (%s)", [ids]) == 0


def test_late_completions_of_a_frozen_worker_are_refused(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    frozen = make_worker(lease=1.5)
    old = frozen.ready()
    ids = [insert(connection, task, {"gate": "g"})[0] for task in ("hold", "hold_async") for _ in range(4)]
    eventually(lambda: scene.started() == set(ids))
    frozen.freeze()

    other = make_worker(lease=1.5).ready()
    eventually(lambda: len(scene.entries()) == 2 * len(ids), 20)
    # Both hold every job now. The first executor goes on alone, its supervisor not yet knowing that it is dead.
    for executor in frozen.executors():
        executor.resume()
    scene.open("g")
    eventually(lambda: all_ended(connection, ids))
    eventually(lambda: len(frozen.said(r"superseded: job \d+ attempt 1")) == len(ids))
    frozen.signal(signal.SIGCONT)
    new = frozen.ready(2)

    finals = check(connection, scene, ids)
    assert {(run["attempt"], run["worker_id"], run["status"]) for run in finals} == {(2, other, "completed")}
    assert {run["outcome"] for id in ids for run in runs(connection, id) if not run["final"]} == {"lost"}
    assert {run["retry_count"] for run in finals} == {0}
    assert new not in (old, other)
    later = insert(connection, "hold", {"gate": "g"}, count=20)
    eventually(lambda: all_ended(connection, later))
    assert frozen.stop() == 0


def test_jobs_of_a_worker_that_died_long_ago_are_found_by_one_that_starts(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    """Nobody was there to take them over when it died."""
    ids = insert(connection, "quick", count=3, status="running", worker_id=4711, executor=1, attempt=1)

    make_worker(lease=2.0)

    eventually(lambda: all_ended(connection, ids))
    assert [[run["outcome"] for run in runs(connection, id)] for id in ids] == [["lost", "completed"]] * 3


def test_a_worker_told_to_stop_gives_back_what_it_has_not_begun(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    """Quick jobs in hand by the hundred, and slots that are suddenly all taken."""
    worker = make_worker(concurrency=2, lease=60.0, grace=60.0)
    scene.open("open")
    warm = insert(connection, "hold", {"gate": "open"}, count=300)
    eventually(lambda: all_ended(connection, warm))
    with connection.transaction():
        long = insert(connection, "hold", {"gate": "g"}, count=2)
        behind = insert(connection, "hold", {"gate": "open"}, count=50)
    eventually(lambda: scene.started() >= set(long))

    worker.signal(signal.SIGTERM)
    eventually(lambda: number(connection, "SELECT count(*) FROM pgtask.jobs WHERE status = 'running'") == 2)
    scene.open("g")

    assert worker.wait() == 0
    check(connection, scene, long, faultless=True)
    assert {live(connection, id)["status"] for id in behind} == {"pending"}
    assert [runs(connection, id) for id in behind] == [[]] * len(behind)
    assert max(live(connection, id)["attempt"] for id in behind), "nothing was prefetched: the test has shown nothing"


def test_a_second_signal_while_claims_are_under_way_leaves_nothing_behind(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    """Whatever the executors were doing: what they had claimed is free when the worker has ended."""
    for _ in range(3):
        worker = make_worker(processes=2, lease=60.0, grace=60.0)
        holding = insert(connection, "hold", {"gate": "never"})
        eventually(lambda: scene.started() >= set(holding))  # noqa: B023 - called at once
        ids = insert(connection, "quick", count=1000)
        eventually(lambda: scene.started() & set(ids))  # noqa: B023 - called at once
        worker.signal(signal.SIGTERM)
        worker.signal(signal.SIGINT)
        assert worker.wait() == 0
        assert number(connection, "SELECT count(*) FROM pgtask.jobs WHERE status = 'running'") == 0
        assert [run["outcome"] for run in runs(connection, holding[0])] == ["released"]
        connection.execute("SELECT pgtask.cancel(id) FROM pgtask.jobs")
        check(connection, scene, ids + holding)


def held_by(pid: int, connection: Connection, scene: Scene, gate: str) -> list[int]:
    """Makes jobs that hold at a gate until this executor has one of them, so that a fault surely hits it."""
    made: list[int] = []

    def hit() -> bool:
        if any(entry.pid == pid and entry.id in made for entry in scene.entries()):
            return True
        made.extend(insert(connection, "hold", {"gate": gate}))
        return False

    eventually(hit)
    return made


def test_faults_of_every_kind_under_load_lose_and_repeat_nothing(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    """Executors killed, whole workers killed, backends ended, while jobs fail, retry and are cancelled."""
    ids: list[int] = []
    held: list[int] = []
    done = threading.Event()

    def produce(own: Connection) -> None:
        while not done.wait(0.02):
            ids.extend(insert(own, "quick", {"value": 1}, count=10))
            ids.extend(insert(own, "quick_async", {"value": 2}, count=10))
            ids.extend(insert(own, "fail", {"times": 1}, retry_delay=0.05))
            ids.extend(insert(own, "fail", {"times": 9}, max_retries=1, retry_delay=0.05))
            own.execute("SELECT pgtask.cancel(%s)", [ids[-5]])

    workers: list[Worker] = [make_worker(processes=2, lease=1.5) for _ in range(2)]
    with psycopg.connect(connection.info.dsn, autocommit=True) as own:
        producer = threading.Thread(target=produce, args=(own,))
        producer.start()
        try:
            for round_ in range(6):
                so_far = len(scene.entries())
                eventually(lambda: len(scene.entries()) > so_far + 100)  # noqa: B023 - called at once
                if round_ % 3 == 0:
                    victim = workers[0].executors()[0]
                    held += held_by(victim.pid, connection, scene, f"round-{round_}")
                    victim.kill()
                    scene.open(f"round-{round_}")
                    eventually(lambda: not alive(victim))  # noqa: B023 - called at once
                elif round_ % 3 == 1:
                    executors = workers[0].executors()
                    workers.pop(0).kill()
                    eventually(lambda: not any(alive(process) for process in executors))  # noqa: B023 - called at once
                    workers.append(make_worker(processes=2, lease=1.5))
                else:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE application_name LIKE 'pgtask %' AND datname = current_database()"
                    )
        finally:
            done.set()
            producer.join()
    ids += held
    eventually(lambda: all_ended(connection, ids), 40)

    finals = check(connection, scene, ids)
    assert {run["status"] for run in finals} == {"completed", "failed", "cancelled"}
    assert number(connection, "SELECT count(*) FROM pgtask.runs WHERE outcome IN ('lost', 'crashed')"), (
        "no fault hit a job"
    )
    # Of the two executors killed by name each may have had one job alone in hand.
    assert number(connection, "SELECT count(*) FROM pgtask.runs WHERE outcome = 'crashed'") <= 2
    assert [worker.stop() for worker in workers] == [0, 0]
