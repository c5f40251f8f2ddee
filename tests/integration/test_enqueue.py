"""Enqueueing from Python: one, many, by COPY, on asyncio, and inside the caller's transaction."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row, scalar_row

from pgtask import PayloadError, PgTask, PgTaskError, Retry, SchemaError
from pgtask.database import jobs
from pgtask.database.listing import list_jobs
from pgtask.engine.task import Task
from pgtask.model.job_filter import JobFilter
from tests.integration.conftest import Work
from tests.rows import insert, job, live, number
from tests.support import eventually

Connection = psycopg.Connection


@pytest.fixture
def app(database: str) -> Iterator[PgTask]:
    with PgTask(database) as app:
        yield app


def take(**values: Any) -> None:
    """Takes anything."""


@pytest.fixture
def plain(app: PgTask) -> Task[Any]:
    """A task that takes anything."""
    return app.task(name="t")(take)


def stored(connection: Connection) -> list[tuple[Any, ...]]:
    """What was enqueued, without its ids and times."""
    return connection.execute(
        "SELECT task, payload, queue, priority, scheduled_at - created_at, max_retries, retry_strategy::text, "
        "retry_delay, max_retry_delay, timeout, tags, traceparent, unique_key, status::text, attempt, retry_count "
        "FROM pgtask.jobs ORDER BY id"
    ).fetchall()


# One job


def test_a_job_gets_its_tasks_queue_and_priority_and_inherits_the_rest(app: PgTask, connection: Connection) -> None:
    @app.task(queue="mail", priority="high", max_retries=5, retry=Retry.fixed(7), timeout="1m")
    def send(to: str, subject: str = "") -> None: ...

    enqueued = send.enqueue(to="a@b.c")

    assert enqueued.created
    row = live(connection, enqueued.id)
    assert (row["task"], row["payload"]) == (send.name, {"to": "a@b.c"})
    assert (row["queue"], row["priority"], row["status"], row["attempt"]) == ("mail", 2, "pending", 0)
    assert row["scheduled_at"] == row["created_at"]
    policy = ("max_retries", "retry_strategy", "retry_delay", "max_retry_delay", "timeout", "unique_key", "tags")
    assert [row[name] for name in policy] == [None] * len(policy)


def test_options_replace_what_the_task_says(plain: Task[Any], connection: Connection) -> None:
    plain.options(
        queue="q",
        priority="low",
        delay="1m30s",
        unique_key="k",
        max_retries=-1,
        retry=Retry.linear(5, max_delay=60),
        timeout=timedelta(seconds=2.5),
        tags=["a", "b"],
        traceparent="00-x",
    ).enqueue(a=1)

    assert stored(connection) == [
        ("t", {"a": 1}, "q", 0, timedelta(seconds=90), -1, "linear", 5.0, 60.0, 2.5, ["a", "b"], "00-x", "k", "pending",
         0, 0)
    ]  # fmt: skip


def test_an_instant_is_kept_whatever_its_zone(plain: Task[Any], connection: Connection) -> None:
    from zoneinfo import ZoneInfo

    instant = datetime(2050, 7, 1, 12, 0, 0, 123456, tzinfo=ZoneInfo("Europe/Vienna"))

    id = plain.options(scheduled_at=instant).enqueue().id

    assert live(connection, id)["scheduled_at"] == instant


def test_a_delay_counts_from_the_databases_clock_not_from_when_the_options_were_made(
    plain: Task[Any], connection: Connection
) -> None:
    later = plain.options(delay=100)

    first, second = later.enqueue().id, later.enqueue().id

    for id in (first, second):
        row = live(connection, id)
        assert row["scheduled_at"] - row["created_at"] == timedelta(seconds=100)


def test_values_that_json_lacks_are_written_as_documented(plain: Task[Any], connection: Connection) -> None:
    class Colour(Enum):
        RED = "red"

    id = plain.enqueue(
        instant=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        day=date(2026, 1, 2),
        key=UUID(int=1),
        price=Decimal("1.50"),
        colour=Colour.RED,
        length=timedelta(seconds=1.5),
        pair=(1, 2),
        nested={"a": [None, True, 1.5, 'ö 😀 \n\t\\"']},
    ).id

    assert live(connection, id)["payload"] == {
        "instant": "2026-01-02T03:04:05+00:00",
        "day": "2026-01-02",
        "key": "00000000-0000-0000-0000-000000000001",
        "price": "1.50",
        "colour": "red",
        "length": 1.5,
        "pair": [1, 2],
        "nested": {"a": [None, True, 1.5, 'ö 😀 \n\t\\"']},
    }


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


REFUSED_PAYLOADS = [
    (float("nan"), "NaN or an infinite number"),
    (float("-inf"), "NaN or an infinite number"),
    (Decimal("NaN"), "no finite number"),
    ({1, 2}, "builtins.set has no JSON form"),
    (b"x", "builtins.bytes has no JSON form"),
    (object(), "builtins.object has no JSON form"),
    ({(1, 2): 3}, "keys must be str"),
    ("a\0b", r"U\+0000"),
    ({"a\0b": 1}, r"U\+0000"),
    (["x", {"y": "\ud800"}], "lone surrogate"),
    ({"\udc00": 1}, "lone surrogate"),
    (deep(100_000), "nested too deeply"),
    (10**5000, "4300 digits"),
]


@pytest.mark.parametrize(("value", "words"), REFUSED_PAYLOADS, ids=[words for _, words in REFUSED_PAYLOADS])
def test_a_payload_that_cannot_be_stored_is_refused_before_it_is_sent(value: Any, words: str) -> None:
    # There is no such server: what is refused here was never sent anywhere.
    task = PgTask("postgresql://nowhere.invalid").task(name="t")(take)

    with pytest.raises(PayloadError, match=rf"payload cannot be stored: .*{words}"):
        task.enqueue(value=value)
    with pytest.raises(PayloadError, match=words):
        task.enqueue_many([{"value": 1}, {"value": value}])


def test_a_payload_that_contains_itself_is_refused(plain: Task[Any]) -> None:
    value: list[Any] = []
    value.append(value)

    with pytest.raises(PayloadError, match="contains itself"):
        plain.enqueue(value=value)


def test_escapes_that_only_look_like_refused_characters_are_stored(plain: Task[Any], connection: Connection) -> None:
    texts = ["\\u0000", "\\ud800", "\\\\u0000", "\U0001f600", "\ufffd"]

    id = plain.enqueue(texts=texts).id

    assert live(connection, id)["payload"] == {"texts": texts}


def test_arguments_that_do_not_fit_the_function_are_refused(app: PgTask, connection: Connection) -> None:
    @app.task(name="send")
    def send(to: str, subject: str = "") -> None: ...

    with pytest.raises(PayloadError, match=r"Task send: 'to' is missing\. It takes: to, subject\."):
        send.enqueue(subject="x")
    with pytest.raises(PayloadError, match="'too' is unknown"):
        send.enqueue(to="x", too="y")
    with pytest.raises(PayloadError, match="'to' is missing and 'a', 'b' are unknown"):
        send.enqueue_many([{"to": "x"}, {"a": 1, "b": 2}])
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 0


REFUSED_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"priority": 101}, "out of range"),
    ({"priority": "urgent"}, "unknown priority"),
    ({"delay": -1}, "out of range"),
    ({"delay": "soon"}, "no duration"),
    ({"delay": 1, "scheduled_at": datetime(2030, 1, 1, tzinfo=UTC)}, "not both"),
    ({"scheduled_at": datetime(2030, 1, 1)}, "no time zone"),  # noqa: DTZ001 - that it is naive is the point
    ({"max_retries": -2}, "means nothing"),
    ({"max_retries": True}, "means nothing"),
    ({"timeout": 0}, "longer than 0"),
    ({"timeout": "nan"}, "out of range"),
]


@pytest.mark.parametrize(("options", "words"), REFUSED_OPTIONS, ids=[words for _, words in REFUSED_OPTIONS])
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    task = PgTask("postgresql://nowhere.invalid").task(name="t")(take)

    with pytest.raises(PayloadError, match=words):
        task.options(**options)


REFUSED_BY_POSTGRESQL: list[dict[str, Any]] = [
    {"queue": ""},
    {"queue": "x" * 129},
    {"queue": "a\0b"},
    {"queue": "\ud800"},
    {"unique_key": ""},
    {"unique_key": "x" * 513},
    {"unique_key": "a\0b"},
    {"unique_key": "\ud800"},
    {"traceparent": "x" * 300},
    {"tags": ["\udfff"]},
    {"tags": [f"{i:09}{i * 7919 % 10007}" for i in range(2000)]},
    {"max_retries": 2**40},
    {"scheduled_at": datetime(1, 1, 1, tzinfo=UTC)},
    {"scheduled_at": datetime(9999, 12, 31, tzinfo=UTC)},
]


def test_options_that_postgresql_refuses_are_payload_errors_too(plain: Task[Any], connection: Connection) -> None:
    for options in REFUSED_BY_POSTGRESQL:
        bound = plain.options(**options)
        with pytest.raises(PayloadError):
            bound.enqueue()
        with pytest.raises(PayloadError):
            asyncio.run(bound.enqueue_async())
        for count in (2, jobs.COPY_FROM):
            with pytest.raises(PayloadError):
                bound.enqueue_many([{}] * count)

    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 0


def test_a_payload_over_the_configured_limit_is_refused(plain: Task[Any], connection: Connection) -> None:
    limit = 200_000
    connection.execute("UPDATE pgtask.settings SET value = %s WHERE name = 'max_payload_bytes'", [str(limit)])
    frame = len('{"value":""}')
    fits, too_large = "x" * (limit - frame), "x" * (limit - frame + 1)

    for enqueue in (
        lambda value: plain.enqueue(value=value),
        lambda value: plain.enqueue_many([{"value": "x"}, {"value": value}]),
        lambda value: asyncio.run(plain.enqueue_async(value=value)),
    ):
        enqueue(fits)
        with pytest.raises(PayloadError, match="has 200001 bytes; the limit is 200000"):
            enqueue(too_large)
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 4


def test_a_database_without_the_schema_is_named_as_the_cause(empty_database: str) -> None:
    with PgTask(empty_database) as app:
        task = app.task(name="t")(lambda: None)

        with pytest.raises(SchemaError, match="pgtask db migrate"):
            task.enqueue()


# Many jobs


@pytest.mark.parametrize("count", [1, 7, jobs.COPY_FROM, jobs.COPY_FROM + 1])
def test_many_jobs_keep_their_order(count: int, plain: Task[Any], connection: Connection) -> None:
    made = plain.enqueue_many({"n": n} for n in range(count))

    ids = [job.id for job in made]
    rows = connection.execute("SELECT id, (payload->>'n')::int FROM pgtask.jobs ORDER BY id").fetchall()
    assert rows == list(zip(ids, range(count), strict=True))


def test_no_jobs_are_no_work(plain: Task[Any], connection: Connection) -> None:
    assert plain.enqueue_many([]) == []
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 0


NASTY = "tab\t newline\n return\r backslash\\ \\N \\. quote\" comma, {brace} 'apostrophe' ö 😀 NULL"


def test_copy_stores_the_same_as_insert(plain: Task[Any], connection: Connection) -> None:
    bound = plain.options(
        queue=NASTY[:100],
        priority=-3,
        delay=60,
        max_retries=2,
        retry=Retry.exponential(1.5, max_delay=9.25),
        timeout=0.125,
        tags=[NASTY, "", "null", "NULL", '"', "\\"],
        traceparent=NASTY,
    )
    payloads: list[dict[str, Any]] = [{"text": NASTY, NASTY: [None, {"a": "\\n\\t"}]}, {}]

    bound.enqueue_many(payloads)
    by_insert = stored(connection)
    connection.execute("DELETE FROM pgtask.jobs")
    bound.enqueue_many(payloads * (jobs.COPY_FROM // 2))
    by_copy = stored(connection)

    assert by_insert[0][1] == payloads[0]
    assert by_copy[:2] == by_insert
    assert len(by_copy) == jobs.COPY_FROM


def test_copy_leaves_out_what_is_not_given(plain: Task[Any], connection: Connection) -> None:
    plain.enqueue_many([{}, {}])
    by_insert = stored(connection)[0]
    connection.execute("DELETE FROM pgtask.jobs")

    plain.enqueue_many([{}] * jobs.COPY_FROM)

    assert set(map(repr, stored(connection))) == {repr(by_insert)}


def test_a_unique_key_cannot_serve_many_jobs(plain: Task[Any]) -> None:
    with pytest.raises(PayloadError, match="unique_key"):
        plain.options(unique_key="k").enqueue_many([{}, {}])


# Unique keys


def test_enqueue_finds_the_live_holder_of_a_unique_key(plain: Task[Any], work: Work) -> None:
    unique = plain.options(unique_key="k")
    first = unique.enqueue(n=1)

    again = unique.enqueue(n=2)

    assert (first.created, again.created, again.id) == (True, False, first.id)
    work.claim()
    work.complete((first.id, 1))
    assert unique.enqueue().created


@pytest.mark.parametrize("commits", [True, False])
def test_a_race_for_a_unique_key_has_one_winner(
    commits: bool, plain: Task[Any], database: str, connection: Connection
) -> None:
    with psycopg.connect(database) as first, psycopg.connect(database, autocommit=True) as second:
        mine = plain.options(unique_key="k", connection=first).enqueue()
        theirs: list[Any] = []
        loser = plain.options(unique_key="k", connection=second)
        thread = threading.Thread(target=lambda: theirs.append(loser.enqueue()))
        thread.start()
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        eventually(lambda: number(connection, blocked, [second.info.backend_pid]))
        if commits:
            first.commit()
        else:
            first.rollback()
        thread.join()

    assert theirs[0].created is not commits
    assert (theirs[0].id == mine.id) is commits
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 1


def test_many_at_once_with_one_unique_key_make_one_job(plain: Task[Any], connection: Connection) -> None:
    made: list[Any] = []
    start = threading.Barrier(8)

    def enqueue() -> None:
        start.wait()
        made.extend(plain.options(unique_key="k").enqueue() for _ in range(10))

    threads = [threading.Thread(target=enqueue) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({job.id for job in made}) == 1
    assert [job.created for job in made].count(True) == 1
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 1


# Inside the caller's transaction


def test_a_key_taken_behind_a_snapshot_fails_the_callers_transaction_and_holds_at_the_next_try(
    plain: Task[Any], database: str
) -> None:
    with psycopg.connect(database) as own:
        own.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        own.execute("SELECT count(*) FROM pgtask.jobs")
        theirs = plain.options(unique_key="k").enqueue()
        mine = plain.options(unique_key="k", connection=own)

        with pytest.raises(psycopg.errors.SerializationFailure):
            mine.enqueue()
        own.rollback()
        again = mine.enqueue()

    assert (again.id, again.created) == (theirs.id, False)


def test_a_job_enqueued_in_a_transaction_appears_with_its_commit(
    plain: Task[Any], database: str, connection: Connection
) -> None:
    with psycopg.connect(database) as own, own.transaction():
        one = plain.options(connection=own).enqueue()
        two = plain.options(connection=own).enqueue_many([{}, {}])
        many = plain.options(connection=own).enqueue_many([{}] * jobs.COPY_FROM)
        assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 0

    ids = {row[0] for row in connection.execute("SELECT id FROM pgtask.jobs")}
    assert ids == {job.id for job in (one, *two, *many)}


def test_a_job_enqueued_in_a_transaction_goes_with_its_rollback(
    plain: Task[Any], database: str, connection: Connection
) -> None:
    with psycopg.connect(database) as own:
        with own.transaction(force_rollback=True):
            plain.options(connection=own).enqueue()
            plain.options(connection=own).enqueue_many([{}, {}])
            plain.options(connection=own).enqueue_many([{}] * jobs.COPY_FROM)
        # So do those with which the driver itself opened the transaction.
        for count in (1, jobs.COPY_FROM):
            plain.options(connection=own).enqueue_many([{}] * count)
            own.rollback()
        plain.options(connection=own).enqueue()
        own.rollback()

    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 0


def test_a_savepoint_takes_its_jobs_along(plain: Task[Any], database: str, connection: Connection) -> None:
    with psycopg.connect(database) as own, own.transaction():
        kept = plain.options(connection=own).enqueue()
        with own.transaction() as savepoint:
            plain.options(connection=own).enqueue()
            raise psycopg.Rollback(savepoint)

    assert [row[0] for row in connection.execute("SELECT id FROM pgtask.jobs")] == [kept.id]


def test_many_that_are_refused_leave_the_callers_transaction_usable(
    plain: Task[Any], database: str, connection: Connection
) -> None:
    with psycopg.connect(database) as own, own.transaction():
        kept = plain.options(connection=own).enqueue()
        for count in (2, jobs.COPY_FROM):
            with pytest.raises(PayloadError):
                plain.options(connection=own, queue="x" * 200).enqueue_many([{}] * count)

    assert [row[0] for row in connection.execute("SELECT id FROM pgtask.jobs")] == [kept.id]


@pytest.mark.parametrize("rows", [dict_row, scalar_row])
@pytest.mark.parametrize("cursors", [psycopg.Cursor, psycopg.RawCursor])
def test_the_callers_factories_do_not_matter(
    rows: Any, cursors: Any, plain: Task[Any], database: str, connection: Connection
) -> None:
    with psycopg.connect(database, autocommit=True, row_factory=rows, cursor_factory=cursors) as own:
        bound = plain.options(connection=own)
        ids = [bound.enqueue().id, *(job.id for job in bound.enqueue_many([{}, {}]))]
        ids += [job.id for job in bound.enqueue_many([{}] * jobs.COPY_FROM)]
        keyed = plain.options(connection=own, unique_key="k")
        assert keyed.enqueue().id == keyed.enqueue().id

    assert set(ids) <= {row[0] for row in connection.execute("SELECT id FROM pgtask.jobs")}


def test_a_wrong_kind_of_connection_is_refused_with_the_right_one_named(plain: Task[Any], database: str) -> None:
    with psycopg.connect(database) as own, pytest.raises(PgTaskError, match="AsyncConnection"):
        asyncio.run(plain.options(connection=own).enqueue_async())

    async def wrong() -> None:
        async with await psycopg.AsyncConnection.connect(database) as own:
            plain.options(connection=own).enqueue()

    with pytest.raises(PgTaskError, match="enqueue_async"):
        asyncio.run(wrong())


# asyncio


def test_enqueue_async_does_as_enqueue(plain: Task[Any], app: PgTask, connection: Connection) -> None:
    async def enqueue() -> list[Any]:
        try:
            unique = plain.options(unique_key="k", delay=5, queue="q")
            made = await asyncio.gather(*(plain.enqueue_async(n=n) for n in range(20)))
            return [*made, await unique.enqueue_async(a=1), await unique.enqueue_async(a=2)]
        finally:
            await app.pool.close_async()

    made = asyncio.run(enqueue())

    assert sorted(row[1].get("n", -1) for row in stored(connection)) == [-1, *range(20)]
    assert (made[-2].id, made[-2].created, made[-1].created) == (made[-1].id, True, False)
    assert live(connection, made[-1].id)["payload"] == {"a": 1}
    assert live(connection, made[-1].id)["queue"] == "q"


def test_enqueue_async_joins_the_callers_transaction(plain: Task[Any], database: str, connection: Connection) -> None:
    async def enqueue() -> list[int]:
        async with await psycopg.AsyncConnection.connect(database) as own:
            async with own.transaction():
                kept = await plain.options(connection=own).enqueue_async()
                assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 0
            async with own.transaction(force_rollback=True):
                await plain.options(connection=own).enqueue_async()
        return [kept.id]

    kept = asyncio.run(enqueue())

    assert [row[0] for row in connection.execute("SELECT id FROM pgtask.jobs")] == kept


def test_enqueue_async_leaves_no_task_behind(plain: Task[Any]) -> None:
    """One that is at work when asyncio.run() ends would hold that up."""

    async def enqueue() -> set[Any]:
        await asyncio.gather(*(plain.enqueue_async() for _ in range(20)))
        return asyncio.all_tasks() - {asyncio.current_task()}

    for _ in range(3):
        assert asyncio.run(enqueue()) == set()


def test_enqueue_async_serves_several_loops_and_their_ends(
    plain: Task[Any], app: PgTask, connection: Connection
) -> None:
    backends = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgtask client' "
        "AND datname = current_database()"
    )
    threads = [threading.Thread(target=lambda: asyncio.run(_several(plain))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 20
    app.close()
    eventually(lambda: number(connection, backends) == 0)


async def _several(task: Task[Any]) -> None:
    for _ in range(5):
        await task.enqueue_async()


def test_a_connection_that_was_cut_is_replaced(plain: Task[Any], app: PgTask, connection: Connection) -> None:
    end = (
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
        "WHERE application_name = 'pgtask client' AND datname = current_database()"
    )

    async def twice() -> None:
        await plain.enqueue_async()
        assert number(connection, end) == 1
        await plain.enqueue_async()

    asyncio.run(twice())
    plain.enqueue()
    number(connection, end)
    plain.enqueue()

    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 4


def test_a_process_with_many_descriptors_can_enqueue(plain: Task[Any]) -> None:
    """Beyond the 1,024 that select() can look at."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    descriptors = [os.dup(0) for _ in range(1100)]
    try:
        for _ in range(2):
            plain.enqueue()

        async def twice() -> None:
            await plain.enqueue_async()
            await plain.enqueue_async()

        asyncio.run(twice())
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# What the caller gets


