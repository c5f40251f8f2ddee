"""Unique jobs from Python and from the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from pgtask import JobStateError, PayloadError, PgTask, Retry, TaskError, Unique, UniqueConflictError
from pgtask.database import jobs
from pgtask.database.roles import Role
from pgtask.engine.task import Task
from tests.command_line import answer, run
from tests.integration.conftest import Work
from tests.logins import Logins
from tests.rows import insert, live, number

Connection = psycopg.Connection[Any]


@pytest.fixture
def app(database: str) -> Iterator[PgTask]:
    with PgTask(database) as app:
        yield app


def send(to: str, order: Any = None, subject: str = "") -> None:
    """Takes an order."""


@pytest.fixture
def task(app: PgTask) -> Task[Any]:
    return app.task(name="t")(send)


@pytest.fixture
def enqueue(app: PgTask) -> Callable[..., Any]:
    """Enqueues through options, by the way that `by` says."""

    def enqueue(task: Task[Any], by: str, connection: Any = None, **options: Any) -> Any:
        bound = task.options(connection=connection, **options)
        if by == "enqueue":
            return bound.enqueue(to="a")

        async def once() -> Any:
            try:
                return await bound.enqueue_async(to="a")
            finally:
                await app.pool.close_async()

        return asyncio.run(once())

    return enqueue


both_ways = pytest.mark.parametrize("by", ["enqueue", "enqueue_async"])


@both_ways
def test_every_option_reaches_the_database(
    by: str, task: Task[Any], enqueue: Callable[..., Any], connection: Connection
) -> None:
    job = enqueue(
        task,
        by,
        unique_key="k",
        unique_scope="until_success",
        unique_window="10m",
        on_conflict="reschedule",
        max_wait="1h",
        queue="q",
        priority=3,
        delay=60,
        max_retries=2,
        retry=Retry.linear(5, max_delay=50),
        timeout=2.5,
        tags=["a", "b"],
        traceparent="00-x",
    )

    row = live(connection, job.id)
    assert job.created
    assert row["unique_until"] - row["created_at"] == timedelta(minutes=10)
    assert row["scheduled_at"] - row["created_at"] == timedelta(minutes=1)
    expected = {
        "payload": {"to": "a"},
        "unique_key": None,
        "scoped_key": "k",
        "unique_scope": "until_success",
        "queue": "q",
        "priority": 3,
        "max_retries": 2,
        "retry_strategy": "linear",
        "retry_delay": 5,
        "max_retry_delay": 50,
        "timeout": 2.5,
        "tags": ["a", "b"],
        "traceparent": "00-x",
    }
    assert {name: row[name] for name in expected} == expected
    assert (job.record.unique_key, job.record.unique_scope) == ("k", "until_success")
    assert job.record.unique_until == row["unique_until"]


@both_ways
@pytest.mark.parametrize("scope", [None, "waiting", "always"])
def test_a_held_key_is_skipped_refused_replaced_or_put_off(
    by: str, scope: Any, task: Task[Any], enqueue: Callable[..., Any], connection: Connection
) -> None:
    def again(**options: Any) -> Any:
        return enqueue(task, by, unique_key="k", unique_scope=scope, **options)

    first = again(delay=60, tags=["first"])

    skipped = again()
    assert (skipped.id, skipped.created) == (first.id, False)
    with pytest.raises(UniqueConflictError, match=f"job {first.id} holds this unique key") as caught:
        again(on_conflict="error")
    assert caught.value.job_id == first.id
    replaced = again(on_conflict="replace", tags=["second"], delay=120)
    assert (replaced.id, replaced.created) == (first.id, False)
    row = live(connection, first.id)
    assert row["tags"] == ["second"]
    put_off = again(on_conflict="reschedule", delay="1h", max_wait="5m")
    assert (put_off.id, put_off.created) == (first.id, False)
    assert live(connection, first.id)["scheduled_at"] - row["created_at"] == timedelta(minutes=5)
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 1


def test_a_conflict_leaves_the_callers_transaction_usable(
    task: Task[Any], database: str, connection: Connection
) -> None:
    first = task.options(unique_key="k").enqueue(to="a")
    with psycopg.connect(database) as own:
        with pytest.raises(UniqueConflictError):
            task.options(unique_key="k", on_conflict="error", connection=own).enqueue(to="a")
        second = task.options(unique_key="l", unique_scope="always", connection=own).enqueue(to="a")
        assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 1
        own.commit()
        task.options(unique_key="m", unique_scope="always", connection=own).enqueue(to="a")
        own.rollback()

    assert connection.execute("SELECT id FROM pgtask.jobs ORDER BY id").fetchall() == [(first.id,), (second.id,)]
    assert task.options(unique_key="m", unique_scope="always").enqueue(to="a").created


@both_ways
def test_an_asyncio_connection_of_the_callers_is_joined(by: str, task: Task[Any], database: str) -> None:
    async def twice() -> list[bool]:
        async with await psycopg.AsyncConnection.connect(database) as own:
            bound = task.options(unique_by=["to"], unique_scope="waiting", connection=own)
            return [(await bound.enqueue_async(to=by)).created for _ in range(2)]

    assert asyncio.run(twice()) == [True, False]


def test_a_task_declares_how_its_jobs_are_unique(app: PgTask, connection: Connection) -> None:
    unique = Unique(
        by=["to", "order.id"], scope="waiting", window="1h", on_conflict="reschedule", max_wait=timedelta(minutes=2)
    )
    task = app.task(name="t", unique=unique)(send)

    first = task.enqueue(to="a", order={"id": 1, "n": 1})

    row = live(connection, first.id)
    assert (row["unique_scope"], row["unique_until"] - row["created_at"]) == ("waiting", timedelta(hours=1))
    assert task.enqueue(to="a", order={"id": 1, "n": 2}).id == first.id
    assert task.options(delay="1d").enqueue(to="a", order={"id": 1}).id == first.id
    assert live(connection, first.id)["scheduled_at"] - row["created_at"] == timedelta(minutes=2)
    assert task.enqueue(to="b", order={"id": 1}).created
    assert task.enqueue(to="a", order={"id": 2}).created


def test_options_replace_what_the_task_declares_one_by_one(app: PgTask, connection: Connection) -> None:
    unique = Unique(by=["to"], scope="until_success", on_conflict="reschedule", max_wait="1m")
    task = app.task(name="t", unique=unique)(send)
    first = task.enqueue(to="a")
    held_by = connection.execute("SELECT unique_key FROM pgtask.unique_keys").fetchone()
    assert held_by is not None

    assert task.options(on_conflict="skip").enqueue(to="a").id == first.id
    with pytest.raises(UniqueConflictError):
        task.options(on_conflict="error").enqueue(to="a")
    keyed = task.options(unique_key="k").enqueue(to="a")
    assert keyed.created
    assert (keyed.record.unique_key, keyed.record.unique_scope) == ("k", "until_success")
    other = task.options(unique_by=True, unique_scope="always").enqueue(to="a")
    assert other.record.unique_scope == "always"
    assert other.record.unique_key not in (None, "k", held_by[0])
    active = task.options(unique_scope="active").enqueue(to="a")
    assert live(connection, active.id)["unique_key"] == held_by[0]
    free = task.options(unique_by=False).enqueue(to="a")
    assert (free.created, free.record.unique_key) == (True, None)


def test_a_key_may_be_declared_for_a_whole_task(app: PgTask) -> None:
    task = app.task(name="t", unique=Unique(key="only one"))(send)

    first = task.enqueue(to="a")

    assert task.enqueue(to="b").id == first.id
    assert first.record.unique_key == "only one"


def test_many_unique_jobs_at_once_are_refused(app: PgTask, task: Task[Any], connection: Connection) -> None:
    unique = app.task(name="unique", unique=Unique(by=["to"]))(send)
    for bound in (unique, unique.options(delay=1), task.options(unique_by=["to"])):
        with pytest.raises(PayloadError, match="enqueue_many takes no unique jobs"):
            bound.enqueue_many([{"to": "a"}])
    with pytest.raises(PayloadError, match="takes no unique_key"):
        unique.options(unique_key="k").enqueue_many([{"to": "a"}])

    unique.options(unique_by=False).enqueue_many([{"to": "a"}] * 2)
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 2


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "either a key, or by paths"),
    ({"key": "k", "by": ["to"]}, "either a key, or by paths"),
    ({"by": "to"}, "a list of paths such as"),
    ({"by": False}, "a list of paths such as"),
    ({"by": [1]}, "1 is no path"),
    ({"by": ["to", ""]}, "'' is no path"),
    ({"by": ["order..id"]}, "'order..id' is no path"),
    ({"by": ["too"]}, "go by 'too', but the task takes no 'too'"),
    ({"by": ["too.id"]}, "the task takes no 'too'"),
    ({"by": ["to"], "scope": "done"}, "no scope 'done': use waiting, active, until_success, always"),
    ({"by": ["to"], "window": 0}, "longer than 0 s"),
    ({"by": ["to"], "window": "soon"}, "no duration"),
    ({"by": ["to"], "on_conflict": "merge"}, "'merge' is unknown: use skip, error, replace, reschedule"),
    ({"by": ["to"], "max_wait": 5}, 'needs on_conflict="reschedule"'),
    ({"by": ["to"], "max_wait": -5, "on_conflict": "reschedule"}, "out of range"),
]


@pytest.mark.parametrize(("options", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_makes_no_sense_is_refused_where_it_is_said(options: dict[str, Any], words: str) -> None:
    app = PgTask("postgresql://nowhere.invalid")
    with pytest.raises(TaskError, match=f"Task t: .*{words}"):
        app.task(name="t", unique=Unique(**options))(send)
    assert app.tasks == {}
    if not options or options.get("by") is False:
        return
    names = {"key": "unique_key", "by": "unique_by", "scope": "unique_scope", "window": "unique_window"}
    task = app.task(name="t")(send)
    with pytest.raises(PayloadError, match="Task t: "):
        task.options(**{names.get(name, name): value for name, value in options.items()})


def test_options_without_a_key_are_refused(task: Task[Any]) -> None:
    for options in ({"unique_scope": "always"}, {"unique_window": 5}, {"on_conflict": "error"}, {"max_wait": 5}):
        with pytest.raises(PayloadError, match="either a key, or by paths"):
            task.options(**options)
    with pytest.raises(PayloadError, match="unique_by=False makes a job not unique"):
        task.options(unique_by=False, unique_scope="always")


def test_a_task_that_takes_anything_may_be_unique_by_anything(app: PgTask) -> None:
    @app.task(name="any", unique=Unique(by=["deep.0.x"]))
    def take(**values: Any) -> None: ...

    first = take.enqueue(deep=[{"x": 1}])
    assert take.enqueue(deep=[{"x": 1, "y": 2}], more=1).id == first.id
    assert take.enqueue(deep=[{"x": 2}]).created


def test_a_holder_of_another_task_is_not_changed(app: PgTask, task: Task[Any]) -> None:
    first = app.task(name="other")(send).options(unique_key="k").enqueue(to="a")

    with pytest.raises(PayloadError, match=f"job {first.id} holds the unique key 'k' and is of another task"):
        task.options(unique_key="k", on_conflict="replace").enqueue(to="b")


def test_a_key_out_of_bounds_and_a_payload_too_large_are_payload_errors(
    task: Task[Any], connection: Connection
) -> None:
    for key in ("", "x" * 513, "a\0b", "\ud800"):
        with pytest.raises(PayloadError):
            task.options(unique_key=key, unique_scope="always").enqueue(to="a")
    with pytest.raises(PayloadError, match="the limit is 1048576"):
        task.options(unique_key="k", unique_scope="always").enqueue(to="a" * 2**20)
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 0


def test_a_retry_is_refused_while_another_job_has_the_key(task: Task[Any], work: Work) -> None:
    unique = task.options(unique_by=["to"], unique_scope="waiting")
    first = unique.enqueue(to="a")
    work.claim()
    assert work.end(first.id, 1, final=True)
    second = unique.enqueue(to="a")

    with pytest.raises(JobStateError, match=f"job {second.id} holds its unique key"):
        first.retry()
    second.cancel()
    assert first.retry().status == "pending"


def test_an_enqueuer_may_do_it_all(logins: Logins, connection: Connection) -> None:
    with PgTask(logins.make(Role.ENQUEUER)) as app:
        task = app.task(name="t", unique=Unique(by=["to"], scope="waiting", on_conflict="replace"))(send)
        first = task.enqueue(to="a", subject="one")
        assert task.enqueue(to="a", subject="two").id == first.id
        with pytest.raises(UniqueConflictError):
            task.options(on_conflict="error").enqueue(to="a")

    assert live(connection, first.id)["payload"] == {"to": "a", "subject": "two"}


def test_a_plain_job_is_enqueued_as_ever(task: Task[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the function, which takes longer."""
    monkeypatch.setattr(jobs, "_ENQUEUE_UNIQUE", b"SELECT 1 / 0")

    task.enqueue(to="a")
    first = task.options(unique_key="k").enqueue(to="a")
    assert task.options(unique_key="k", unique_scope="active", on_conflict="skip").enqueue(to="a").id == first.id


