"""Unique jobs by the SQL door: how long a key is held, what becomes of the next job, retries, upkeep and deletion."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.types.json import Jsonb

from pgtask.database import bulk, jobs, migrations, partitions
from pgtask.database.roles import Role
from pgtask.model.job import NewJob
from tests.integration.conftest import Work
from tests.logins import Logins
from tests.rows import ended, insert, job, live, number
from tests.support import eventually

Connection = psycopg.Connection[Any]

SCOPES = ("waiting", "active", "until_success", "always")
# How keys are held: by the live jobs' own index, and by pgtask.unique_keys.
KINDS: dict[str, dict[str, Any]] = {"plain": {}} | {scope: {"unique_scope": scope} for scope in SCOPES[:1] + SCOPES[2:]}
KINDS |= {"active for an hour": {"unique_scope": "active", "unique_window": timedelta(hours=1)}}
every_kind = pytest.mark.parametrize("kind", KINDS)


def enqueue(connection: Connection, task: str = "t", **options: Any) -> tuple[int, str]:
    """The id and the answer of pgtask.enqueue_or_find, by the key k unless there is another."""
    if not {"unique_key", "unique_by"} & options.keys():
        options["unique_key"] = "k"
    query = sql.SQL("SELECT id, answer FROM pgtask.enqueue_or_find({}, {})").format(
        sql.Literal(task),
        sql.SQL(", ").join(
            sql.SQL("{} => {}").format(sql.Identifier(name), _value(value)) for name, value in options.items()
        ),
    )
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0]), str(row[1])


def _value(value: Any) -> sql.Composable:
    return (
        value if isinstance(value, sql.Composable) else sql.Literal(Jsonb(value) if isinstance(value, dict) else value)
    )


def keys(connection: Connection) -> dict[str, tuple[int, str]]:
    """Who holds which key by pgtask.unique_keys, and in which scope."""
    rows = connection.execute("SELECT unique_key, job_id, scope::text FROM pgtask.unique_keys")
    return {key: (id, scope) for key, id, scope in rows}


# What may have become of a holder


def running(work: Work, connection: Connection, id: int) -> None:
    assert [row.id for row in work.claim()] == [id]


def retrying(work: Work, connection: Connection, id: int) -> None:
    running(work, connection, id)
    work.end(id, 1)
    assert live(connection, id)["retry_count"] == 1


def completed(work: Work, connection: Connection, id: int) -> None:
    running(work, connection, id)
    assert work.complete((id, 1)) == {id}


def failed(work: Work, connection: Connection, id: int) -> None:
    running(work, connection, id)
    work.end(id, 1, final=True)
    assert ended(connection, id)["status"] == "failed"


def cancelled(work: Work, connection: Connection, id: int) -> None:
    connection.execute("SELECT pgtask.cancel(%s)", [id])


def deleted(work: Work, connection: Connection, id: int) -> None:
    assert bulk.delete_jobs(connection, [id]) == [(id, "deleted", None)]


def deleted_after_its_end(work: Work, connection: Connection, id: int) -> None:
    completed(work, connection, id)
    deleted(work, connection, id)


Become = Callable[[Work, Connection, int], None]
HELD_WHILE: dict[str, tuple[Become, ...]] = {
    "waiting": (retrying,),
    "plain": (running, retrying),
    "active for an hour": (running, retrying),
    "until_success": (running, retrying, completed),
    "always": (running, retrying, completed, failed, cancelled),
}
ALL: tuple[Become, ...] = (running, retrying, completed, failed, cancelled, deleted, deleted_after_its_end)


@every_kind
@pytest.mark.parametrize("become", ALL, ids=lambda become: become.__name__)
def test_how_long_a_key_is_held(kind: str, become: Become, work: Work, connection: Connection) -> None:
    first, answer = enqueue(connection, **KINDS[kind])
    assert answer == "created"
    assert enqueue(connection, **KINDS[kind]) == (first, "held")

    become(work, connection, first)

    second, answer = enqueue(connection, **KINDS[kind])
    assert answer == ("held" if become in HELD_WHILE[kind] else "created")
    assert (second == first) is (answer == "held")
    if answer == "created":
        assert enqueue(connection, **KINDS[kind]) == (second, "held")


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("become", [None, running, completed, failed], ids=["waits", "runs", "completed", "failed"])
def test_a_window_ends_any_hold(scope: str, become: Become | None, work: Work, connection: Connection) -> None:
    options: dict[str, Any] = {"unique_scope": scope, "unique_window": timedelta(minutes=10)}
    first, _ = enqueue(connection, **options)
    row = live(connection, first)
    assert row["unique_until"] - row["created_at"] == timedelta(minutes=10)
    if become:
        become(work, connection, first)
    connection.execute("UPDATE pgtask.unique_keys SET expires_at = now()")

    second, answer = enqueue(connection, **options)

    assert answer == "created"
    assert keys(connection) == {"k": (second, scope)}


def test_the_next_window_begins_with_the_next_holder(connection: Connection) -> None:
    enqueue(connection, unique_window=timedelta(minutes=10))
    connection.execute("UPDATE pgtask.unique_keys SET expires_at = now(), created_at = now() - interval '10 min'")
    second, _ = enqueue(connection, unique_window=timedelta(minutes=20))

    row = connection.execute("SELECT job_id, expires_at - created_at FROM pgtask.unique_keys").fetchone()
    assert row == (second, timedelta(minutes=20))
    assert enqueue(connection, unique_window=timedelta(minutes=20)) == (second, "held")


def test_a_key_of_live_jobs_takes_no_more_than_its_column(connection: Connection) -> None:
    for options in ({}, {"unique_scope": "active"}, {"on_conflict": "replace"}, {"unique_by": ["a"]}):
        id, _ = enqueue(connection, **{"unique_key": f"{options}"} if "unique_by" not in options else {}, **options)
        row = live(connection, id)
        assert row["unique_key"]
        assert (row["scoped_key"], row["unique_scope"], row["unique_until"]) == (None, None, None)
    assert keys(connection) == {}


def test_keys_of_live_jobs_and_those_of_scopes_are_name_spaces_of_their_own(connection: Connection) -> None:
    (plain,) = insert(connection, "t", unique_key="k")

    scoped, answer = enqueue(connection, unique_scope="always")

    assert answer == "created"
    assert enqueue(connection) == (plain, "held")
    assert enqueue(connection, unique_scope="always") == (scoped, "held")
    with pytest.raises(errors.UniqueViolation):
        insert(connection, "other", unique_key="k")


def test_among_scopes_that_of_the_holder_counts(work: Work, connection: Connection) -> None:
    first, _ = enqueue(connection, unique_scope="waiting")
    assert enqueue(connection, unique_scope="always") == (first, "held")
    running(work, connection, first)

    second, answer = enqueue(connection, unique_scope="always")
    completed(work, connection, second)

    assert answer == "created"
    assert enqueue(connection, unique_scope="waiting") == (second, "held")


# What becomes of the next job


@every_kind
def test_an_error_names_the_holder(kind: str, connection: Connection) -> None:
    first, _ = enqueue(connection, **KINDS[kind], on_conflict="error")

    with pytest.raises(errors.UniqueViolation, match=f"job {first} holds the unique key 'k'") as caught:
        enqueue(connection, **KINDS[kind], on_conflict="error")

    assert caught.value.diag.message_hint


@every_kind
def test_a_waiting_holder_is_replaced(kind: str, connection: Connection) -> None:
    first, _ = enqueue(
        connection,
        **KINDS[kind],
        payload={"a": 1},
        queue="q",
        tags=["old"],
        timeout=timedelta(seconds=1),
        delay="1 min",
    )
    connection.execute("UPDATE pgtask.jobs SET created_at = now() - interval '5 min', retry_count = 1, attempt = 1")
    before = live(connection, first)

    again = enqueue(
        connection,
        **KINDS[kind],
        on_conflict="replace",
        payload={"a": 2},
        queue="other",
        priority=7,
        delay="1 h",
        tags=["new"],
        timeout=timedelta(seconds=9),
        max_retries=4,
        retry_strategy="linear",
        retry_delay=timedelta(seconds=5),
        max_retry_delay=timedelta(seconds=50),
        traceparent="00-y",
        concurrency_key="tenant",
        start_by=sql.SQL("now() + interval '2 h'"),
    )

    assert again == (first, "replaced")
    after = live(connection, first)
    changed = {name: after[name] for name in after if after[name] != before[name]}
    assert changed.pop("scheduled_at") > before["scheduled_at"] + timedelta(minutes=50)
    assert changed.pop("start_by") > after["scheduled_at"]
    assert changed == {
        "payload": {"a": 2},
        "priority": 7,
        "tags": ["new"],
        "timeout": 9,
        "max_retries": 4,
        "retry_strategy": "linear",
        "retry_delay": 5,
        "max_retry_delay": 50,
        "traceparent": "00-y",
        "concurrency_key": "tenant",
    }


@every_kind
def test_a_waiting_holder_is_put_off_but_not_for_ever(kind: str, connection: Connection) -> None:
    def later(delay: str, **options: Any) -> Any:
        answer = enqueue(
            connection, **KINDS[kind], payload={"a": 2}, priority=5, delay=delay, on_conflict="reschedule", **options
        )
        assert answer[0] == first
        row = live(connection, first)
        assert (row["payload"], row["priority"]) == ({"a": 1}, 5)
        return answer[1], row["scheduled_at"] - row["created_at"]

    first, _ = enqueue(connection, **KINDS[kind], payload={"a": 1}, priority=5, delay="10 s")
    connection.execute("UPDATE pgtask.jobs SET created_at = now() - interval '30 s'")
    (now,) = connection.execute("SELECT created_at + interval '30 s' FROM pgtask.jobs").fetchone() or (None,)
    assert now

    answer, after = later("10 s")
    assert answer == "rescheduled"
    assert timedelta(seconds=40) <= after < timedelta(minutes=5)
    assert later("1 h", max_wait="1 min") == ("rescheduled", timedelta(minutes=1))
    # Past that, it stays due.
    assert later("1 h", max_wait="20 s") == ("rescheduled", timedelta(seconds=20))
    assert later("2 h")[1] > timedelta(hours=2)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "waiting"])
@pytest.mark.parametrize("on_conflict", ["replace", "reschedule"])
def test_a_holder_that_runs_is_left_alone(kind: str, on_conflict: str, work: Work, connection: Connection) -> None:
    first, _ = enqueue(connection, **KINDS[kind], payload={"a": 1})
    running(work, connection, first)
    before = live(connection, first)

    answer = enqueue(connection, **KINDS[kind], payload={"a": 2}, delay="1 h", on_conflict=on_conflict)

    assert answer == (first, "held")
    assert live(connection, first) == before


@pytest.mark.parametrize("on_conflict", ["replace", "reschedule"])
def test_a_holder_that_has_ended_is_left_alone(on_conflict: str, work: Work, connection: Connection) -> None:
    first, _ = enqueue(connection, unique_scope="always", payload={"a": 1})
    completed(work, connection, first)

    answer = enqueue(connection, unique_scope="always", payload={"a": 2}, on_conflict=on_conflict)

    assert answer == (first, "held")
    assert ended(connection, first)["payload"] == {"a": 1}
    assert job(connection, first) is None


@every_kind
@pytest.mark.parametrize("on_conflict", ["replace", "reschedule"])
def test_a_job_of_another_task_is_not_changed(kind: str, on_conflict: str, connection: Connection) -> None:
    first, _ = enqueue(connection, **KINDS[kind])
    before = live(connection, first)

    with pytest.raises(errors.UniqueViolation, match=f"job {first} .* is of another task"):
        enqueue(connection, task="other", **KINDS[kind], on_conflict=on_conflict)

    assert live(connection, first) == before
    assert enqueue(connection, task="other", **KINDS[kind]) == (first, "held")


@every_kind
@pytest.mark.parametrize("on_conflict", ["replace", "reschedule"])
def test_workers_are_told_of_a_job_that_is_due_earlier(kind: str, on_conflict: str, connection: Connection) -> None:
    """They may have looked past the place where it is now."""
    enqueue(connection, **KINDS[kind], queue="q", delay="1 h")
    connection.execute("LISTEN pgtask")

    enqueue(
        connection, **KINDS[kind], priority=4 if on_conflict == "replace" else 1, on_conflict=on_conflict, delay="1 min"
    )
    connection.execute("SELECT pg_notify('pgtask', 'now')")
    enqueue(connection, **KINDS[kind], priority=4 if on_conflict == "replace" else 1, on_conflict=on_conflict)

    notices = [notice.payload for notice in connection.notifies(timeout=10, stop_after=2)]
    assert notices[0] == "now"
    priority = 4 if on_conflict == "replace" else 1
    assert notices[1].startswith(f'{{"rewind" : "q", "priority" : {priority}, "at" : ')


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"unique_key": None, "unique_scope": "always"}, "there is no key: give unique_key, or unique_by"),
        ({"unique_key": None, "on_conflict": "replace"}, "there is no key"),
        ({"unique_by": ["a"], "unique_key": "k"}, "unique_key or unique_by, not both"),
        ({"unique_by": ["a", ""]}, "unique_by holds '', which is no path"),
        ({"unique_by": ["a..b"]}, "'a..b', which is no path"),
        ({"unique_by": [None]}, "NULL, which is no path"),
        ({"unique_scope": "done"}, "unique_scope is 'done': write waiting, active, until_success or always"),
        ({"unique_window": timedelta(0)}, "longer than nothing"),
        ({"unique_window": timedelta(seconds=-1)}, "longer than nothing"),
        ({"on_conflict": "merge"}, "on_conflict is 'merge': write skip, error, replace or reschedule"),
        ({"max_wait": timedelta(1)}, "it needs on_conflict => 'reschedule'"),
        ({"max_wait": timedelta(1), "on_conflict": "replace"}, "it needs on_conflict => 'reschedule'"),
        ({"max_wait": timedelta(-1), "on_conflict": "reschedule"}, "cannot be negative"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], words: str, connection: Connection) -> None:
    with pytest.raises(errors.InvalidParameterValue, match=words):
        enqueue(connection, **options)


@pytest.mark.parametrize("key", ["", "x" * 513])
@every_kind
def test_a_key_out_of_bounds_is_refused(kind: str, key: str, connection: Connection) -> None:
    with pytest.raises(errors.CheckViolation):
        enqueue(connection, unique_key=key, **KINDS[kind])
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 0


# Transactions


@every_kind
@pytest.mark.parametrize("commits", [True, False])
def test_the_second_waits_until_the_first_has_decided(
    kind: str, commits: bool, database: str, connection: Connection
) -> None:
    with psycopg.connect(database) as first, psycopg.connect(database, autocommit=True) as second:
        mine, _ = enqueue(first, **KINDS[kind])
        thread, theirs = beside(lambda: enqueue(second, **KINDS[kind]), second, connection)
        first.commit() if commits else first.rollback()
        thread.join()

    assert theirs[0][1] == ("held" if commits else "created")
    assert (theirs[0][0] == mine) is commits
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 1


def beside(action: Callable[[], Any], acting: Connection, watcher: Connection) -> tuple[threading.Thread, list[Any]]:
    """Does something in a thread, and waits until it waits for a lock."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(action()))
    thread.start()
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
    eventually(lambda: number(watcher, blocked, [acting.info.backend_pid]))
    return thread, answers