def test_a_job_can_be_watched_cancelled_and_retried(
    plain: Task[Any], app: PgTask, make_work: Callable[..., Work], connection: Connection
) -> None:
    work = make_work()
    job_ = plain.options(max_retries=0).enqueue()
    assert job_.status == "pending"
    assert job_.cancel() == "cancelled"
    assert job_.refresh().status == "cancelled"
    assert job_.retry().status == "pending"
    (claimed,) = work.claim()
    assert job_.refresh().status == "running"
    assert job_.cancel() == "requested"
    work.complete((job_.id, claimed.attempt), results=['{"n": 1}'])
    assert job_.wait(1) == {"n": 1}
    assert app.job(job_.id).result == {"n": 1}
    assert job(connection, job_.id) is None


def test_what_a_plain_insert_made_is_a_job_like_any_other(app: PgTask, connection: Connection) -> None:
    (id,) = insert(connection, "anything", {"a": 1})

    found = app.job(id)

    assert (found.record.task, found.record.payload, found.status) == ("anything", {"a": 1}, "pending")


def test_a_payload_that_python_cannot_decode_is_shown_as_its_text(app: PgTask, connection: Connection) -> None:
    connection.execute(
        "INSERT INTO pgtask.jobs (task, payload) VALUES ('t', (repeat('[', 5000) || repeat(']', 5000))::jsonb), "
        "('t', ('{\"n\": ' || repeat('9', 5001) || '}')::jsonb), ('t', '{\"a\": 1}')"
    )
    ids = [row[0] for row in connection.execute("SELECT id FROM pgtask.jobs ORDER BY id")]

    shown = [app.job(id).record.payload for id in ids]

    assert shown == ["[" * 5000 + "]" * 5000, '{"n": ' + "9" * 5001 + "}", {"a": 1}]
    assert [record.id for record in list_jobs(connection, JobFilter()).jobs] == ids[::-1]


def test_threads_that_enqueue_first_at_once_share_their_connections(database: str) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            opened: list[Any] = []
            start = threading.Barrier(8)
            fresh = PgTask(database)

            def look(fresh: PgTask = fresh, start: threading.Barrier = start, opened: list[Any] = opened) -> None:
                start.wait()
                opened.append(fresh.pool)

            threads = [threading.Thread(target=look) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len({id(pool) for pool in opened}) == 1
    finally:
        sys.setswitchinterval(interval)