# The command line


def test_the_command_takes_every_option(database: str, connection: Connection) -> None:
    options = "--unique-by to --unique-by order.id --unique-scope waiting --unique-window 10m --on-conflict replace"
    first = run(database, "enqueue", "t", '{"to": "a", "order": {"id": 1}}', *options.split())
    assert (first.exit_code, first.stderr.count("Nothing")) == (0, 0)
    id = int(first.stdout)
    row = live(connection, id)
    assert (row["unique_scope"], row["unique_until"] - row["created_at"]) == ("waiting", timedelta(minutes=10))

    again = run(database, "enqueue", "t", '{"to": "a", "order": {"id": 1.0}, "n": 2}', *options.split())

    assert (again.exit_code, again.stdout) == (0, f"{id}\n")
    assert again.stderr == f"Nothing new enqueued: job {id} holds this unique key and was replaced.\n"
    assert live(connection, id)["payload"]["n"] == 2


def test_the_command_puts_off_a_job(database: str, connection: Connection) -> None:
    options = ["--unique-by", ".", "--on-conflict", "reschedule", "--max-wait", "1h"]
    id = int(run(database, "enqueue", "t", "n=1", "--delay", "10s", *options).stdout)
    assert int(run(database, "enqueue", "t", "n=2", *options).stdout) != id

    again = run(database, "enqueue", "t", "n=1", "--delay", "1d", *options)

    assert again.stderr == f"Nothing new enqueued: job {id} holds this unique key and was rescheduled.\n"
    row = live(connection, id)
    assert row["scheduled_at"] - row["created_at"] == timedelta(hours=1)


