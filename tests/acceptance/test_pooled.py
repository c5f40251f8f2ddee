"""Everything works through PgBouncer in transaction mode, with fewer server connections than clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgtask import JobContext, PgTask
from pgtask.model.errors import ConfigurationError
from tests.acceptance.fleet import Make
from tests.acceptance.pooler import MISSING, PROGRAM, Pooler, pooler
from tests.acceptance.producer import Producer
from tests.acceptance.proxy import proxy
from tests.checker import check
from tests.command_line import answer, run
from tests.rows import ended, insert, live, number, runs, statuses
from tests.scene import Scene
from tests.support import eventually

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)

Connection = psycopg.Connection[Any]
SIZE = 3


@pytest.fixture
def bouncer(database: str) -> Iterator[Pooler]:
    with pooler(database, default_pool_size=SIZE) as made:
        yield made


@pytest.fixture
def app(bouncer: Pooler) -> Iterator[PgTask]:
    """A service that enqueues through the pooler."""
    with PgTask(bouncer.url, pooled=True) as made:
        for name in ("quick", "quick_async", "watch"):
            made.task(name=name)(lambda value=None: value)
        yield made


def all_ended(connection: Connection, ids: list[int]) -> bool:
    return number(connection, "SELECT count(*) FROM pgtask.jobs WHERE id = ANY (%s)", [ids]) == 0


def test_jobs_of_every_kind_are_enqueued_and_run(
    bouncer: Pooler, app: PgTask, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    worker = make_worker(url=bouncer.url, pooled=True, processes=2, lease=60.0)
    quick, quick_async = app.tasks["quick"], app.tasks["quick_async"]
    ids: list[int] = []

    def enqueue_singly() -> None:
        ids.extend(quick.enqueue(value=n).id for n in range(30))

    threads = [threading.Thread(target=enqueue_singly) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids += [job.id for job in quick_async.enqueue_many([{"value": n} for n in range(200)])]
    ids += [job.id for job in quick.enqueue_many([{"value": n} for n in range(6000)])]
    with psycopg.connect(bouncer.url, prepare_threshold=None) as own, own.transaction():
        ids.append(quick.options(connection=own).enqueue(value="joined").id)
        ids += [job.id for job in quick.options(connection=own).enqueue_many([{"value": n} for n in range(5000)])]

    async def enqueue_async() -> list[int]:
        made = [(await quick_async.enqueue_async(value=n)).id for n in range(20)]
        await app.pool.close_async()
        return made

    ids += asyncio.run(enqueue_async())
    held = quick.options(unique_key="one", delay=3600).enqueue()
    assert quick.options(unique_key="one").enqueue().id == held.id
    assert held.cancel() == "cancelled"
    failing = insert(connection, "fail", {"times": 2}, count=20, retry_delay=0)
    hopeless = insert(connection, "fail", {"times": 9}, count=5, max_retries=1, retry_delay=0)
    telling = insert(connection, "tell", {"steps": 5}, count=20)
    everything = [*ids, *failing, *hopeless, *telling]
    assert len(bouncer.tell("SHOW CLIENTS")) > SIZE + 2
    eventually(lambda: all_ended(connection, everything), 40)

    assert worker.stop() == 0
    check(connection, scene, everything, faultless=True)
    assert {ended(connection, id)["result"] for id in failing} == {2}
    assert {ended(connection, id)["status"] for id in hopeless} == {"failed"}
    assert {ended(connection, id)["progress_message"] for id in telling} == {"5 of 5"}
    assert number(connection, "SELECT count(*) FROM pgtask.job_logs") == 5 * len(telling)
    assert not worker.said("trying again|superseded|prepared statement")
    assert number(connection, "SELECT last_value FROM pgtask.idle_until") == 0, "it asks for what it cannot hear"


def test_a_draining_worker_ends_and_a_retry_by_hand_is_found(
    bouncer: Pooler, app: PgTask, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    (id,) = insert(connection, "fail", {"times": 1}, max_retries=0)
    assert make_worker(url=bouncer.url, pooled=True, wait=False, drain=True, lease=60.0).wait() == 0
    assert ended(connection, id)["status"] == "failed"
    worker = make_worker(url=bouncer.url, pooled=True, lease=60.0)
    newer = insert(connection, "quick", count=5)
    eventually(lambda: all_ended(connection, newer))

    app.job(id).retry()

    # Behind the watermark, and nobody is told: the rescan finds it.
    eventually(lambda: all_ended(connection, [id]))
    assert worker.stop() == 0


def test_a_running_job_is_cancelled_by_the_heartbeat(
    bouncer: Pooler, app: PgTask, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    make_worker(url=bouncer.url, pooled=True, app="tests.acceptance.apps.stoppable", lease=3.0)
    job = app.tasks["watch"].enqueue()
    eventually(lambda: job.id in scene.started())

    assert job.cancel() == "requested"

    eventually(lambda: all_ended(connection, [job.id]))
    assert ended(connection, job.id)["status"] == "cancelled"


def test_the_jobs_of_a_killed_executor_and_of_a_killed_worker_come_back(
    bouncer: Pooler, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    first = make_worker(url=bouncer.url, pooled=True, lease=1.5)
    ids = insert(connection, "hold", {"gate": "g"}, count=5)
    eventually(lambda: scene.started() == set(ids))

    first.executors()[0].kill()
    # From then on they run one at a time.
    eventually(lambda: len(scene.entries()) == len(ids) + 1)
    assert first.said("5 jobs of executor 1 were given back")

    make_worker(url=bouncer.url, pooled=True, lease=1.5)
    first.kill()
    eventually(lambda: len(scene.entries()) == len(ids) + 2, 20)
    scene.open("g")
    eventually(lambda: all_ended(connection, ids))
    finals = check(connection, scene, ids)
    assert {(run["retry_count"], run["crash_count"]) for run in finals} == {(0, 0)}
    outcomes = sorted([run["outcome"] for run in runs(connection, id)] for id in ids)
    assert [one[0] for one in outcomes] == ["lost"] * 5
    assert outcomes[-1] == ["lost", "lost", "completed"], "who ran when its worker died, too"


def test_what_a_dead_executor_had_sent_is_found_by_a_later_look(
    bouncer: Pooler, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    """Its claim lay unsent in the pooler when the supervisor first looked."""
    worker = make_worker(url=bouncer.url, pooled=True, lease=60.0)
    identity = worker.ready()
    held = insert(connection, "hold", {"gate": "g"}, count=2)
    eventually(lambda: scene.started() == set(held))
    worker.executors()[0].kill()
    eventually(lambda: worker.said("2 jobs of executor 1 were given back"))
    scene.open("g")

    late = insert(connection, "quick", count=3, status="running", attempt=1, worker_id=identity, executor=1)

    eventually(lambda: all_ended(connection, held + late), 30)
    assert worker.said("3 jobs of executor 1 were given back")
    assert {run["retry_count"] for run in check(connection, scene, held + late)} == {0}


def test_a_pooler_that_fails_under_load_loses_charges_and_repeats_nothing(
    bouncer: Pooler, app: PgTask, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    worker = make_worker(url=bouncer.url, pooled=True, processes=2, lease=20.0)
    before = {process.pid for process in worker.executors()}
    database = connection.info.dbname
    quick = app.tasks["quick"]
    with Producer(lambda: [job.id for job in quick.enqueue_many([{"value": 1}] * 20)]) as producer:
        for _ in range(2):
            producer.enqueued(more=200)
            bouncer.kill()
            bouncer.start()
            producer.enqueued(more=200)
            bouncer.tell("RECONNECT")
            producer.enqueued(more=200)
            # Ends all clients and servers, in the midst of whatever they do.
            bouncer.tell(f'KILL "{database}"')
            bouncer.tell(f'RESUME "{database}"')
            producer.enqueued(more=200)
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name LIKE 'pgtask %' AND datname = current_database()"
            )
        producer.enqueued(more=200)
    ids = producer.acknowledged
    eventually(lambda: number(connection, "SELECT count(*) FROM pgtask.jobs") == 0, 40)

    finals = check(connection, scene, ids)
    assert {(run["status"], run["retry_count"], run["crash_count"]) for run in finals} == {("completed", 0, 0)}
    assert len(scene.entries()) == len(scene.started()), "no handler was called twice"
    assert number(connection, "SELECT count(*) FROM pgtask.runs WHERE NOT final") == 0
    assert {process.pid for process in worker.executors()} == before
    assert worker.stop() == 0


def test_a_claim_whose_answer_is_lost_is_given_back_and_claimed_anew(
    bouncer: Pooler, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    with proxy(bouncer.url) as way:
        worker = make_worker(url=way.url, pooled=True, lease=60.0)
        way.lose_answer_with(b"the answer to lose")
        ids = insert(connection, "quick", {"value": "the answer to lose"}, count=5)
        eventually(lambda: all_ended(connection, ids))

        assert way.cuts == 1
        finals = check(connection, scene, ids)
        assert {(run["attempt"], run["retry_count"]) for run in finals} == {(2, 0)}
        assert [len(runs(connection, id)) for id in ids] == [1] * 5
        assert worker.said("connected again; 5 jobs of an unanswered claim were given back")


def test_a_claim_that_its_executor_did_not_hear_of_is_found_by_a_later_look(
    bouncer: Pooler, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    """It lay unsent in the pooler when the executor first looked."""
    with proxy(bouncer.url) as way:
        worker = make_worker(url=way.url, pooled=True, lease=60.0)
        identity = worker.ready()
        way.lose_answer_with(b"the answer to lose")
        ids = insert(connection, "quick", {"value": "the answer to lose"}, count=2)
        eventually(lambda: worker.said("connected again"))
        late = insert(
            connection, "quick", count=2, status="running", attempt=1, worker_id=identity, executor=1, started_at="now"
        )

        eventually(lambda: all_ended(connection, ids + late), 30)

        assert worker.said("2 jobs of a late unanswered claim were given back")
        check(connection, scene, ids + late)


def test_an_exhausted_pool_is_waited_for(
    database: str, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    with pooler(database, default_pool_size=1, query_wait_timeout=1) as bouncer:
        worker = make_worker(url=bouncer.url, pooled=True, lease=60.0)
        before = {process.pid for process in worker.executors()}
        first = insert(connection, "quick", count=10)
        eventually(lambda: all_ended(connection, first))
        with psycopg.connect(bouncer.url) as hog:
            hog.execute("SELECT 1")
            ids = insert(connection, "quick", count=10)
            eventually(lambda: worker.said("^database away"), 20)
            assert {live(connection, id)["status"] for id in ids} == {"pending"}
        eventually(lambda: all_ended(connection, ids), 20)

        finals = check(connection, scene, first + ids)
        assert {(run["status"], run["retry_count"]) for run in finals} == {("completed", 0)}
        assert {process.pid for process in worker.executors()} == before
        assert worker.stop() == 0


def test_transactional_tasks_are_refused_there_and_run_by_a_worker_with_a_direct_connection(
    bouncer: Pooler, app: PgTask, make_worker: Make, connection: Connection
) -> None:
    application = "tests.acceptance.apps.transactional"
    connection.execute("CREATE TABLE public.effects (job_id int8, attempt int4)")

    @app.task(name="effect", transactional=True)
    def effect(ctx: JobContext) -> None: ...

    id = effect.enqueue().id

    refused = make_worker(url=bouncer.url, pooled=True, app=application, wait=False)

    assert refused.wait() == 1
    assert refused.said("^Task effect is transactional, which needs a direct connection to the database")
    assert (live(connection, id)["status"], live(connection, id)["attempt"]) == ("pending", 0)
    make_worker(app=application)
    eventually(lambda: all_ended(connection, [id]))
    assert ended(connection, id)["status"] == "completed"
    assert connection.execute("SELECT job_id, attempt FROM public.effects").fetchall() == [(id, 1)]


def run_worker(url: str, *flags: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if "PGTASK" not in name}
    return subprocess.run(
        [sys.executable, "-m", "pgtask", "worker", "--drain", *flags],
        check=False,
        env=environment | {"PGTASK_DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_worker_is_told_of_the_pooler_by_a_flag(bouncer: Pooler, connection: Connection) -> None:
    (id,) = insert(connection, "echo", {"message": "hi"})

    ran = run_worker(bouncer.url, "--pooled")

    assert ran.returncode == 0, ran.stderr
    assert ended(connection, id)["status"] == "completed"


@pytest.mark.parametrize("ignored", ["", "options"])
def test_a_worker_that_was_not_told_of_the_pooler_says_what_to_set(database: str, ignored: str) -> None:
    with pooler(database, ignore_startup_parameters=ignored) as bouncer:
        ran = run_worker(bouncer.url)

    assert ran.returncode == 2
    assert ran.stderr.startswith("Error: ")
    assert "pooler" in ran.stderr
    assert "PGTASK_POOLED=true" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_a_client_that_was_not_told_of_the_pooler_learns_what_to_set(database: str) -> None:
    with pooler(database, default_pool_size=1) as bouncer, contextlib.ExitStack() as stack:
        apps = [stack.enter_context(PgTask(bouncer.url, pooled=False)) for _ in range(2)]
        tasks = [app.task(name="quick")(lambda: None) for app in apps]

        def enqueue_often() -> None:
            for _ in range(20):
                for task in tasks:
                    task.enqueue()

        # psycopg prepares what it has sent several times, under names that repeat from process to process.
        with pytest.raises(ConfigurationError, match="PGTASK_POOLED=true"):
            enqueue_often()


def test_the_schema_is_migrated_and_operated(
    empty_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGTASK_POOLED", "true")
    with pooler(empty_database, default_pool_size=2) as bouncer:
        assert answer(run(bouncer.url, "db", "migrate", "--json"))["applied"]
        assert answer(run(bouncer.url, "db", "status", "--json"))["up_to_date"]
        *_, id = [answer(run(bouncer.url, "enqueue", "echo", "n=1", "--json"))["id"] for _ in range(8)]
        assert answer(run(bouncer.url, "jobs", "show", str(id), "--json"))["status"] == "pending"
        assert run(bouncer.url, "queues", "create", "mail").exit_code == 0
        assert run(bouncer.url, "queues", "pause", "mail").exit_code == 0
        assert run(bouncer.url, "jobs", "cancel", str(id)).exit_code == 0
        assert run(bouncer.url, "jobs", "delete", str(id), "--yes").exit_code == 0
        for command in (["jobs", "list"], ["queues", "list"], ["workers", "list"], ["tasks", "list"], ["stats"]):
            answer(run(bouncer.url, *command, "--json"))
        with psycopg.connect(empty_database) as connection:
            assert len(statuses(connection, list(range(1, 20)))) == 7