@pytest.mark.parametrize(("commits", "answer"), [(True, "created"), (False, "held")])
def test_a_claim_under_way_is_waited_for(commits: bool, answer: str, database: str, connection: Connection) -> None:
    first, _ = enqueue(connection, unique_scope="waiting")
    with psycopg.connect(database) as claiming, psycopg.connect(database, autocommit=True) as other:
        claiming.execute(
            "UPDATE pgtask.jobs SET status = 'running', attempt = 1, started_at = now() WHERE id = %s", [first]
        )
        thread, answers = beside(lambda: enqueue(other, unique_scope="waiting"), other, connection)
        claiming.commit() if commits else claiming.rollback()
        thread.join()

    assert answers[0][1] == answer


@pytest.mark.parametrize("on_conflict", ["skip", "replace", "reschedule"])
def test_a_holder_that_waits_does_not_start_before_the_transaction_that_met_it_has_ended(
    on_conflict: str, database: str, work: Work, connection: Connection
) -> None:
    """What that transaction has written before, the job is to see."""
    first, _ = enqueue(connection, unique_scope="waiting")
    with psycopg.connect(database) as caller:
        assert enqueue(caller, unique_scope="waiting", on_conflict=on_conflict)[0] == first

        assert work.claim() == []
        caller.commit()
        assert [row.id for row in work.claim()] == [first]


