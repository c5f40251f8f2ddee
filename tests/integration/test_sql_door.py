"""The door for SQL clients: a plain INSERT, and the functions enqueue, cancel and retry."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import errors

from tests.integration.conftest import Work
from tests.rows import ago, ended, insert, job, live, number, runs
from tests.support import eventually

Connection = psycopg.Connection


def call(connection: Connection, query: LiteralString, *arguments: Any) -> Any:
    row = connection.execute(query, arguments).fetchone()
    assert row is not None
    return row[0]


def enqueue(connection: Connection, arguments: LiteralString = "'t'") -> Any:
    return call(connection, "SELECT pgtask.enqueue(" + arguments + ")")


# Plain INSERT


def test_a_plain_insert_needs_only_the_task(connection: Connection) -> None:
    id = call(connection, "INSERT INTO pgtask.jobs (task) VALUES ('t') RETURNING id")

    row = live(connection, id)
    assert row.pop("created_at") == row.pop("scheduled_at")
    assert {name: value for name, value in row.items() if value is not None} == {
        "id": id,
        "task": "t",
        "queue": "default",
        "priority": 1,
        "payload": {},
        "status": "pending",
        "attempt": 0,
        "retry_count": 0,
        "crash_count": 0,
        "suspect": False,
    }


def test_a_plain_insert_gets_the_defaults_of_the_table_not_of_its_task(connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.tasks (name, queue, priority) VALUES ('t', 'mail', 9)")
    (id,) = insert(connection, "t")

    assert (live(connection, id)["queue"], live(connection, id)["priority"]) == ("default", 1)


REFUSED: list[LiteralString] = [
    "(task) VALUES (NULL)",
    "(task) VALUES ('')",
    "(task) VALUES (repeat('x', 257))",
    "(task, queue) VALUES ('t', '')",
    "(task, queue) VALUES ('t', repeat('x', 129))",
    "(task, queue) VALUES ('t', NULL)",
    "(task, payload) VALUES ('t', NULL)",
    "(task, payload) VALUES ('t', '{')",
    "(task, payload) VALUES ('t', '\"\\u0000\"')",
    "(task, priority) VALUES ('t', 101)",
    "(task, priority) VALUES ('t', -101)",
    "(task, scheduled_at) VALUES ('t', 'infinity')",
    "(task, scheduled_at) VALUES ('t', '-infinity')",
    "(task, scheduled_at) VALUES ('t', '1969-12-31 23:59:59+00')",
    "(task, scheduled_at) VALUES ('t', '300000-01-01')",
    "(task, max_retries) VALUES ('t', -2)",
    "(task, retry_delay) VALUES ('t', -1)",
    "(task, max_retry_delay) VALUES ('t', 'NaN')",
    "(task, retry_delay) VALUES ('t', 'Infinity')",
    "(task, retry_strategy) VALUES ('t', 'quadratic')",
    "(task, timeout) VALUES ('t', 0)",
    "(task, unique_key) VALUES ('t', '')",
    "(task, unique_key) VALUES ('t', repeat('x', 513))",
    "(task, traceparent) VALUES ('t', repeat('x', 257))",
    "(task, tags) SELECT 't', array_agg(md5(i::text)) FROM generate_series(1, 500) i",
    "(task, progress) VALUES ('t', 101)",
]


def test_a_plain_insert_out_of_bounds_is_refused(connection: Connection) -> None:
    for values in REFUSED:
        with pytest.raises((errors.DataError, errors.IntegrityError)):
            connection.execute("INSERT INTO pgtask.jobs " + values)


def test_one_live_job_holds_a_unique_key_across_all_tasks(work: Work, connection: Connection) -> None:
    (first,) = insert(connection, "t", unique_key="k")
    with pytest.raises(errors.UniqueViolation):
        insert(connection, "other", unique_key="k")
    work.claim()
    with pytest.raises(errors.UniqueViolation):
        insert(connection, "t", unique_key="k")
    work.complete((first, 1))

    assert insert(connection, "t", unique_key="k")


# enqueue


def test_enqueue_takes_the_defaults_of_a_registered_task(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO pgtask.tasks (name, queue, priority, max_retries, timeout) VALUES ('t', 'mail', 2, 7, 30)"
    )

    row = live(connection, enqueue(connection))

    assert (row["queue"], row["priority"]) == ("mail", 2)
    # Its policy stays with the task, so that a change reaches jobs that wait.
    assert (row["max_retries"], row["timeout"]) == (None, None)


def test_enqueue_of_an_unknown_task_takes_the_built_in_defaults(connection: Connection) -> None:
    row = live(connection, enqueue(connection))

    assert (row["queue"], row["priority"], row["payload"], row["status"]) == ("default", 1, {}, "pending")


def test_enqueue_takes_every_option(connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.tasks (name, queue, priority) VALUES ('t', 'mail', 2)")

    id = enqueue(
        connection,
        """'t', '{"a": 1}', queue => 'q', priority => -5, delay => '90 s', unique_key => 'k', max_retries => -1,
           retry_strategy => 'linear', retry_delay => '2 min', max_retry_delay => '1 h', timeout => '1.5 s',
           tags => '{a,b}', traceparent => '00-x'""",
    )

    row = live(connection, id)
    assert (row["scheduled_at"] - row["created_at"]).total_seconds() == 90
    expected = {
        "task": "t",
        "payload": {"a": 1},
        "queue": "q",
        "priority": -5,
        "unique_key": "k",
        "max_retries": -1,
        "retry_strategy": "linear",
        "retry_delay": 120,
        "max_retry_delay": 3600,
        "timeout": 1.5,
        "tags": ["a", "b"],
        "traceparent": "00-x",
    }
    assert {name: row[name] for name in expected} == expected


def test_enqueue_takes_an_instant(connection: Connection) -> None:
    row = live(connection, enqueue(connection, "'t', scheduled_at => '2099-05-06 07:08:09+00'"))

    assert row["scheduled_at"].isoformat().startswith("2099-05-06T07:08:09")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("NULL", "22023", "task is missing"),
        ("''", "22023", "task is missing"),
        ("'t', '[1]'", "22023", "must be a JSON object of keyword arguments, not array"),
        ("'t', 'null'", "22023", "not null"),
        ("'t', NULL", "22023", "not SQL NULL"),
        ("'t', jsonb_build_object('a', repeat('x', 1048576))", "54000", "the limit is 1048576"),
        ("'t', delay => '1 s', scheduled_at => now()", "22023", "not both"),
        ("'t', priority => 101", "22023", "out of range"),
        ("'t', priority => 70000", "22023", "out of range"),
        ("'t', retry_strategy => 'quadratic'", "22P02", "quadratic"),
        ("'t', queue => ''", "23514", "jobs_queue_length"),
        ("'t', timeout => '0 s'", "23514", "jobs_durations_positive"),
        ("'t', max_retries => -2", "23514", "jobs_max_retries_range"),
        ("'t', scheduled_at => 'infinity'", "23514", "jobs_scheduled_at_range"),
    ],
)
def test_enqueue_says_why_it_refuses(arguments: LiteralString, code: str, words: str, connection: Connection) -> None:
    with pytest.raises(psycopg.Error, match=words) as caught:
        enqueue(connection, arguments)

    assert caught.value.sqlstate == code
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 0


def test_the_limit_of_payloads_is_a_setting(connection: Connection) -> None:
    connection.execute("UPDATE pgtask.settings SET value = '100' WHERE name = 'max_payload_bytes'")

    assert enqueue(connection, "'t', jsonb_build_object('a', repeat('x', 80))")
    with pytest.raises(errors.ProgramLimitExceeded, match="the limit is 100"):
        enqueue(connection, "'t', jsonb_build_object('a', repeat('x', 100))")


def test_enqueue_returns_the_live_holder_of_a_unique_key(work: Work, connection: Connection) -> None:
    first = enqueue(connection, "'t', unique_key => 'k'")

    assert enqueue(connection, "'other', unique_key => 'k'") == first
    work.claim()
    assert enqueue(connection, "'t', unique_key => 'k'") == first
    work.complete((first, 1))
    assert enqueue(connection, "'t', unique_key => 'k'") > first


@pytest.mark.parametrize("commits", [True, False])
def test_a_race_for_a_unique_key_has_one_winner(commits: bool, database: str, connection: Connection) -> None:
    """The second to come waits until the first has decided."""
    with psycopg.connect(database) as first, psycopg.connect(database, autocommit=True) as second:
        mine = enqueue(first, "'t', unique_key => 'k'")
        theirs: list[int] = []
        thread = threading.Thread(target=lambda: theirs.append(enqueue(second, "'t', unique_key => 'k'")))
        thread.start()
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        eventually(lambda: number(connection, blocked, [second.info.backend_pid]))
        if commits:
            first.commit()
        else:
            first.rollback()
        thread.join()

    assert (theirs == [mine]) is commits
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 1


def test_a_search_path_cannot_lead_the_functions_astray(connection: Connection) -> None:
    connection.execute("CREATE SCHEMA evil")
    connection.execute("CREATE TABLE evil.jobs (id bigint)")
    connection.execute(
        "CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '-infinity'::timestamptz $$"
    )
    connection.execute("CREATE TEMP TABLE tasks (name text, queue text)")
    connection.execute("SET search_path = evil, pg_temp, pg_catalog")

    id = enqueue(connection)

    assert live(connection, id)["queue"] == "default"
    assert call(connection, "SELECT pgtask.cancel(%s)", id) == "cancelled"
    assert call(connection, "SELECT pgtask.retry(%s)", id) == "pending"


def test_not_everyone_may_call_the_functions(connection: Connection) -> None:
    names = number(
        connection,
        "SELECT count(*) FROM pg_proc p CROSS JOIN aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a "
        "WHERE p.pronamespace = 'pgtask'::regnamespace AND a.grantee = 0",
    )

    assert names == 0


# The wake-up


def test_an_insert_notifies_only_while_somebody_sleeps(database: str, connection: Connection) -> None:
    with psycopg.connect(database, autocommit=True) as listening:
        listening.execute("LISTEN pgtask")

        insert(connection, "t")
        connection.execute("SELECT setval('pgtask.idle_until', (extract(epoch FROM now()) * 1000)::int8 + 60000)")
        insert(connection, "t", count=3)
        connection.execute("SELECT pg_notify('pgtask', 'end')")

        notices = []
        for notice in listening.notifies(timeout=10):
            notices.append(notice.payload)
            if notice.payload == "end":
                break
    assert notices == ["enqueued", "end"]


def test_a_change_of_queues_notifies(database: str, connection: Connection) -> None:
    with psycopg.connect(database, autocommit=True) as listening:
        listening.execute("LISTEN pgtask")
        connection.execute("INSERT INTO pgtask.queues (name) VALUES ('q')")

        assert [notice.payload for notice in listening.notifies(timeout=10, stop_after=1)] == ["queues"]


# cancel


def test_cancelling_a_waiting_job_ends_it(connection: Connection) -> None:
    (id,) = insert(
        connection,
        "t",
        {"a": 1},
        queue="q",
        priority=5,
        unique_key="k",
        tags=["x"],
        max_retries=2,
        retry_strategy="fixed",
        scheduled_at=ago(-60),
        attempt=3,
        retry_count=2,
    )
    before = live(connection, id)

    assert call(connection, "SELECT pgtask.cancel(%s)", id) == "cancelled"

    assert job(connection, id) is None
    run = ended(connection, id)
    kept = ("payload", "queue", "priority", "unique_key", "tags", "max_retries", "retry_strategy", "scheduled_at")
    assert {name: run[name] for name in kept} == {name: before[name] for name in kept}
    assert (run["status"], run["outcome"], run["attempt"], run["claims"]) == ("cancelled", "cancelled", None, 3)


def test_cancelling_a_running_job_asks_it_to_stop(work: Work, database: str, connection: Connection) -> None:
    (id,) = insert(connection, "t")
    work.claim()
    with psycopg.connect(database, autocommit=True) as listening:
        listening.execute("LISTEN pgtask")

        assert call(connection, "SELECT pgtask.cancel(%s)", id) == "requested"

        (notice,) = listening.notifies(timeout=10, stop_after=1)
    assert f'"cancel" : {id}, "attempt" : 1, "worker" : {work.worker_id}' in notice.payload
    first = live(connection, id)
    assert first["status"] == "running"
    assert call(connection, "SELECT pgtask.cancel(%s)", id) == "requested"
    assert live(connection, id)["cancel_requested_at"] == first["cancel_requested_at"] is not None


def test_cancelling_an_ended_job_tells_how_it_ended(work: Work, connection: Connection) -> None:
    (id,) = insert(connection, "t")
    work.claim()
    work.complete((id, 1))

    assert call(connection, "SELECT pgtask.cancel(%s)", id) == "completed"
    assert call(connection, "SELECT pgtask.cancel(4711)") is None


# retry


def failed(work: Work, connection: Connection, **columns: Any) -> int:
    (id,) = insert(connection, "t", {"a": 1}, max_retries=0, **columns)
    work.claim(1, (columns.get("queue", "default"), columns.get("priority", 1)))
    assert work.end(id, live(connection, id)["attempt"])
    return id


def test_a_retry_by_hand_puts_the_job_back_with_fresh_retries(
    work: Work, database: str, connection: Connection
) -> None:
    id = failed(
        work,
        connection,
        queue="q",
        priority=4,
        unique_key="k",
        tags=["x"],
        retry_strategy="linear",
        retry_delay=3,
        max_retry_delay=9,
        timeout=8,
        traceparent="00-1",
        attempt=5,
        retry_count=0,
        crash_count=2,
    )
    before = ended(connection, id)
    with psycopg.connect(database, autocommit=True) as listening:
        listening.execute("LISTEN pgtask")

        assert call(connection, "SELECT pgtask.retry(%s)", id) == "pending"

        (notice,) = listening.notifies(timeout=10, stop_after=1)
    assert '"rewind" : "q", "priority" : 4' in notice.payload
    row = live(connection, id)
    kept = (
        *("payload", "queue", "priority", "unique_key", "tags", "max_retries", "retry_strategy", "retry_delay"),
        *("max_retry_delay", "timeout", "traceparent", "created_at", "scheduled_at"),
    )
    assert {name: row[name] for name in kept} == {name: before[name] for name in kept}
    assert (row["status"], row["attempt"], row["retry_count"], row["crash_count"]) == ("pending", 6, 0, 0)
    assert [(run["final"], run["status"], run["outcome"]) for run in runs(connection, id)] == [(False, None, "failed")]


def test_the_attempts_after_a_retry_by_hand_go_on_counting(work: Work, connection: Connection) -> None:
    id = failed(work, connection)
    call(connection, "SELECT pgtask.retry(%s)", id)

    assert [(row.id, row.attempt) for row in work.claim()] == [(id, 2)]
    work.complete((id, 2))

    assert [(run["attempt"], run["final"]) for run in runs(connection, id)] == [(1, False), (2, True)]
    assert number(connection, "SELECT count(*) FROM pgtask.all_jobs WHERE id = %s", [id]) == 1


def test_a_cancelled_job_can_be_retried(connection: Connection) -> None:
    (id,) = insert(connection, "t", attempt=2)
    call(connection, "SELECT pgtask.cancel(%s)", id)

    assert call(connection, "SELECT pgtask.retry(%s)", id) == "pending"
    assert live(connection, id)["attempt"] == 2


def test_there_is_nothing_to_retry_in_a_completed_live_or_missing_job(work: Work, connection: Connection) -> None:
    (completed,) = insert(connection, "t")
    work.claim()
    work.complete((completed, 1))
    (waiting,) = insert(connection, "t")

    assert call(connection, "SELECT pgtask.retry(%s)", completed) == "completed"
    assert call(connection, "SELECT pgtask.retry(%s)", waiting) == "active"
    assert call(connection, "SELECT pgtask.retry(4711)") is None
    assert ended(connection, completed)["status"] == "completed"


def test_a_retry_is_refused_while_another_job_holds_the_unique_key(work: Work, connection: Connection) -> None:
    id = failed(work, connection, unique_key="k")
    (holder,) = insert(connection, "t", unique_key="k")

    with pytest.raises(errors.UniqueViolation, match=f"job {holder} holds its unique key k"):
        call(connection, "SELECT pgtask.retry(%s)", id)

    assert ended(connection, id)["status"] == "failed"
    call(connection, "SELECT pgtask.cancel(%s)", holder)
    assert call(connection, "SELECT pgtask.retry(%s)", id) == "pending"


def test_of_two_retries_at_once_one_finds_the_job_live(work: Work, database: str, connection: Connection) -> None:
    id = failed(work, connection)
    with psycopg.connect(database) as first, psycopg.connect(database, autocommit=True) as second:
        assert call(first, "SELECT pgtask.retry(%s)", id) == "pending"
        answers: list[str] = []
        thread = threading.Thread(target=lambda: answers.append(call(second, "SELECT pgtask.retry(%s)", id)))
        thread.start()
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        eventually(lambda: number(connection, blocked, [second.info.backend_pid]))
        first.commit()
        thread.join()

    assert answers == ["active"]
    assert number(connection, "SELECT count(*) FROM pgtask.all_jobs WHERE id = %s", [id]) == 1


# The view


@pytest.mark.parametrize(
    ("columns", "status"),
    [
        ({}, "pending"),
        ({"scheduled_at": ago(-60)}, "scheduled"),
        ({"scheduled_at": ago(-60), "retry_count": 1}, "retrying"),
        ({"scheduled_at": ago(60), "retry_count": 1}, "retrying"),
    ],
)
def test_the_view_shows_how_a_job_waits(columns: dict[str, Any], status: str, connection: Connection) -> None:
    (id,) = insert(connection, "t", **columns)

    assert call(connection, "SELECT status FROM pgtask.all_jobs WHERE id = %s", id) == status


def test_the_view_shows_each_job_once_wherever_it_is(
    work: Work, make_work: Callable[..., Work], connection: Connection
) -> None:
    ids = insert(connection, "t", count=4)
    work.claim(3)
    work.end(ids[0], 1, "failed", final=True)
    work.end(ids[1], 1, "failed")
    work.complete((ids[2], 1))

    shown = connection.execute("SELECT id, status FROM pgtask.all_jobs ORDER BY id").fetchall()

    assert shown == list(zip(ids, ["failed", "retrying", "completed", "pending"], strict=True))
