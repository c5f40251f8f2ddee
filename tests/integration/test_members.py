"""Python and the command line in the hands of each role, as logins that are members of it and of nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgtask import NotAllowedError, PayloadError, PgTask
from pgtask.database import jobs
from pgtask.database.roles import Role
from pgtask.engine.task import Task
from tests.command_line import add_live_worker, add_run, answer, lines, run
from tests.logins import Logins
from tests.rows import insert, job, live, number

Connection = psycopg.Connection[Any]


# Python, as an enqueuer


@pytest.fixture
def enqueuer(logins: Logins) -> str:
    return logins.make(Role.ENQUEUER)


@pytest.fixture
def app(enqueuer: str) -> Iterator[PgTask]:
    with PgTask(enqueuer) as app:
        yield app


@pytest.fixture
def task(app: PgTask) -> Task[Any]:
    @app.task(name="t")
    def take(**values: Any) -> None:
        """Takes anything."""

    return take


def test_python_enqueues(task: Task[Any], connection: Connection) -> None:
    made = task.options(priority=3, delay=60, max_retries=1, tags=["a"], timeout=5).enqueue(n=1)

    row = live(connection, made.id)
    assert made.created
    assert (row["payload"], row["priority"], row["max_retries"], row["tags"], row["timeout"]) == (
        {"n": 1},
        3,
        1,
        ["a"],
        5,
    )


def test_python_finds_the_holder_of_a_unique_key(task: Task[Any]) -> None:
    first = task.options(unique_key="k").enqueue()
    second = task.options(unique_key="k").enqueue()

    assert (first.created, second.created, second.id) == (True, False, first.id)


def test_python_enqueues_on_asyncio(app: PgTask, task: Task[Any], connection: Connection) -> None:
    async def twice() -> list[Any]:
        made = [await task.options(unique_key="k").enqueue_async(text="x" * 20_000) for _ in range(2)]
        await app.pool.close_async()
        return made

    first, second = asyncio.run(twice())

    assert (first.created, second.created, second.id) == (True, False, first.id)
    assert len(live(connection, first.id)["payload"]["text"]) == 20_000


def test_python_keeps_to_the_limit_of_payloads(task: Task[Any], connection: Connection) -> None:
    connection.execute("UPDATE pgtask.settings SET value = '30000' WHERE name = 'max_payload_bytes'")

    assert live(connection, task.enqueue(text="x" * 20_000).id)
    with pytest.raises(PayloadError, match="the limit is 30000"):
        task.enqueue(text="x" * 40_000)


@pytest.mark.parametrize("count", [2, jobs.COPY_FROM - 1, jobs.COPY_FROM, 2 * jobs.COPY_FROM + 1])
def test_python_enqueues_many(count: int, task: Task[Any], connection: Connection) -> None:
    made = task.options(priority=2, tags=["a"]).enqueue_many([{"n": n} for n in range(count)])

    ids = [job.id for job in made]
    assert ids == sorted(set(ids))
    stored = connection.execute("SELECT id, (payload ->> 'n')::int FROM pgtask.jobs WHERE priority = 2 ORDER BY id")
    assert stored.fetchall() == list(zip(ids, range(count), strict=True))


def test_python_enqueues_much(task: Task[Any], connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_COPY_FROM_CHARACTERS", 1000)

    made = task.enqueue_many([{"text": "x" * length} for length in (2000, 10, 400, 500, 600, 3000, 1)])

    lengths = [len(live(connection, job.id)["payload"]["text"]) for job in made]
    assert lengths == [2000, 10, 400, 500, 600, 3000, 1]


def test_many_are_enqueued_all_or_none(task: Task[Any], connection: Connection) -> None:
    with pytest.raises(PayloadError):
        task.options(tags=["x" * 5000]).enqueue_many([{}] * (jobs.COPY_FROM + 1))

    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 0


def test_python_joins_the_callers_transaction(enqueuer: str, task: Task[Any], connection: Connection) -> None:
    with psycopg.connect(enqueuer) as own:
        bound = task.options(connection=own)
        kept = [bound.enqueue(), *bound.enqueue_many([{}] * jobs.COPY_FROM)]
        own.commit()
        bound.enqueue()
        own.rollback()

    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == len(kept)


def test_python_may_not_look_at_jobs_nor_touch_them(task: Task[Any], connection: Connection) -> None:
    made = task.enqueue()

    for attempt in (made.refresh, lambda: made.wait(1), made.cancel, made.retry):
        with pytest.raises(NotAllowedError, match="This database role may not do that"):
            attempt()
    assert live(connection, made.id)["status"] == "pending"


def test_copy_takes_no_ids_from_an_enqueuer(enqueuer: str) -> None:
    with (
        psycopg.connect(enqueuer) as own,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        own.cursor().copy("COPY pgtask.jobs (id, task) FROM STDIN") as copy,
    ):
        copy.write("1\tt\n")


def test_copy_without_ids_is_an_insert_like_any(enqueuer: str, connection: Connection) -> None:
    with psycopg.connect(enqueuer) as own, own.cursor().copy("COPY pgtask.jobs (task, queue) FROM STDIN") as copy:
        copy.write("t\tq\n" * 3)

    assert number(connection, "SELECT count(*) FROM pgtask.jobs WHERE queue = 'q' AND status = 'pending'") == 3


# The command line, as an enqueuer


def test_the_command_enqueues(enqueuer: str, connection: Connection) -> None:
    result = run(enqueuer, "enqueue", "echo", "message=hi", "--priority", "high", "--unique-key", "k")
    assert (result.exit_code, result.stderr) == (0, "")
    id = int(result.stdout)
    assert live(connection, id)["payload"] == {"message": "hi"}

    again = run(enqueuer, "enqueue", "echo", "--unique-key", "k")
    assert (again.exit_code, again.stdout) == (0, f"{id}\n")
    assert f"Nothing new enqueued: job {id} holds this unique key." in again.stderr


def test_the_command_tells_as_json_what_it_may_know(enqueuer: str) -> None:
    found = answer(run(enqueuer, "enqueue", "echo", "--json"))

    assert list(found) == ["id"]


def test_the_command_refuses_to_wait_for_what_it_may_not_see(enqueuer: str, connection: Connection) -> None:
    result = run(enqueuer, "enqueue", "echo", "--wait")

    assert result.exit_code == 1
    assert result.stderr == (
        "Error: This database role may not read jobs, so it cannot --wait. Nothing was enqueued.\n"
    )
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 0


# Every command, by who may give it

LOOKS = [
    ["jobs", "list"],
    ["jobs", "list", "--status", "failed"],
    ["jobs", "list", "--status", "pending", "--queue", "default"],
    ["jobs", "show", "1"],
    ["jobs", "show", "2"],
    ["stats"],
    ["queues", "list"],
    ["queues", "stats", "default"],
    ["workers", "list"],
    ["workers", "show", "1"],
    ["tasks", "list"],
]
ACTS = [
    ["jobs", "cancel", "1"],
    ["jobs", "retry", "2"],
    ["jobs", "delete", "2", "--yes"],
    ["jobs", "cancel", "--queue", "default", "--yes"],
    ["queues", "create", "new"],
    ["queues", "set", "default", "--priority", "3"],
    ["queues", "pause", "default"],
    ["queues", "resume", "stored"],
    ["queues", "delete", "stored"],
    ["workers", "stop", "1"],
]


@pytest.fixture
def something(connection: Connection) -> None:
    """A job that waits (1), one that failed (2), a worker (1), a task and a queue."""
    insert(connection, "t")
    add_run(connection, 2, "failed")
    add_live_worker(connection)
    connection.execute("INSERT INTO pgtask.tasks (name) VALUES ('t')")
    connection.execute("INSERT INTO pgtask.queues (name, paused_at) VALUES ('stored', now())")


@pytest.mark.usefixtures("something")
@pytest.mark.parametrize("role", list(Role))
def test_who_may_look(role: Role, logins: Logins) -> None:
    url = logins.make(role)
    for command in LOOKS:
        result = run(url, *command)
        if role is Role.ENQUEUER:
            assert (result.exit_code, result.stdout) == (1, ""), command
            assert result.stderr.startswith("Error: This database role may not do that (permission denied for "), (
                command
            )
        else:
            assert (result.exit_code, bool(result.stdout)) == (0, True), (command, result.output)
            assert run(url, *command, "--json").exit_code == 0


def contents(connection: Connection) -> list[Any]:
    tables = ("jobs", "runs", "queues", "workers", "tasks", "settings")
    return [connection.execute(f"SELECT * FROM pgtask.{table}".encode()).fetchall() for table in tables]


@pytest.mark.usefixtures("something")
@pytest.mark.parametrize("role", [Role.ENQUEUER, Role.READER])
def test_who_may_not_act(role: Role, logins: Logins, connection: Connection) -> None:
    url = logins.make(role)
    before = contents(connection)

    for command in ACTS:
        result = run(url, *command)
        assert result.exit_code == 1, command
        assert result.stderr.startswith("Error: This database role may not do that (permission denied for "), command

    assert contents(connection) == before


@pytest.mark.usefixtures("something")
@pytest.mark.parametrize("command", ACTS, ids=" ".join)
def test_an_operator_acts(command: list[str], logins: Logins, connection: Connection) -> None:
    before = contents(connection)

    result = run(logins.make(Role.OPERATOR), *command)

    assert result.exit_code == 0, result.output
    assert contents(connection) != before


def test_an_operator_enqueues_nothing(logins: Logins, connection: Connection) -> None:
    for role in (Role.OPERATOR, Role.READER):
        result = run(logins.make(role), "enqueue", "echo")
        assert result.exit_code == 1
        assert "permission denied for function enqueue" in result.stderr
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 0


def test_an_operator_deletes_no_running_job_and_retries_under_the_same_id(
    logins: Logins, connection: Connection
) -> None:
    operator = logins.make(Role.OPERATOR)
    (id,) = insert(connection, "t", status="running", worker_id=1, attempt=1)
    add_run(connection, 77, "failed")

    assert "running" in run(operator, "jobs", "delete", str(id), "--yes").stdout
    assert lines(run(operator, "jobs", "cancel", str(id)))[0][:2] == [str(id), "requested"]
    assert run(operator, "jobs", "retry", "77").exit_code == 0
    assert (live(connection, id)["cancel_requested_at"] is not None, job(connection, 77) is not None) == (True, True)


@pytest.mark.parametrize("role", [Role.ENQUEUER, Role.READER, Role.OPERATOR])
def test_no_other_role_runs_a_worker(role: Role, logins: Logins) -> None:
    result = run(logins.make(role), "worker", "--drain")

    assert result.exit_code == 1
    assert "Error: This database role may not do that (permission denied for table workers)" in result.stderr


def test_a_stranger_is_told_what_is_missing(logins: Logins) -> None:
    stranger = logins.make(None)

    for command in (["jobs", "list"], ["enqueue", "echo"]):
        result = run(stranger, *command)
        assert result.exit_code == 1
        assert "run pgtask db grant for it" in result.stderr

    def take() -> None:
        """Takes nothing."""

    with PgTask(stranger) as app, pytest.raises(NotAllowedError, match="permission denied for schema pgtask"):
        app.task(name="t")(take).enqueue()