@every_kind
def test_a_transaction_that_goes_on_does_not_keep_a_running_job_from_ending(
    kind: str, database: str, work: Work, connection: Connection
) -> None:
    first, _ = enqueue(connection, **KINDS[kind])
    running(work, connection, first)
    with psycopg.connect(database) as caller:
        for on_conflict in ("skip", "replace", "reschedule"):
            enqueue(caller, **KINDS[kind], on_conflict=on_conflict)

        assert work.complete((first, 1)) == {first}


@every_kind
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("by", ["sql", "python"])
def test_what_a_transaction_cannot_see_fails_it_for_another_try(
    kind: str, level: str, by: str, database: str, connection: Connection
) -> None:
    options = KINDS[kind]

    def run(on: Connection) -> Any:
        if by == "sql":
            return enqueue(on, **options)[0]
        window = options.get("unique_window")
        new = NewJob(
            task="t",
            unique_key="k",
            unique_scope=options.get("unique_scope"),
            unique_window=window and window.total_seconds(),
        )
        return jobs.enqueue(on, new, "{}").id

    with psycopg.connect(database, options="-c statement_timeout=10s") as caller:
        caller.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
        caller.execute("SELECT count(*) FROM pgtask.jobs")
        first, _ = enqueue(connection, **options)

        with pytest.raises(errors.SerializationFailure):
            run(caller)
        caller.rollback()
        caller.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
        assert run(caller) == first
        assert run(caller) == first


