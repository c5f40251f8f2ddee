"""Dead letters: what counts as one, resolving and putting back, and that nothing of them stays for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgtask.database import bulk, dead_letters, partitions
from pgtask.database.connection import connect
from pgtask.model.answer import Answer
from pgtask.model.dead_letter import DeadLetterFilter
from pgtask.model.rate import Rate
from tests.command_line import add_run
from tests.integration.conftest import Work
from tests.rows import ago, ended, final, insert, live, number, runs
from tests.support import eventually

Connection = psycopg.Connection[Any]
ALL = DeadLetterFilter()


@pytest.fixture
def operator(database: str) -> Any:
    """A connection as commands have it."""
    with closing(connect(database, application_name="test")) as opened:
        yield opened


def fail(
    work: Work, connection: Connection, task: str = "t", *, concurrency_key: str | None = None, **columns: Any
) -> int:
    """A job that has failed for good."""
    (id,) = insert(connection, task, **columns)
    (claimed,) = work.claim(1, (columns.get("queue", "default"), columns.get("priority", 1)), tasks=[task])
    assert claimed.id == id
    # Those with a key are claimed in another way.
    connection.execute("UPDATE pgtask.jobs SET concurrency_key = %s WHERE id = %s", [concurrency_key, id])
    assert work.end(id, claimed.attempt, final=True)
    return id


def dead(connection: Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT id FROM pgtask.dead_letters ORDER BY finished_at, id")]


def resolved(connection: Connection) -> dict[int, tuple[str | None, str | None]]:
    rows = connection.execute("SELECT job_id, resolved_by, note FROM pgtask.resolutions")
    return {id: (by, note) for id, by, note in rows}


def door(connection: Connection, call: str, *arguments: Any) -> Any:
    row = connection.execute(f"SELECT pgtask.{call}".encode(), arguments).fetchone()
    assert row is not None
    return row[0]


# What is a dead letter


def test_failed_and_quarantined_jobs_are_dead_letters_until_they_are_resolved(connection: Connection) -> None:
    for id, status in enumerate(("completed", "failed", "cancelled", "quarantined"), 1):
        add_run(connection, id, status=status)
    add_run(connection, 5, status="failed", final=False)

    assert sorted(dead(connection)) == [2, 4]

    assert door(connection, "resolve(2, 'refunded by hand')") == "resolved"
    assert dead(connection) == [4]
    assert resolved(connection) == {2: (connection.info.user, "refunded by hand")}


def test_what_cannot_be_resolved_is_answered_with_what_it_is(connection: Connection) -> None:
    for id, status in enumerate(("completed", "cancelled"), 101):
        add_run(connection, id, status=status)
    (waiting,) = insert(connection, "t")

    answers = [door(connection, "resolve(%s::int8)", id) for id in (101, 102, waiting, 999)]

    assert answers == ["completed", "cancelled", "active", None]
    assert resolved(connection) == {}


def test_resolving_again_says_who_did_so_last_and_keeps_the_note(connection: Connection) -> None:
    add_run(connection, 1, status="failed")

    door(connection, "resolve(1, 'a note', 'ann')")
    door(connection, "resolve(1, NULL, 'bob')")

    assert resolved(connection) == {1: ("bob", "a note")}


def test_a_resolution_can_be_taken_back(connection: Connection) -> None:
    add_run(connection, 1, status="failed")
    door(connection, "resolve(1)")

    assert [door(connection, "unresolve(%s::int8)", id) for id in (1, 1, 2)] == ["unresolved", "failed", None]
    assert dead(connection) == [1]


def test_a_note_that_is_too_long_is_refused_in_words(connection: Connection) -> None:
    add_run(connection, 1, status="failed")

    with pytest.raises(psycopg.errors.InvalidParameterValue, match="the limit is 4096"):
        door(connection, "resolve(1, repeat('ä', 2049))")


# A resolution goes with the end that it is about


@pytest.mark.parametrize("call", ["retry(%s::int8)", "retry_jobs(ARRAY[%s::int8])"])
def test_a_retry_removes_the_resolution(call: str, work: Work, connection: Connection) -> None:
    id = fail(work, connection)
    door(connection, "resolve(%s::int8)", id)

    door(connection, call, id)

    assert resolved(connection) == {}
    work.claim()
    work.end(id, 2, final=True)
    assert dead(connection) == [id]


def test_deleting_a_job_removes_its_resolution_and_no_other(connection: Connection, operator: Any) -> None:
    for id in (1, 2):
        add_run(connection, id, status="failed")
        door(connection, "resolve(%s::int8)", id)

    bulk.delete_jobs(operator, [1])

    assert set(resolved(connection)) == {2}


def test_resolutions_are_pruned_once_their_jobs_have_left_history(connection: Connection, database: str) -> None:
    """One of a partition that has not been dropped yet stays, else the job would be a dead letter once more."""
    for id in (1, 2, 3):
        add_run(connection, id, status="failed", finished_at=ago(60))
        door(connection, "resolve(%s::int8)", id)
    connection.execute("UPDATE pgtask.resolutions SET resolved_at = now() - interval '20 days' WHERE job_id <> 3")
    connection.execute("ALTER TABLE pgtask.runs DISABLE TRIGGER USER")
    connection.execute("DELETE FROM pgtask.runs WHERE job_id <> 2")

    with closing(connect(database, application_name="test")) as upkeep:
        done = partitions.maintain(upkeep)

    assert (done.deleted_resolutions, set(resolved(connection))) == (1, {2, 3})


def test_resolving_waits_for_a_retry_under_way(database: str, connection: Connection) -> None:
    add_run(connection, 1, status="failed", task="t")
    answers: list[Any] = []
    with psycopg.connect(database) as other, psycopg.connect(database, autocommit=True) as waiting:
        other.execute("SELECT pgtask.retry(1)")
        thread = threading.Thread(target=lambda: answers.append(door(waiting, "resolve(1)")))
        thread.start()
        while not number(connection, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            pass
        other.commit()
        thread.join()

    assert answers == ["active"]
    assert resolved(connection) == {}


# Putting many back


def test_many_are_put_back_as_one_is(work: Work, connection: Connection, operator: Any) -> None:
    columns: dict[str, Any] = {
        "scheduled_at": ago(50),
        "priority": 2,
        "max_retries": 7,
        "retry_strategy": "fixed",
        "retry_delay": 3.0,
        "max_retry_delay": 4.0,
        "timeout": 5.0,
        "traceparent": "00-1",
        "tags": ["a"],
        "concurrency_key": "c",
        "dead_letter": Jsonb({"job_id": 1}),
        "payload": {"n": 1},
    }
    one, other = fail(work, connection, **columns), fail(work, connection, **columns)

    connection.execute("SELECT pgtask.retry(%s)", [one])
    bulk.retry_jobs(operator, [other])

    differ = {"id", "scheduled_at", "created_at"}
    first, second = live(connection, one), live(connection, other)
    assert {name: value for name, value in first.items() if name not in differ} == {
        name: value for name, value in second.items() if name not in differ
    }
    for id, row in ((one, first), (other, second)):
        (run,) = runs(connection, id)
        assert (run["final"], run["status"]) == (False, None)
        assert (run["scheduled_at"], run["created_at"]) == (row["scheduled_at"], row["created_at"])


def test_each_of_many_gets_its_own_answer(work: Work, connection: Connection, operator: Any) -> None:
    failed, held, free = (
        fail(work, connection),
        fail(work, connection, unique_key="k"),
        fail(work, connection, unique_key="l"),
    )
    add_run(connection, 9001, status="completed")
    (holder,) = insert(connection, "t", unique_key="k")

    answers = bulk.retry_jobs(operator, [9001, holder, free, held, 9002, failed])

    assert answers == [
        Answer(9001, "completed"),
        Answer(holder, "active"),
        Answer(free, "pending"),
        Answer(held, "held", f"job {held} cannot be retried: job {holder} holds its unique key k"),
        Answer(9002, None),
        Answer(failed, "pending"),
    ]
    assert {failed, free} <= {row["id"] for row in (live(connection, id) for id in (failed, free))}
    assert ended(connection, held)["status"] == "failed"


def test_two_with_the_same_key_cannot_both_come_back(work: Work, connection: Connection, operator: Any) -> None:
    first, second = fail(work, connection, unique_key="k"), fail(work, connection, unique_key="k")

    answers = bulk.retry_jobs(operator, [first, second])

    assert [answer.answer for answer in answers] == ["pending", "held"]


def test_workers_are_told_of_the_oldest_that_came_back_to_each_lane(
    work: Work, connection: Connection, operator: Any
) -> None:
    ids = [fail(work, connection, scheduled_at=ago(age)) for age in (10, 30, 20)]
    oldest = final(connection, ids[1])["scheduled_at"]  # type: ignore[index]
    connection.execute("LISTEN pgtask")

    bulk.retry_jobs(operator, ids)

    heard = [n.payload for n in connection.notifies(timeout=5, stop_after=1)]
    (rewind,) = [payload for payload in heard if "rewind" in payload]
    assert f'"at" : {oldest.timestamp():.6f}' in rewind


def test_a_rate_spreads_them_in_the_order_in_which_they_failed(
    work: Work, connection: Connection, operator: Any
) -> None:
    ids = [fail(work, connection) for _ in range(3)] + [fail(work, connection, unique_key=str(n)) for n in range(2)]
    retry = bulk.Pace(Rate.parse("60/min"))

    retry(operator, [ids[2], ids[0], 9000])
    retry(operator, [ids[1], ids[4], ids[3]])

    due = [live(connection, id)["scheduled_at"] for id in (ids[0], ids[2], ids[1], ids[3], ids[4])]
    assert [instant - due[0] for instant in due] == [timedelta(seconds=n) for n in range(5)]
    assert number(connection, "SELECT extract(epoch FROM now() - %s) BETWEEN 0 AND 60", [due[0]])


def test_two_callers_do_not_put_a_job_back_twice(database: str, connection: Connection) -> None:
    for id in range(1, 201):
        add_run(connection, id, status="failed", task="t")
    answers: list[Answer] = []

    def retry(ids: list[int]) -> None:
        with closing(connect(database, application_name="test")) as own:
            answers.extend(bulk.retry_jobs(own, ids))

    threads = [threading.Thread(target=retry, args=[list(ids)]) for ids in (range(1, 201), range(200, 0, -1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answer.answer or "" for answer in answers) == ["active"] * 200 + ["pending"] * 200


# Finding them


def test_a_filter_finds_what_it_says(connection: Connection, operator: Any) -> None:
    add_run(connection, 1, status="failed", task="mail.send", queue="mail", error_type="TimeoutError", tags=["a"])
    add_run(connection, 2, status="failed", task="mail.read", queue="mail", error_type="ValueError", tags=["b"])
    add_run(connection, 3, status="quarantined", task="x", error_type="ProcessDied", finished_at=ago(7200))

    def found(**wanted: Any) -> list[int]:
        return sorted(job.id for job in dead_letters.list_dead_letters(operator, DeadLetterFilter(**wanted)).jobs)

    now = operator.execute("SELECT now()").fetchone()[0]
    assert found() == [1, 2, 3]
    assert found(task="mail.*") == [1, 2]
    assert found(queue="mail", error_type="Value*") == [2]
    assert found(status="quarantined") == [3]
    assert found(tag="a") == [1]
    assert found(since=now - timedelta(hours=1)) == [1, 2]
    assert found(task="mail_send") == []


def test_pages_go_on_where_the_one_before_ended(connection: Connection, operator: Any) -> None:
    """Also where several ended at the same instant."""
    for id in range(1, 8):
        add_run(connection, id, status="failed", finished_at=ago(100 * (id % 3)))
    expected = [
        row[0] for row in connection.execute("SELECT id FROM pgtask.dead_letters ORDER BY finished_at DESC, id DESC")
    ]

    pages, before = [], None
    for _ in range(4):
        page = dead_letters.list_dead_letters(operator, ALL, before=before, limit=2)
        pages.append([job.id for job in page.jobs])
        before = page.next

    assert pages == [expected[0:2], expected[2:4], expected[4:6], expected[6:]]
    assert before is None


def test_what_fails_again_meanwhile_is_not_met_twice(work: Work, connection: Connection, operator: Any) -> None:
    ids = [fail(work, connection) for _ in range(4)]
    matching = dead_letters.count_dead_letters(operator, ALL)
    assert matching.latest

    met = []
    for batch in dead_letters.batches(operator, ALL, matching.latest, size=2):
        met += batch
        bulk.retry_jobs(operator, batch)
        for claimed in work.claim():
            work.end(claimed.id, claimed.attempt, final=True)

    assert (matching.number, matching.exact) == (4, True)
    assert met == ids
    assert len(dead(connection)) == 4


def test_groups_count_what_failed_alike(connection: Connection, operator: Any) -> None:
    for id, age in ((1, 30), (2, 10), (3, 20)):
        add_run(connection, id, status="failed", task="mail", error_type="TimeoutError", finished_at=ago(age))
    add_run(connection, 4, status="failed", task="mail", error_type=None)

    first, second = dead_letters.group_dead_letters(operator, ALL)

    assert (first.task, first.error_type, first.count, first.last_id) == ("mail", "TimeoutError", 3, 2)
    assert (first.last_at - first.first_at).total_seconds() == pytest.approx(20, abs=5)
    assert (second.error_type, second.count, second.last_id) == (None, 1, 4)


# Copies


@pytest.fixture
def mail(connection: Connection) -> None:
    """A queue whose failures are copied to another."""
    connection.execute("INSERT INTO pgtask.queues (name, dead_letter_queue) VALUES ('mail', 'mail_dead')")


def copies(connection: Connection) -> list[dict[str, Any]]:
    """The live copies, oldest first."""
    ids = connection.execute("SELECT id FROM pgtask.jobs WHERE dead_letter IS NOT NULL ORDER BY id").fetchall()
    return [live(connection, id) for (id,) in ids]


@pytest.mark.usefixtures("mail")
def test_a_copy_has_what_the_job_had_and_what_it_ended_with(work: Work, connection: Connection) -> None:
    given: dict[str, Any] = {"payload": {"to": "a"}, "priority": 2, "tags": ["x", "y"]}
    policy: dict[str, Any] = {"max_retries": 0, "retry_delay": 3.0, "timeout": 4.0}
    policy |= {"unique_key": "u", "concurrency_key": "c"}
    id = fail(work, connection, queue="mail", **given, **policy)

    (copy,) = copies(connection)

    run = ended(connection, id)
    assert {name: copy[name] for name in given} == given
    assert (copy["task"], copy["queue"], copy["status"], copy["attempt"]) == ("t", "mail_dead", "pending", 0)
    assert {name: copy[name] for name in policy} == dict.fromkeys(policy)
    assert number(connection, "SELECT (scheduled_at <= now())::int FROM pgtask.jobs WHERE id = %s", [copy["id"]]) == 1
    assert copy["id"] == run["copy_id"] != id
    told = copy["dead_letter"]
    assert told == {
        "job_id": id,
        "queue": "mail",
        "status": "failed",
        "attempt": 1,
        "retry_count": 1,
        "created_at": told["created_at"],
        "finished_at": told["finished_at"],
        "error_type": "Error",
        "error": "it failed",
    }
    times = connection.execute("SELECT %s::timestamptz, %s::timestamptz", [told["created_at"], told["finished_at"]])
    assert times.fetchone() == (run["created_at"], run["finished_at"])


@pytest.mark.usefixtures("mail")
def test_only_what_failed_for_good_is_copied(work: Work, connection: Connection) -> None:
    ids = insert(connection, "t", queue="mail", count=4)
    work.claim(10, ("mail", 1))
    connection.execute("UPDATE pgtask.jobs SET cancel_requested_at = now() WHERE id = %s", [ids[3]])

    work.end(ids[0], 1, "failed")
    work.end(ids[1], 1, "cancelled", final=True)
    work.complete((ids[2], 1))
    work.end(ids[3], 1, "failed", final=True)
    fail(work, connection)

    assert copies(connection) == []
    assert number(connection, "SELECT count(*) FROM pgtask.runs WHERE copy_id IS NOT NULL") == 0


@pytest.mark.usefixtures("mail")
def test_a_copy_that_fails_is_not_copied_again(work: Work, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, dead_letter_queue) VALUES ('mail_dead', 'mail')")
    fail(work, connection, queue="mail")

    (claimed,) = work.claim(1, ("mail_dead", 1))
    work.end(claimed.id, 1, final=True)

    assert copies(connection) == []
    assert claimed.id in dead(connection)


@pytest.mark.usefixtures("mail")
def test_each_end_has_its_copy(work: Work, connection: Connection) -> None:
    id = fail(work, connection, queue="mail")
    connection.execute("SELECT pgtask.retry(%s)", [id])
    (claimed,) = work.claim(1, ("mail", 1))
    work.end(id, claimed.attempt, final=True)

    assert [copy["dead_letter"]["attempt"] for copy in copies(connection)] == [1, 2]


@pytest.mark.usefixtures("mail")
@pytest.mark.parametrize("error", ["a" * 5000, "ä" * 5000, "a" + "😀" * 3000, "b" * 4096, "é" * 2048])
def test_the_error_of_a_copy_is_bounded_in_bytes(error: str, work: Work, connection: Connection) -> None:
    (id,) = insert(connection, "t", queue="mail")
    work.claim(1, ("mail", 1))

    work.end(id, 1, final=True, error=error)

    (copy,) = copies(connection)
    kept = copy["dead_letter"]["error"]
    assert error.startswith(kept)
    assert 4093 <= len(kept.encode()) <= 4096


@pytest.mark.usefixtures("mail")
def test_a_copy_that_is_refused_does_not_keep_the_job_from_ending(work: Work, connection: Connection) -> None:
    connection.execute("ALTER TABLE pgtask.jobs ADD CONSTRAINT none_there CHECK (queue <> 'mail_dead')")

    id = fail(work, connection, queue="mail")

    assert copies(connection) == []
    assert dead(connection) == [id]


@pytest.mark.usefixtures("mail")
def test_the_copy_and_the_end_are_one(make_work: Callable[..., Work], connection: Connection) -> None:
    """The statement that ends the job writes the copy, so that what undoes the one undoes the other."""
    work = make_work()
    (id,) = insert(connection, "t", queue="mail")
    work.claim(1, ("mail", 1))
    connection.execute("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$")
    connection.execute(
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON pgtask.runs DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION refuse()"
    )

    with pytest.raises(psycopg.Error, match="no"):
        work.end(id, 1, final=True)

    assert live(connection, id)["status"] == "running"
    assert copies(connection) == []


def test_what_is_not_copied_wakes_nobody(work: Work, connection: Connection) -> None:
    """An INSERT in the statement would, with or without rows."""
    connection.execute("SELECT setval('pgtask.idle_until', (extract(epoch FROM now() + interval '1 h') * 1000)::int8)")
    (id,) = insert(connection, "t")
    work.claim()
    connection.execute("LISTEN pgtask")

    work.end(id, 1, final=True)

    connection.execute("NOTIFY pgtask, 'mark'")
    assert [n.payload for n in connection.notifies(timeout=5, stop_after=1)] == ["mark"]


@pytest.mark.usefixtures("mail")
def test_a_copy_wakes_a_worker_that_is_asleep(work: Work, connection: Connection) -> None:
    (id,) = insert(connection, "t", queue="mail")
    work.claim(1, ("mail", 1))
    connection.execute("SELECT setval('pgtask.idle_until', (extract(epoch FROM now() + interval '1 h') * 1000)::int8)")
    connection.execute("LISTEN pgtask")

    work.end(id, 1, final=True)

    assert [n.payload for n in connection.notifies(timeout=5, stop_after=1)] == ["enqueued"]


def test_deleting_a_dead_letter_frees_its_unique_key(connection: Connection, operator: Any) -> None:
    for id in (1, 2):
        add_run(connection, id, status="failed" if id == 1 else "completed")
        keep = "INSERT INTO pgtask.unique_keys (unique_key, job_id, scope) VALUES (%s, %s, 'always')"
        connection.execute(keep, [f"k{id}", id])

    assert [answer.answer for answer in dead_letters.delete_jobs(operator, [1, 2])] == ["deleted", "completed"]

    assert connection.execute("SELECT unique_key FROM pgtask.unique_keys").fetchall() == [("k2",)]


def test_who_puts_jobs_back_locks_keys_before_runs(work: Work, connection: Connection, database: str) -> None:
    """As deletion does; locked crosswise they would end each other."""
    plain = fail(work, connection)
    (keyed,) = insert(connection, "t")
    connection.execute("DELETE FROM pgtask.jobs WHERE id = %s", [keyed])
    connection.execute(
        "INSERT INTO pgtask.unique_keys (unique_key, job_id, scope) VALUES ('k', %s, 'until_success')", [keyed]
    )
    with psycopg.connect(database) as deleting, psycopg.connect(database, autocommit=True) as retrying:
        deleting.execute("SELECT FROM pgtask.unique_keys WHERE job_id = %s FOR UPDATE", [keyed])
        query = "SELECT job_id FROM pgtask.retry_jobs(%s::int8[], now())"
        thread = threading.Thread(target=retrying.execute, args=(query, [[plain, keyed]]))
        thread.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        eventually(lambda: number(connection, waiting, [retrying.info.backend_pid]) == 1)
        deleting.execute("SELECT FROM pgtask.runs WHERE job_id = %s FOR UPDATE NOWAIT", [plain])
        deleting.rollback()
        thread.join()
    assert live(connection, plain)["status"] == "pending"