def test_the_command_tells_a_conflict_as_an_error_where_it_is_to_be_one(database: str, connection: Connection) -> None:
    (id,) = insert(connection, "t", unique_key="k")

    result = run(database, "enqueue", "t", "--unique-key", "k", "--on-conflict", "error")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: Nothing was enqueued: job {id} holds this unique key.\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--unique-scope", "waiting"], "there is no key: give unique_key, or unique_by"),
        (["--unique-key", "k", "--unique-by", "a"], "unique_key or unique_by, not both"),
        (["--unique-by", "a..b"], "'a..b', which is no path"),
        (["--unique-key", "k", "--max-wait", "1m"], "needs on_conflict"),
        (["--unique-key", "k", "--unique-scope", "done"], "'done' is not one of"),
        (["--unique-key", "k", "--on-conflict", "merge"], "'merge' is not one of"),
        (["--unique-key", "k", "--unique-window", "0"], "longer than nothing"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(options: list[str], words: str, database: str) -> None:
    result = run(database, "enqueue", "t", *options)

    assert result.exit_code in (1, 2)
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_a_jobs_key_is_shown(database: str, connection: Connection) -> None:
    connection.execute(
        "SELECT pgtask.enqueue('t', unique_key => 'k', unique_scope => 'always', unique_window => '1 h')"
    )
    (id,) = connection.execute("SELECT id FROM pgtask.jobs").fetchone() or (0,)

    shown = run(database, "jobs", "show", str(id)).stdout
    found = answer(run(database, "jobs", "show", str(id), "--json"))

    assert "always" in shown
    found = found.get("job", found)
    assert (found["unique_key"], found["unique_scope"]) == ("k", "always")
    assert found["unique_until"] is not None