@pytest.mark.parametrize("kind", ["plain", "waiting"])
def test_a_holder_that_was_claimed_meanwhile_fails_a_transaction_that_sees_it_wait(
    kind: str, database: str, work: Work, connection: Connection
) -> None:
    first, _ = enqueue(connection, **KINDS[kind])
    with psycopg.connect(database, options="-c statement_timeout=10s") as caller:
        caller.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        caller.execute("SELECT count(*) FROM pgtask.jobs")
        running(work, connection, first)

        with pytest.raises(errors.SerializationFailure):
            enqueue(caller, **KINDS[kind], on_conflict="replace")


@every_kind
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_key_that_came_free_meanwhile_ends_in_some_way(
    kind: str, level: str, database: str, work: Work, connection: Connection
) -> None:
    first, _ = enqueue(connection, **KINDS[kind])
    with psycopg.connect(database, options="-c statement_timeout=10s") as caller:
        caller.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
        caller.execute("SELECT count(*) FROM pgtask.jobs")
        cancelled(work, connection, first)
        deleted(work, connection, first)
        try:
            id, _ = enqueue(caller, **KINDS[kind])
            caller.commit()
        except errors.SerializationFailure:
            caller.rollback()
            id, _ = enqueue(caller, **KINDS[kind])
            caller.commit()

    assert live(connection, id)["task"] == "t"
    assert id != first


