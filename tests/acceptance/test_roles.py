"""A worker whose login is a member of pgtask_worker and of nothing else, and what others may tell it."""

from __future__ import annotations

import signal
from typing import Any

import psycopg
import pytest

from pgtask import PgTask
from pgtask.database.roles import Role
from tests.acceptance.fleet import Make, Worker
from tests.command_line import lines, run
from tests.logins import Logins
from tests.rows import ended, insert, live, number, runs, statuses
from tests.scene import Scene
from tests.support import eventually

Connection = psycopg.Connection[Any]
PATIENCE = 40.0


@pytest.fixture
def url(logins: Logins) -> str:
    return logins.make(Role.WORKER)


def all_completed(connection: Connection, ids: list[int]) -> bool:
    return set(statuses(connection, ids).values()) == {"completed"}


def assert_nothing_was_refused(worker: Worker) -> None:
    assert "permission denied" not in worker.log.read_text()
    assert "must be owner" not in worker.log.read_text()


def test_jobs_are_drained_with_their_retries_notes_and_logs(
    make_worker: Make, url: str, logins: Logins, connection: Connection
) -> None:
    with PgTask(logins.make(Role.ENQUEUER)) as app:

        @app.task(name="quick")
        def quick(value: int) -> None:
            """Its name and parameters are all that a producer needs."""

        ids = [job.id for job in quick.enqueue_many([{"value": n} for n in range(50)])]
    (stubborn,) = insert(connection, "fail", {"times": 2})
    (lost,) = insert(connection, "fail", {"times": 9})
    (teller,) = insert(connection, "tell", {"steps": 3})

    worker = make_worker(url=url, drain=True)

    assert worker.wait() == 0
    assert all_completed(connection, [*ids, stubborn, teller])
    assert [run["outcome"] for run in runs(connection, stubborn)] == ["failed", "failed", "completed"]
    assert ended(connection, lost)["status"] == "failed"
    assert ended(connection, teller)["progress"] == 100
    assert number(connection, "SELECT count(*) FROM pgtask.job_logs WHERE job_id = %s", [teller]) == 3
    assert number(connection, "SELECT count(*) FROM pgtask.workers WHERE dead_at IS NOT NULL") == 1
    assert_nothing_was_refused(worker)


def test_an_operator_cancels_a_running_job_and_stops_the_worker(
    make_worker: Make, url: str, logins: Logins, scene: Scene, connection: Connection
) -> None:
    """At once, though the heartbeat is far off."""
    operator = logins.make(Role.OPERATOR)
    worker = make_worker(url=url, app="tests.acceptance.apps.stoppable", lease=3600.0)
    (id,) = insert(connection, "watch")
    eventually(lambda: scene.started() == {id})

    assert lines(run(operator, "jobs", "cancel", str(id)))[0][:2] == [str(id), "requested"]
    eventually(lambda: statuses(connection, [id]) == {id: "cancelled"})
    assert run(operator, "workers", "stop", str(worker.ready())).exit_code == 0

    assert worker.wait() == 0
    assert_nothing_was_refused(worker)


def test_upkeep_is_done(make_worker: Make, url: str, connection: Connection) -> None:
    found = connection.execute("SELECT oid::regclass::text FROM pg_class WHERE relname ~ '^runs_2' AND relkind = 'r'")
    for (name,) in found.fetchall():
        connection.execute(f"DROP TABLE {name}".encode())
    connection.execute(
        "CREATE TABLE pgtask.runs_old PARTITION OF pgtask.runs FOR VALUES FROM ('2001-01-01') TO ('2001-01-02')"
    )
    worker = make_worker(url=url, lease=1.0)

    made = "SELECT count(*) FROM pg_class WHERE relname ~ '^runs_2' AND relkind = 'r'"
    eventually(lambda: number(connection, made) == 4, PATIENCE)
    eventually(lambda: connection.execute("SELECT to_regclass('pgtask.runs_old')").fetchone() == (None,), PATIENCE)
    assert worker.stop() == 0

    # A worker counts what has ended soon after its start, and then only every ten seconds.
    insert(connection, "quick", count=3)
    drained = make_worker(url=url, drain=True)
    assert drained.wait() == 0
    counting = make_worker(url=url, lease=1.0)
    eventually(lambda: number(connection, "SELECT coalesce(sum(completed), 0) FROM pgtask.stats_minute") == 3, PATIENCE)
    assert counting.stop() == 0

    for one in (worker, drained, counting):
        assert_nothing_was_refused(one)


def test_a_killed_executors_jobs_go_on(make_worker: Make, url: str, scene: Scene, connection: Connection) -> None:
    worker = make_worker(url=url, processes=1)
    ids = insert(connection, "hold", {"gate": "g"}, count=3)
    eventually(lambda: scene.started() == set(ids))

    worker.executors()[0].kill()

    eventually(lambda: len(scene.entries()) > 3, PATIENCE)
    scene.open("g")
    eventually(lambda: all_completed(connection, ids), PATIENCE)
    assert [run["outcome"] for run in runs(connection, ids[0])] == ["lost", "completed"]
    assert_nothing_was_refused(worker)


def test_a_killed_workers_jobs_are_rescued_by_one_of_another_login(
    make_worker: Make, logins: Logins, scene: Scene, connection: Connection
) -> None:
    doomed = make_worker(url=logins.make(Role.WORKER), processes=1)
    ids = insert(connection, "hold", {"gate": "g"}, count=3)
    eventually(lambda: scene.started() == set(ids))
    heir = make_worker(url=logins.make(Role.WORKER), processes=1)

    doomed.kill()

    eventually(lambda: len(scene.entries()) == 6, PATIENCE)
    scene.open("g")
    eventually(lambda: all_completed(connection, ids))
    assert [run["outcome"] for run in runs(connection, ids[0])] == ["lost", "completed"]
    assert_nothing_was_refused(heir)


def test_nothing_is_stopped_on_the_word_of_a_stranger(
    make_worker: Make, url: str, logins: Logins, scene: Scene, connection: Connection
) -> None:
    """NOTIFY cannot be forbidden to any login."""
    worker = make_worker(url=url, app="tests.acceptance.apps.stoppable", lease=3600.0)
    (id,) = insert(connection, "watch")
    eventually(lambda: scene.started() == {id})
    attempt, identity = live(connection, id)["attempt"], worker.ready()
    with psycopg.connect(logins.make(None), autocommit=True) as stranger:
        for notice in (
            f'{{"stop": {identity}}}',
            f'{{"cancel": {id}, "attempt": {attempt}, "worker": {identity}}}',
            '{"rewind": "default", "priority": 1, "at": 0}',
            "x" * 7000,
        ):
            stranger.execute("SELECT pg_notify('pgtask', %s)", [notice])

    # Notices come in their order, so when this one has been acted on, those before it have been.
    (later,) = insert(connection, "watch")
    eventually(lambda: scene.started() == {id, later})
    connection.execute("SELECT pgtask.cancel(%s)", [later])
    eventually(lambda: statuses(connection, [later]) == {later: "cancelled"})
    assert live(connection, id)["status"] == "running"
    assert not worker.said("shuts down")
    assert scene.entries("told") == [entry for entry in scene.entries("told") if entry.id == later]
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
