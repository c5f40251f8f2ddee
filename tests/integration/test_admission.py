"""max_size: enqueueing is refused when as many jobs wait in a queue as may, by each door, for producers at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from pgtask import PgTask, QueueFull
from pgtask.database import admission, jobs
from pgtask.database.roles import Role
from pgtask.engine.task import Task
from tests.command_line import run
from tests.logins import Logins
from tests.rows import Connection, ago, insert, number


@pytest.fixture
def app(database: str) -> Iterator[PgTask]:
    with PgTask(database) as app:
        yield app


@pytest.fixture
def mail(app: PgTask) -> Task[Any]:
    @app.task(name="send", queue="mail")
    def send(n: int = 0) -> None:
        pass

    return send


def bound(connection: Connection, max_size: int | None, queue: str = "mail") -> None:
    connection.execute(
        "INSERT INTO pgtask.queues (name, max_size) VALUES (%s, %s) "
        "ON CONFLICT (name) DO UPDATE SET max_size = EXCLUDED.max_size",
        [queue, max_size],
    )


def waiting(connection: Connection, queue: str = "mail") -> int:
    return number(connection, "SELECT count(*) FROM pgtask.jobs WHERE queue = %s AND status = 'pending'", [queue])


def fill(connection: Connection, count: int, queue: str = "mail", **columns: Any) -> list[int]:
    return insert(connection, "send", count=count, queue=queue, **columns)


def many(task: Task[Any], count: int) -> list[Any]:
    return task.enqueue_many([{"n": n} for n in range(count)])


DOORS: dict[str, Callable[[Task[Any]], object]] = {
    "enqueue": lambda task: task.enqueue(),
    "async": lambda task: asyncio.run(task.enqueue_async()),
    "many": lambda task: many(task, 1),
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
@pytest.mark.parametrize("size", [3, 1003])
def test_python_says_that_a_queue_is_full(
    door: Callable[[Task[Any]], object], size: int, mail: Task[Any], connection: Connection
) -> None:
    fill(connection, size - 1)
    bound(connection, size)
    door(mail)
    outdate(connection)
    with pytest.raises(
        QueueFull, match=rf"^Queue 'mail' is full: no more than {size:,} jobs may wait in it"
    ) as refusal:
        door(mail)
    assert (refusal.value.queue, refusal.value.max_size) == ("mail", size)
    assert "pgtask queues set mail --max-size" in str(refusal.value)
    assert waiting(connection) == size


@pytest.mark.parametrize("size", [10, 1010])
@pytest.mark.parametrize("copied", [False, True])
def test_many_jobs_fit_all_or_none(
    size: int, copied: bool, mail: Task[Any], connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "COPY_FROM", 4 if copied else 1000)
    fill(connection, size - 5)
    bound(connection, size)
    outdate(connection)
    with pytest.raises(QueueFull, match="6 more do not fit"):
        many(mail, 6)
    assert waiting(connection) == size - 5
    many(mail, 5)
    assert waiting(connection) == size


def test_what_waits_counts_scheduled_and_retrying_but_not_running_nor_elsewhere(
    mail: Task[Any], connection: Connection
) -> None:
    bound(connection, 3)
    fill(connection, 1, scheduled_at=ago(-3600))
    fill(connection, 1, scheduled_at=ago(-60), retry_count=1)
    fill(connection, 9, status="running", attempt=1)
    fill(connection, 9, queue="other")
    mail.enqueue()
    with pytest.raises(QueueFull):
        mail.enqueue()


def test_what_does_not_come_as_new_is_not_refused(mail: Task[Any], connection: Connection) -> None:
    bound(connection, 1)
    id = mail.enqueue().id
    assert fill(connection, 1)
    connection.execute("SELECT pgtask.cancel(%s)", [id])
    assert connection.execute("SELECT pgtask.retry(%s)", [id]).fetchall() == [("pending",)]
    assert waiting(connection) == 2


def test_who_holds_the_key_is_returned_though_the_queue_is_full(mail: Task[Any], connection: Connection) -> None:
    bound(connection, 1)
    holder = mail.options(unique_key="k").enqueue()
    again = mail.options(unique_key="k").enqueue()
    assert (again.id, again.created) == (holder.id, False)
    row = connection.execute("SELECT pgtask.enqueue('send', queue => 'mail', unique_key => 'k')").fetchone()
    assert row == (holder.id,)
    with pytest.raises(QueueFull):
        mail.options(unique_key="other").enqueue()


def test_the_callers_transaction_goes_on(mail: Task[Any], connection: Connection) -> None:
    bound(connection, 2)
    with connection.transaction():
        mail.options(connection=connection).enqueue()
        with pytest.raises(QueueFull):
            mail.options(connection=connection).enqueue_many([{}, {}])
        mail.options(connection=connection).enqueue()
        with pytest.raises(QueueFull):
            mail.options(connection=connection).enqueue()
    assert waiting(connection) == 2


def test_sql_raises_a_state_of_its_own(connection: Connection) -> None:
    bound(connection, 1)
    connection.execute("SELECT pgtask.enqueue('send', queue => 'mail')")
    with pytest.raises(psycopg.DatabaseError) as refusal:
        connection.execute("SELECT pgtask.enqueue('send', queue => 'mail')")
    said = refusal.value.diag
    assert (said.sqlstate, said.message_primary) == ("PT429", "queue mail is full: no more than 1 jobs may wait in it")
    assert json.loads(said.message_detail or "") == {"queue": "mail", "max_size": 1}
    assert said.message_hint == "Try again later, or raise its max_size."


def test_the_command_says_it_in_one_line(database: str, connection: Connection) -> None:
    bound(connection, 1)
    run(database, "enqueue", "send", "--queue", "mail")
    refused = run(database, "enqueue", "send", "--queue", "mail")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert refused.stderr.startswith("Error: Queue 'mail' is full: no more than 1 jobs may wait in it (max_size).")


def test_a_producer_without_rights_to_read_is_refused_too(
    logins: Logins, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "COPY_FROM", 4)
    bound(connection, 5)
    with PgTask(logins.make(Role.ENQUEUER)) as app:
        task = app.task(name="send", queue="mail")(lambda: None)
        with pytest.raises(QueueFull):
            task.enqueue_many([{}] * 6)
        task.enqueue_many([{}] * 4)
        task.enqueue()
        with pytest.raises(QueueFull):
            task.enqueue()
        with app.pool.connection() as own, pytest.raises(psycopg.DatabaseError, match="queue mail is full"):
            own.execute("SELECT pgtask.enqueue('send', queue => 'mail')")
    assert waiting(connection) == 5


@pytest.mark.parametrize(("size", "over"), [(50, 7), (1050, 500)])
def test_producers_at_once_go_over_by_little(size: int, over: int, database: str, connection: Connection) -> None:
    """One each where all are counted; where a count is kept, what comes while it is fresh: for some milliseconds."""
    fill(connection, size - 50)
    bound(connection, size)

    def produce(_: int) -> int:
        made = 0
        with PgTask(database) as app:
            task = app.task(name="send", queue="mail")(lambda: None)
            try:
                while True:
                    task.enqueue()
                    made += 1
            except QueueFull:
                return made

    with ThreadPoolExecutor(8) as pool:
        made = sum(pool.map(produce, range(8)))
    assert 50 <= made <= 50 + over
    assert waiting(connection) == size - 50 + made


# Queues too large to be counted each time


def kept(connection: Connection) -> tuple[int, bool]:
    """The count that is kept, and whether it is fresh."""
    row = connection.execute("SELECT waiting, counted_at > now() - interval '10 s' FROM pgtask.queue_sizes").fetchone()
    assert row is not None
    return row[0], row[1]


def outdate(connection: Connection, seconds: int = 60) -> None:
    connection.execute("UPDATE pgtask.queue_sizes SET counted_at = counted_at - make_interval(secs => %s)", [seconds])


def test_a_large_queue_is_not_counted_while_it_cannot_be_full(mail: Task[Any], connection: Connection) -> None:
    fill(connection, 1000)
    bound(connection, 5000)
    outdate(connection)
    many(mail, 4000)
    assert kept(connection) == (1000, False)
    with pytest.raises(QueueFull):
        mail.enqueue()


def test_a_fresh_count_decides_where_ids_alone_cannot(mail: Task[Any], connection: Connection) -> None:
    bound(connection, 2000)
    ids = fill(connection, 2000)
    outdate(connection, -3600)
    mail.enqueue()
    outdate(connection, 2 * 3600)
    admission.count_queues(connection)
    assert kept(connection) == (2000, True)

    connection.execute("DELETE FROM pgtask.jobs WHERE id = ANY (%s)", [ids])
    outdate(connection, -3600)
    with pytest.raises(QueueFull):
        mail.enqueue()
    outdate(connection, 2 * 3600)
    mail.enqueue()
    assert kept(connection) == (1, True)


def test_producers_count_for_themselves_when_the_count_is_old(mail: Task[Any], connection: Connection) -> None:
    bound(connection, 2000)
    fill(connection, 2000)
    outdate(connection)
    with pytest.raises(QueueFull):
        mail.enqueue()
    assert kept(connection) == (2000, True)


def test_a_count_under_way_keeps_nobody_waiting(database: str, mail: Task[Any], connection: Connection) -> None:
    bound(connection, 2000)
    fill(connection, 1999)
    outdate(connection)
    with psycopg.connect(database) as other:
        other.execute("SELECT pgtask.count_queue('mail')")
        connection.execute("SET lock_timeout = '5s'")
        mail.options(connection=connection).enqueue()
        outside = "SELECT pgtask.count_queue('mail')"
        assert number(connection, outside) == 2000


def test_a_transaction_that_looks_at_one_instant_is_not_made_to_fail(mail: Task[Any], connection: Connection) -> None:
    bound(connection, 2000)
    fill(connection, 2000, queue="other")
    outdate(connection)
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with psycopg.connect(connection.info.dsn, autocommit=True) as other, connection.transaction():
        connection.execute("SELECT 1 FROM pgtask.jobs")
        other.execute("SELECT pgtask.count_queue('mail')")
        outdate(other)
        mail.options(connection=connection).enqueue()
    assert waiting(connection) == 1


def test_the_count_goes_with_its_queue(connection: Connection) -> None:
    bound(connection, 2000)
    connection.execute("DELETE FROM pgtask.queues")
    assert number(connection, "SELECT count(*) FROM pgtask.queue_sizes") == 0


def test_taking_the_bound_back_lets_jobs_in_again(database: str, mail: Task[Any], connection: Connection) -> None:
    bound(connection, 1)
    mail.enqueue()
    with pytest.raises(QueueFull):
        mail.enqueue()
    run(database, "queues", "set", "mail", "--max-size", "none")
    mail.enqueue()


def test_what_is_put_back_by_hand_counts_at_once(connection: Connection) -> None:
    bound(connection, 1010)
    ids = fill(connection, 1000)
    connection.execute("SELECT pgtask.cancel(id) FROM unnest(%s::int8[]) AS c (id)", [ids])
    connection.execute("SELECT pgtask.count_queue('mail')")
    assert kept(connection)[0] == 0

    put_back = "SELECT count(*) FROM pgtask.retry_jobs(%s::int8[]) WHERE answer = 'pending'"
    assert connection.execute(put_back, [ids[1:]]).fetchone() == (999,)
    assert connection.execute("SELECT pgtask.retry(%s)", [ids[0]]).fetchone() == ("pending",)

    assert kept(connection)[0] == 1000