# Retries by hand


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "always"])
def test_a_retry_by_hand_is_refused_while_another_job_has_the_key(
    kind: str, work: Work, connection: Connection
) -> None:
    first, _ = enqueue(connection, **KINDS[kind])
    failed(work, connection, first)
    second, _ = enqueue(connection, **KINDS[kind])

    with pytest.raises(
        errors.UniqueViolation, match=f"job {first} cannot be retried: job {second} holds its unique key k"
    ):
        connection.execute("SELECT pgtask.retry(%s)", [first])
    assert bulk.retry_jobs(connection, [first])[0].answer == "held"
    assert ended(connection, first)["status"] == "failed"

    cancelled(work, connection, second)
    assert bulk.retry_jobs(connection, [first])[0].answer == "pending"
    assert enqueue(connection, **KINDS[kind]) == (first, "held")


@every_kind
@pytest.mark.parametrize("settled", [True, False])
def test_a_job_that_is_retried_by_hand_has_its_key_again(
    kind: str, settled: bool, work: Work, connection: Connection
) -> None:
    first, _ = enqueue(connection, **KINDS[kind])
    failed(work, connection, first)
    if settled:
        assert partitions.maintain(connection).complete

    connection.execute("SELECT pgtask.retry(%s)", [first])

    assert enqueue(connection, **KINDS[kind]) == (first, "held")
    row = live(connection, first)
    assert (row["unique_scope"], row["unique_until"] is None) == (
        KINDS[kind].get("unique_scope"),
        "unique_window" not in KINDS[kind],
    )


