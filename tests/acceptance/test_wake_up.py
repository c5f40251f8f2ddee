"""A sleeping worker learns of new jobs: at once when it hears, at the latest by its polls, wherever the jobs lie."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.acceptance.fleet import Make
from tests.checker import check
from tests.command_line import run
from tests.rows import ago, ended, insert, live, number, runs
from tests.scene import Scene
from tests.support import eventually

Connection = psycopg.Connection[Any]

NEVER = 3600.0
"""A poll that no test outlasts: what wakes the worker then is something else."""


def all_ended(connection: Connection, ids: list[int]) -> bool:
    return number(connection, "SELECT count(*) FROM pgtask.jobs WHERE id = ANY (%s)", [ids]) == 0


def asleep(connection: Connection) -> bool:
    """Whether some worker has asked to be notified."""
    query = "SELECT (last_value > extract(epoch FROM clock_timestamp()) * 1000)::int FROM pgtask.idle_until"
    return number(connection, query) == 1


def backends(connection: Connection, name: str) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s AND datname = current_database()"
    return number(connection, query, [f"pgtask {name} %"])


def hang_up(connection: Connection, name: str) -> int:
    """Ends the server's side of connections; returns how many there were."""
    query = (
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
        "WHERE application_name LIKE %s AND datname = current_database()"
    )
    return number(connection, query, [f"pgtask {name}%"])


def test_an_insert_wakes_a_sleeping_worker(make_worker: Make, scene: Scene, connection: Connection) -> None:
    make_worker(poll=NEVER, lease=60.0)
    for queue in ("default", "a queue not seen before"):
        eventually(lambda: asleep(connection))

        ids = insert(connection, "quick", count=3, queue=queue)

        eventually(lambda: all_ended(connection, ids))  # noqa: B023 - called at once


def test_polls_suffice(make_worker: Make, scene: Scene, connection: Connection) -> None:
    make_worker(poll=0.1, listen=False, lease=60.0)
    first = insert(connection, "quick", count=3)
    eventually(lambda: all_ended(connection, first))

    later = insert(connection, "quick", count=3, queue="q")
    eventually(lambda: all_ended(connection, later))

    assert not asleep(connection)
    assert backends(connection, "listener") == 0


def test_a_lost_ear_is_replaced_and_hears_again(make_worker: Make, scene: Scene, connection: Connection) -> None:
    make_worker(poll=NEVER, lease=60.0)
    eventually(lambda: asleep(connection))
    for _ in range(3):
        assert hang_up(connection, "listener") == 1
        eventually(lambda: backends(connection, "listener") == 1)

        ids = insert(connection, "quick", count=3)

        eventually(lambda: all_ended(connection, ids))  # noqa: B023 - called at once
        eventually(lambda: asleep(connection))


def test_every_connection_of_a_worker_is_replaced(make_worker: Make, scene: Scene, connection: Connection) -> None:
    worker = make_worker(processes=2)
    executors = {process.pid for process in worker.executors()}
    held = insert(connection, "hold", {"gate": "g"}, count=4)
    eventually(lambda: scene.started() == set(held))

    for _ in range(3):
        hang_up(connection, "")
        ids = insert(connection, "quick", count=5)
        eventually(lambda: all_ended(connection, ids))  # noqa: B023 - called at once
    for name in ("listener", "heartbeat", "upkeep", "executor"):
        eventually(lambda: backends(connection, name))  # noqa: B023 - called at once
    scene.open("g")
    eventually(lambda: all_ended(connection, held))

    check(connection, scene, held, faultless=True)
    assert {process.pid for process in worker.executors()} == executors
    assert number(connection, "SELECT count(*) FROM pgtask.workers") == 1


FORGED = [
    *('{"rewind": "default", "priority": 1, "at": 1e300}', '{"rewind": "default", "priority": 1, "at": -1e11}'),
    *('{"rewind": "default", "priority": 1, "at": NaN}', '{"rewind": "default", "priority": 99999, "at": 1}'),
    *(
        '{"rewind": 1}',
        '{"cancel": 1}',
        '{"stop": 0}',
        '{"cancel": 1, "attempt": 1, "worker": 1}',
        "[]",
        "",
        "[" * 7000,
    ),
]