def test_a_retry_and_a_deletion_of_one_job_cannot_wait_for_each_other(
    database: str, work: Work, connection: Connection
) -> None:
    id, _ = enqueue(connection, unique_scope="always")
    failed(work, connection, id)
    ids = {"ids": [id]}
    with psycopg.connect(database) as deleting, psycopg.connect(database, autocommit=True) as retrying:
        deleting.execute(bulk._LOCK_KEYS, ids)
        thread, answers = beside(
            lambda: retrying.execute("SELECT pgtask.retry(%s)", [id]).fetchone(), retrying, connection
        )
        deleting.execute(bulk._LOCK, ids)
        assert deleting.execute(bulk._DELETE, ids).fetchall() == [(id,)]
        deleting.commit()
        thread.join()

    assert answers == [(None,)]
    assert keys(connection) == {}


# Upkeep


def test_upkeep_clears_away_what_nobody_can_hold_any_more(work: Work, connection: Connection) -> None:
    expected = {}
    for scope in SCOPES:
        for become in (None, retrying, completed, failed, cancelled):
            key = f"{scope} {become and become.__name__}"
            id, _ = enqueue(connection, unique_key=key, unique_scope=scope, unique_window=timedelta(days=1))
            if become:
                become(work, connection, id)
            if become in (None, retrying) or scope == "always":
                expected[key] = (id, scope)
            elif become is completed and scope == "until_success":
                # From now on without its history.
                expected[key] = (id, "always")
            connection.execute("UPDATE pgtask.jobs SET scheduled_at = now() + interval '1 h'")
            enqueue(
                connection, unique_key=f"late {key}", unique_scope=scope, unique_window=timedelta(days=1), delay="1 h"
            )
    connection.execute("UPDATE pgtask.unique_keys SET expires_at = now() WHERE unique_key LIKE 'late%'")

    done = partitions.maintain(connection)

    assert done.complete
    assert keys(connection) == expected


def test_a_completed_job_holds_its_key_beyond_its_history(work: Work, connection: Connection) -> None:
    ids = {}
    for scope in ("until_success", "always"):
        ids[scope], _ = enqueue(connection, unique_key=scope, unique_scope=scope)
        completed(work, connection, ids[scope])
    failing, _ = enqueue(connection, unique_key="failing", unique_scope="until_success")
    failed(work, connection, failing)
    connection.execute("UPDATE pgtask.runs SET finished_at = now() - interval '40 days'")

    done = partitions.maintain(connection)

    assert (done.complete, done.deleted_runs) == (True, 3)
    for scope, id in ids.items():
        assert enqueue(connection, unique_key=scope, unique_scope=scope) == (id, "held")
    assert enqueue(connection, unique_key="failing", unique_scope="until_success")[1] == "created"
    # Only deleting the job frees it then.
    assert [answer.answer for answer in bulk.delete_jobs(connection, list(ids.values()))] == ["deleted"] * 2
    assert enqueue(connection, unique_key="always", unique_scope="always")[1] == "created"


def test_upkeep_leaves_keys_alone_that_somebody_is_about_to_take(
    database: str, work: Work, connection: Connection
) -> None:
    first, _ = enqueue(connection, unique_scope="waiting")
    failed(work, connection, first)
    with psycopg.connect(database) as caller:
        second, _ = enqueue(caller, unique_scope="waiting")

        assert partitions.maintain(connection).complete
        caller.commit()

    assert enqueue(connection, unique_scope="waiting") == (second, "held")


def test_what_was_taken_meanwhile_is_judged_anew(database: str, work: Work, connection: Connection) -> None:
    """A batch is locked first and settled after: a key that has changed hands in between is not deleted."""
    first, _ = enqueue(connection, unique_scope="waiting")
    failed(work, connection, first)
    locking = partitions._LOCK_SPENT_KEYS, {"scopes": ["waiting"], "limit": 9}
    with psycopg.connect(database) as caller, psycopg.connect(database) as upkeep:
        upkeep.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        second, _ = enqueue(caller, unique_scope="waiting")
        caller.commit()
        upkeep.execute(*locking)
        upkeep.execute(partitions._SETTLE_KEYS, {"keys": ["k"]})
        upkeep.commit()

    assert keys(connection) == {"k": (second, "waiting")}


# Rights


@every_kind
def test_an_enqueuer_may_do_it_all_by_the_doors(kind: str, logins: Logins, work: Work, connection: Connection) -> None:
    with psycopg.connect(logins.make(Role.ENQUEUER), autocommit=True) as producer:
        first, _ = enqueue(producer, **KINDS[kind], payload={"a": 1})
        assert enqueue(producer, **KINDS[kind]) == (first, "held")
        assert enqueue(producer, **KINDS[kind], on_conflict="replace", payload={"a": 2}) == (first, "replaced")
        assert enqueue(producer, **KINDS[kind], on_conflict="reschedule", delay="1 h") == (first, "rescheduled")
        with pytest.raises(errors.UniqueViolation):
            enqueue(producer, **KINDS[kind], on_conflict="error")
        row = producer.execute("SELECT pgtask.enqueue('t', unique_key => 'k', unique_scope => %s)", [None]).fetchone()

    assert live(connection, first)["payload"] == {"a": 2}
    assert row is not None
    assert (row[0] == first) is (kind == "plain")


def test_the_rights_to_enqueue_outlive_the_migration(database: str, logins: Logins, connection: Connection) -> None:
    url = logins.make(Role.ENQUEUER)
    for back in (True, False):
        if back:
            migrations.downgrade(database, "0006")
        else:
            migrations.migrate(database)
        with psycopg.connect(url, autocommit=True) as producer:
            assert producer.execute("SELECT pgtask.enqueue('t', unique_key => 'k')").fetchone()
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 1


# What a further enqueue must not take away


@every_kind
@pytest.mark.parametrize("on_conflict", ["replace", "reschedule"])
def test_a_holder_that_waits_for_its_retry_goes_on_waiting(kind: str, on_conflict: str, connection: Connection) -> None:
    (id, _) = enqueue(connection, **KINDS[kind])
    connection.execute(
        "UPDATE pgtask.jobs SET retry_count = 1, created_at = now() - interval '1 h', "
        "scheduled_at = now() + interval '30 s' WHERE id = %s",
        [id],
    )
    due = live(connection, id)["scheduled_at"]
    more = {"max_wait": "2 s"} if on_conflict == "reschedule" else {}

    assert enqueue(connection, **KINDS[kind], on_conflict=on_conflict, delay="1 s", **more)[0] == id
    assert live(connection, id)["scheduled_at"] == due
    assert enqueue(connection, **KINDS[kind], on_conflict=on_conflict, delay="1 h", **more)[0] == id
    assert live(connection, id)["scheduled_at"] > due


def test_what_is_put_off_is_to_start_by_when_the_latest_caller_wants_it(connection: Connection) -> None:
    soon, later = (sql.SQL("now() + {}::interval").format(sql.Literal(f"{n} s")) for n in (6, 60))
    (id, _) = enqueue(connection, delay="3 s", start_by=soon)
    before = live(connection, id)["start_by"]

    assert enqueue(connection, delay="30 s", start_by=later, on_conflict="reschedule") == (id, "rescheduled")

    after = live(connection, id)
    assert after["scheduled_at"] < after["start_by"]
    assert after["start_by"] > before