def test_a_notification_by_anyone_does_no_harm(make_worker: Make, scene: Scene, connection: Connection) -> None:
    """Any role may send one, with anything in it."""
    worker = make_worker(poll=NEVER, lease=60.0)
    executors = {process.pid for process in worker.executors()}

    for payload in FORGED:
        eventually(lambda: asleep(connection))
        connection.execute("SELECT pg_notify('pgtask', %s)", [payload])
        ids = insert(connection, "quick", count=3)
        eventually(lambda: all_ended(connection, ids))  # noqa: B023 - called at once

    assert {process.pid for process in worker.executors()} == executors
    assert not worker.said("refused|failed|died|not listening")


# Where jobs may lie


def test_a_job_starts_when_it_is_due(make_worker: Make, scene: Scene, connection: Connection) -> None:
    make_worker(poll=NEVER, lease=60.0)
    eventually(lambda: asleep(connection))

    (id,) = insert(connection, "quick", scheduled_at=ago(-0.7))
    eventually(lambda: all_ended(connection, [id]))

    (run,) = runs(connection, id)
    assert run["started_at"] >= run["scheduled_at"]


@pytest.mark.parametrize("listen", [True, False])
def test_what_commits_late_is_found_behind_the_watermark(
    listen: bool, database: str, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    make_worker(lease=60.0, listen=listen)
    with psycopg.connect(database) as late:
        hidden = insert(late, "quick", count=3)
        shown = insert(connection, "quick", count=300)
        eventually(lambda: all_ended(connection, shown))
        later = insert(connection, "quick", count=300)
        eventually(lambda: all_ended(connection, later))
    eventually(lambda: all_ended(connection, hidden))

    check(connection, scene, [*hidden, *shown, *later], faultless=True)


def test_what_is_dated_back_is_found(make_worker: Make, scene: Scene, connection: Connection) -> None:
    make_worker(lease=60.0)
    shown = insert(connection, "quick", count=300)
    eventually(lambda: all_ended(connection, shown))

    old = [insert(connection, "quick", scheduled_at=ago(seconds))[0] for seconds in (0.5, 60, 3600, 86400 * 365)]
    eventually(lambda: all_ended(connection, old))


def test_what_is_put_back_is_found(make_worker: Make, scene: Scene, connection: Connection) -> None:
    """By a retry by hand, which keeps the job's old place."""
    make_worker(poll=NEVER, lease=60.0)
    failed = insert(connection, "fail", {"times": 1}, count=3, max_retries=0)
    shown = insert(connection, "quick", count=300)
    eventually(lambda: all_ended(connection, failed + shown))
    assert {ended(connection, id)["status"] for id in failed} == {"failed"}
    eventually(lambda: asleep(connection))

    for id in failed:
        connection.execute("UPDATE pgtask.runs SET payload = '{\"times\": 0}' WHERE job_id = %s", [id])
        connection.execute("SELECT pgtask.retry(%s)", [id])
    eventually(lambda: all_ended(connection, failed))

    for id in failed:
        assert [(run["attempt"], run["outcome"]) for run in runs(connection, id)] == [(1, "failed"), (2, "completed")]


def test_jobs_of_a_task_nobody_knows_hold_up_no_others_and_stay(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    unknown = insert(connection, "unknown", count=5000, scheduled_at=ago(3600))
    worker = make_worker(lease=60.0)

    for _ in range(3):
        known = insert(connection, "quick", count=200)
        eventually(lambda: all_ended(connection, known))  # noqa: B023 - called at once
        unknown += insert(connection, "unknown", count=1000)
    assert worker.stop() == 0

    still = number(
        connection,
        "SELECT count(*) FROM pgtask.jobs WHERE id = ANY (%s) AND status = 'pending' AND attempt = 0",
        [unknown],
    )
    assert still == len(unknown)


def test_a_worker_that_knows_the_task_runs_what_others_left(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    make_worker(lease=60.0, app="tests.acceptance.apps.crowd")
    ids = insert(connection, "quick", count=20)
    other = insert(connection, "meet", {"count": 1})
    eventually(lambda: all_ended(connection, other))

    make_worker(lease=60.0)
    eventually(lambda: all_ended(connection, ids))

    check(connection, scene, ids, faultless=True)


def test_a_paused_queue_rests_until_it_is_resumed(make_worker: Make, scene: Scene, connection: Connection) -> None:
    make_worker(poll=NEVER, lease=60.0)
    running = insert(connection, "hold", {"gate": "g"}, queue="q")
    eventually(lambda: scene.started() == set(running))

    connection.execute("INSERT INTO pgtask.queues (name, paused_at) VALUES ('q', now())")
    paused = insert(connection, "quick", queue="q", count=5)
    others = insert(connection, "quick", queue="other", count=5)
    eventually(lambda: all_ended(connection, others))
    scene.open("g")
    eventually(lambda: all_ended(connection, running))  # what runs is finished
    more = insert(connection, "quick", queue="other", count=5)
    eventually(lambda: all_ended(connection, more))
    assert {live(connection, id)["attempt"] for id in paused} == {0}

    connection.execute("UPDATE pgtask.queues SET paused_at = NULL")
    eventually(lambda: all_ended(connection, paused))
    check(connection, scene, [*running, *paused, *others, *more], faultless=True)


def test_all_workers_heed_a_pause_and_its_end(
    make_worker: Make, scene: Scene, database: str, connection: Connection
) -> None:
    for _ in range(2):
        make_worker(lease=60.0, concurrency=4, processes=1)

    def seen_by_all(queue: str) -> bool:
        # Jobs come one by one until each worker has claimed one: whatever it knew of pauses before is past.
        insert(connection, "quick", queue=queue)
        return number(connection, "SELECT count(DISTINCT worker_id) FROM pgtask.runs WHERE queue = %s", [queue]) == 2

    eventually(lambda: seen_by_all("q"))
    running = insert(connection, "hold", {"gate": "g"}, queue="q", count=2)
    eventually(lambda: scene.started() >= set(running))

    assert run(database, "queues", "pause", "q").exit_code == 0
    waiting = insert(connection, "quick", queue="q", count=20)
    eventually(lambda: seen_by_all("other"))
    scene.open("g")
    eventually(lambda: all_ended(connection, running))
    eventually(lambda: seen_by_all("another"))
    assert {live(connection, id)["attempt"] for id in waiting} == {0}

    assert run(database, "queues", "resume", "q").exit_code == 0
    eventually(lambda: all_ended(connection, waiting))
    check(connection, scene, [*running, *waiting], faultless=True)


def test_jobs_start_by_queue_then_priority_then_time(make_worker: Make, scene: Scene, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, priority) VALUES ('first', 5), ('last', -5)")
    lanes: list[dict[str, Any]] = [
        *({"queue": "first", "priority": -100}, {"priority": 2}, {}, {"queue": "last", "priority": 100}),
    ]
    known = [insert(connection, "quick", **lane)[0] for lane in lanes]
    make_worker(concurrency=1, lease=60.0)
    eventually(lambda: all_ended(connection, known))
    (holding,) = insert(connection, "hold", {"gate": "g"})
    eventually(lambda: holding in scene.started())
    last, normal, high, first = (insert(connection, "quick", count=2, **lane) for lane in reversed(lanes))
    # Inserted last, but due before; not so long before that only a full look would find them.
    due = live(connection, holding)["scheduled_at"] + timedelta(milliseconds=1)
    early = insert(connection, "quick", scheduled_at=due, count=2)

    scene.open("g")
    eventually(lambda: all_ended(connection, [*last, *normal, *early, *high, *first]))

    begun = [entry.id for entry in scene.entries()]
    assert begun[:4] == known
    assert begun[4:] == [holding, *first, *high, *early, *normal, *last]


def test_after_a_long_job_better_lanes_are_looked_for_first(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    """Lanes that came up while all slots were busy, so that the executor does not know them yet."""
    make_worker(concurrency=1, lease=3.0)
    (holding,) = insert(connection, "hold", {"gate": "g"})
    eventually(lambda: scene.started() == {holding})
    normal = insert(connection, "quick", count=2)
    urgent = insert(connection, "quick", priority=3, count=2)
    beats = "SELECT extract(epoch FROM heartbeat_at) * 1e6 FROM pgtask.workers"
    for _ in range(4):  # one each second: long enough for what was looked at before to be stale
        beat = number(connection, beats)
        eventually(lambda: number(connection, beats) > beat)  # noqa: B023 - called at once

    scene.open("g")
    eventually(lambda: all_ended(connection, normal + urgent))

    assert [entry.id for entry in scene.entries()] == [holding, *urgent, *normal]
