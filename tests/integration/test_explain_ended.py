"""Who runs a job, why one has ended as it did, and why it has run more than once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pgtask.database import ownership
from pgtask.database.roles import Role
from tests.command_line import add_live_worker, add_run
from tests.logins import Logins
from tests.reasons import add_limit, codes, headline, reason, reasons
from tests.rows import Connection, add_row, add_worker, ago, expire, insert, number


@pytest.fixture
def connection(standing_connection: Connection) -> Connection:
    """No time passes, so that what is told of an instant is exact."""
    return standing_connection


# Running


def start(connection: Connection, worker_id: int, **columns: Any) -> int:
    """A job that has been running for 5 s."""
    values: dict[str, Any] = {
        "status": "running",
        "attempt": 1,
        "executor": 2,
        "started_at": ago(5),
        "worker_id": worker_id,
    }
    return insert(connection, "t", **values, **columns)[0]


def test_a_running_job_says_where_it_runs(connection: Connection) -> None:
    worker = add_live_worker(connection, "web-1", host="alpha")
    id = start(connection, worker, progress=40, progress_message="decoded")

    (found,) = reasons(connection, id)

    assert (found.code, found.blocking) == ("running", False)
    assert found.text == (
        f"It has been running for 5 s on web-1 (worker {worker}), host alpha, in executor 2, as attempt 1. "
        "Progress: 40 % decoded."
    )
    assert (found.details["worker_id"], found.details["worker"]) == (worker, "web-1")


def test_a_silent_worker_comes_first(connection: Connection) -> None:
    worker = add_live_worker(connection, "web-1", host="alpha", heartbeat_at=ago(95), expires_at=ago(65))
    id = start(connection, worker)

    assert codes(connection, id) == ["worker_lost", "running"]
    found = headline(connection, id)
    assert re.fullmatch(
        rf"The worker that runs it is silent: web-1 \(worker {worker}\) on alpha was last heard of 1 m 35 s ago, at .*"
        r"\. No other is alive to take the job back\. Start one: pgtask worker",
        found.text,
    )
    add_live_worker(connection)
    assert headline(connection, id).text.endswith(
        "Another worker takes the job back in a moment, uncharged, and it runs again."
    )


def test_a_worker_of_which_no_row_is_left(connection: Connection) -> None:
    id = start(connection, 99)

    assert headline(connection, id).text.startswith("The worker that runs it is silent: worker 99 is known no more. ")


def test_a_request_to_stop_and_an_overrun_timeout(connection: Connection) -> None:
    worker = add_live_worker(connection)
    add_row(connection, "queues", name="mail", timeout=60.0)
    id = start(connection, worker, queue="mail", cancel_requested_at=ago(20))
    assert codes(connection, id) == ["cancel_requested", "running"]
    assert headline(connection, id).text == "It was asked to stop 20 s ago and still runs."

    connection.execute("UPDATE pgtask.jobs SET cancel_requested_at = NULL, started_at = now() - interval '90 s'")
    assert codes(connection, id) == ["overdue", "running"]
    assert headline(connection, id).text == (
        "It has run for 1 m 30 s, longer than its timeout of 1 m: it is being stopped."
    )
    connection.execute("UPDATE pgtask.jobs SET timeout = 100")
    assert codes(connection, id) == ["running"]


def test_what_hangs_on_a_running_job(connection: Connection) -> None:
    worker = add_live_worker(connection, "web-1", stopping_at=ago(3))
    id = start(connection, worker)
    add_row(connection, "circuits", task="t", state="half_open", probe_job_id=id, probe_attempt=1)
    add_row(connection, "limit_holds", job_id=id, attempt=1, in_queue=True, queue="mail", concurrency_key="k")

    assert codes(connection, id) == ["running", "worker_stopping", "probe", "holds"]
    assert reason(connection, id, "worker_stopping").text == (
        f"web-1 (worker {worker}) has been shutting down for 3 s: "
        "what does not end within its grace period is given back, uncharged."
    )
    assert "It is the probe of the circuit of task t" in reason(connection, id, "probe").text
    assert reason(connection, id, "holds").text == (
        "It counts against max_workers of queue mail and concurrency key k: others wait until it ends."
    )


# Ended


def end(connection: Connection, status: str, **columns: Any) -> int:
    """A job that ended 3 m ago, after 2 s; its id."""
    id = number(connection, "SELECT nextval('pgtask.jobs_id_seq')")
    times = {"finished_at": ago(180), "started_at": ago(182)}
    add_run(connection, id, status, **{"task": "t", **times, **columns})
    return id


def test_a_completed_job(connection: Connection) -> None:
    worker = add_live_worker(connection, "web-1")
    id = end(connection, "completed", worker_id=worker)

    (found,) = reasons(connection, id)

    assert (found.code, found.blocking) == ("completed", False)
    assert found.text == f"It completed 3 m ago, after 2 s on web-1 (worker {worker})."
    assert found.details["remedy"] is None


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"retry_count": 4}, "All its 3 retries are used up."),
        ({"retry_count": 2, "max_retries": 1}, "Its only retry is used up."),
        ({"retry_count": 1, "max_retries": 0}, "It has no retries."),
        ({"retry_count": 1, "error_type": "Discard"}, "Its handler gave it up (Discard), so it was not retried."),
        ({"retry_count": 1}, "It was not retried, though it had retries left."),
        ({"retry_count": 9, "max_retries": -1}, "It was not retried, though it had retries left."),
    ],
)
def test_why_a_job_failed_for_good(connection: Connection, columns: dict[str, Any], why: str) -> None:
    values = {"error_type": "ValueError", "error": "bad\nmore", "worker_id": 7, **columns}
    id = end(connection, "failed", **values)

    found = headline(connection, id)

    assert found.code == "failed"
    assert found.text == (
        f"It failed for good 3 m ago, after 2 s on worker 7: {values['error_type']}: bad. {why} "
        f"Put it back: pgtask jobs retry {id}"
    )


def test_a_quarantined_job(connection: Connection) -> None:
    error = "Its process died: killed by SIGKILL (peak memory 812 MB)."
    id = end(connection, "quarantined", outcome="crashed", crash_count=3, error_type="ProcessDied", error=error)

    found = headline(connection, id)

    assert found.code == "quarantined"
    assert found.text == (
        "It was quarantined 3 m ago, because it had killed its process 3 times while it ran alone. The last time: "
        "ProcessDied: Its process died: killed by SIGKILL (peak memory 812 MB). "
        f"Mend its cause first, then put it back: pgtask jobs retry {id}"
    )


WAITING = {"attempt": None, "started_at": None, "worker_id": None}


@pytest.mark.parametrize(
    ("columns", "code", "text"),
    [
        (WAITING, "cancelled", r"It was cancelled 3 m ago, while it waited\. By whom was not recorded\."),
        ({**WAITING, "error": "replaced by job 9."}, "cancelled", r".* 3 m ago, while it waited: replaced by job 9\."),
        (
            {**WAITING, "error_type": "Expired", "error": "It was not started by then.", "start_by": ago(181)},
            "expired",
            r"It was cancelled 3 m ago, because it was not started in time .* If it is still wanted: pgtask jobs .*",
        ),
        (
            {"error_type": "Cancel", "error": "no such user"},
            "cancelled",
            r"Its own handler cancelled it 3 m ago, after 2 s on worker 7: Cancel: no such user\.",
        ),
        ({}, "cancelled", r"It was cancelled 3 m ago as asked, after 2 s on worker 7\."),
        (
            {"error_type": "JobCancelled", "error": "It was asked to stop and did not: its process was ended."},
            "cancelled",
            r"It was cancelled 3 m ago as asked, after 2 s on worker 7: JobCancelled: .* its process was ended\.",
        ),
        (
            {"outcome": "lost", "error": "Its worker died."},
            "cancelled",
            r"It was cancelled .*: it had been asked to stop, and its attempt then ended as lost, .* Its worker died\.",
        ),
    ],
)
def test_why_a_job_was_cancelled(connection: Connection, columns: dict[str, Any], code: str, text: str) -> None:
    id = end(connection, "cancelled", **{"worker_id": 7, **columns})

    found = headline(connection, id)

    assert found.code == code
    assert re.fullmatch(text, found.text)


def test_cancelling_by_the_door_is_told(connection: Connection) -> None:
    (id,) = insert(connection, "t")
    connection.execute("SELECT pgtask.cancel(%s)", [id])

    assert codes(connection, id) == ["cancelled"]
    assert ", while it waited. By whom was not recorded." in headline(connection, id).text


def test_a_failure_that_somebody_has_dealt_with(connection: Connection) -> None:
    id = end(connection, "failed")
    add_row(connection, "resolutions", job_id=id, resolved_at=ago(60), resolved_by="dana", note="sent by hand.")

    assert codes(connection, id) == ["failed", "resolved"]
    assert reason(connection, id, "resolved").text == "It has been dealt with by dana, 1 m ago: sent by hand."


# More than once


def test_each_attempt_is_told_in_words(connection: Connection) -> None:
    worker = add_live_worker(connection, "web-1")
    gone = add_live_worker(connection, "web-2", expires_at=ago(600), heartbeat_at=ago(630), dead_at=ago(590))
    id = end(connection, "failed", attempt=9, claims=9, error="again", worker_id=worker)
    died = "Its process died: killed by SIGSEGV"
    for attempt, outcome, error in (
        (1, "failed", "bad"),
        (2, "timeout", "It ran longer than its timeout of 5 s."),
        (3, "crashed", died),
        (4, "lost", died),
        (6, "released", "The worker shut down before it ended."),
        (7, "snoozed", None),
        (8, "cancelled", None),
    ):
        times = {"started_at": ago(1000 - attempt * 10), "finished_at": ago(998 - attempt * 10)}
        add_run(connection, id, None, attempt=attempt, outcome=outcome, error=error, worker_id=worker, **times)
    times = {"started_at": ago(950), "finished_at": ago(948)}
    add_run(connection, id, None, attempt=5, outcome="lost", error="Its worker died.", worker_id=gone, **times)

    found = reasons(connection, id)

    assert [row.code for row in found] == ["failed", "ran_more_than_once", *["attempt"] * 9]
    assert found[1].text == (
        "It has been started 9 times: 2 failed, 2 lost, 1 cancelled, 1 crashed, 1 released, 1 snoozed and 1 timeout."
    )
    web, after = rf"web-1 \(worker {worker}\)", r"after 2 s on"
    free = r"It was not charged\."
    for row, text in zip(
        found[2:],
        [
            rf"Attempt 9 failed {after} {web}, 3 m ago: again\.",
            rf"Attempt 8 ended as cancelled {after} {web}, .* ago: no error was recorded\.",
            rf"Attempt 7 put itself off \(snoozed\) {after} {web}, .* ago\. {free}",
            rf"Attempt 6 was cut off and given back {after} {web}, .*: The worker shut down before it ended\. {free}",
            rf"Attempt 5 was lost because its worker died: web-2 \(worker {gone}\) was last heard of .* ago.* {free}",
            rf"Attempt 4 was lost {after} {web}, .*: {died}\. Other jobs ran in that process, so none was charged\.",
            rf"Attempt 3 killed its process {after} {web}, .*: {died}\.",
            rf"Attempt 2 was stopped by its timeout {after} {web}, .* ago: It ran longer than its timeout of 5 s\.",
            rf"Attempt 1 failed {after} {web}, .* ago: bad\.",
        ],
        strict=True,
    ):
        assert re.fullmatch(text, row.text), row.text
    assert [row.details["charged"] for row in found[2:]] == [True, *[False] * 5, True, True, True]


def test_a_job_that_was_put_back_by_hand_says_so(connection: Connection) -> None:
    id = end(connection, "failed", error="bad", worker_id=7)
    connection.execute("SELECT pgtask.retry(%s)", [id])

    assert reason(connection, id, "attempt").text == (
        "Attempt 1 failed after 2 s on worker 7, 3 m ago: bad. The job had ended with that; it was put back by hand."
    )
    assert "ran_more_than_once" not in codes(connection, id)

    connection.execute("SELECT pgtask.cancel(%s)", [id])
    connection.execute("SELECT pgtask.retry(%s)", [id])
    assert re.fullmatch(
        r"It had ended as cancelled while it waited, .* ago\. The job had ended with that; it was put back by hand\.",
        next(row.text for row in reasons(connection, id) if row.code == "attempt"),
    )


def test_attempts_without_a_run_are_counted(connection: Connection) -> None:
    add_live_worker(connection, tasks=["t"])
    (id,) = insert(connection, "t", attempt=3)
    add_run(connection, id, None, attempt=1)

    assert reason(connection, id, "attempts_unrecorded").text == (
        "2 more attempts left no record: given back before the handler began, or pruned since."
    )
    running = start(connection, add_live_worker(connection))
    assert codes(connection, running) == ["running"]


def test_of_many_attempts_the_latest_are_told(connection: Connection) -> None:
    (id,) = insert(connection, "t", attempt=30, max_retries=-1, retry_count=30)
    for attempt in range(1, 31):
        add_run(connection, id, None, attempt=attempt, finished_at=ago(100 - attempt))

    rows = [row for row in reasons(connection, id) if row.code == "attempt"]

    assert [row.details["attempt"] for row in rows] == list(range(30, 10, -1))
    assert reason(connection, id, "attempts_earlier").text == "10 runs came before those."


def test_a_job_that_was_rescued_tells_by_whose_death(connection: Connection) -> None:
    """As the engine writes it, not as this test thinks that it does."""
    dead, rescuer = add_worker(connection), add_worker(connection, age=3600)
    id = start(connection, dead)
    expire(connection, dead)
    assert ownership.bury_dead(connection, rescuer)
    ownership.rescue(connection, rescuer)

    (found,) = (row for row in reasons(connection, id) if row.code == "attempt")

    assert re.fullmatch(
        rf"Attempt 1 was lost because its worker died: test \(worker {dead}\) was last heard of .* ago, at .*",
        found.text,
    )


# Jobs that nobody knows


def test_an_id_that_was_never_given_out(connection: Connection) -> None:
    (found,) = reasons(connection, 5)

    assert (found.code, found.text) == ("not_found", "There is no job 5, and there never was one.")
    assert headline(connection, None).code == "not_found"
    assert headline(connection, -1).details == {"given_out": False}


def test_an_id_whose_history_is_gone(connection: Connection) -> None:
    (id,) = insert(connection, "t")
    connection.execute("DELETE FROM pgtask.jobs")

    found = headline(connection, id)

    assert (found.code, found.details) == ("not_found", {"given_out": True})
    assert found.text.startswith(
        f"There is no job {id} any more: its id was given out once, but its history has been pruned"
    )


# Whatever is missing, it answers


@pytest.mark.parametrize("value", [None, "infinity", "-infinity"])
def test_no_time_makes_it_fail(connection: Connection, value: str | None) -> None:
    add_live_worker(connection, tasks=["t"])
    live = insert(connection, "t", start_by=value, concurrency_key="k")[0]
    running = start(connection, 99)
    ended = end(connection, "failed", start_by=value, started_at=value, retry_count=None, error=None, worker_id=None)
    add_row(
        connection,
        "queues",
        name="default",
        paused_at=value,
        max_workers=1,
        rate_limit=1,
        rate_period=1.0,
        rate_burst=1,
    )
    add_limit(connection, scope="queue", name="default", used=1, **({"free_at": value} if value else {}))
    add_row(connection, "circuits", task="t", state="open", hold_until=value, changed_at=value or "now")
    connection.execute("UPDATE pgtask.jobs SET cancel_requested_at = %s, started_at = %s", [value, value])

    for id in (live, running, ended):
        for row in reasons(connection, id):
            assert row.text
            assert row.details is not None


def test_missing_settings_do_not_make_it_fail(connection: Connection) -> None:
    connection.execute("DELETE FROM pgtask.settings")
    low, high = (insert(connection, "t", priority=priority, scheduled_at=ago(500))[0] for priority in (0, 1))

    assert codes(connection, low) == ["no_worker", "jobs_ahead"]
    assert codes(connection, high) == ["no_worker", "next"]


# Who may ask


@pytest.fixture
def asking(logins: Logins, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection[Any]]:
    with closing(psycopg.connect(logins.make(request.param), autocommit=True)) as opened:
        yield opened


@pytest.mark.parametrize("asking", [Role.READER, Role.OPERATOR, Role.WORKER], indirect=True)
def test_each_role_that_may_read_gets_the_same_answer(connection: Connection, asking: psycopg.Connection[Any]) -> None:
    waiting = insert(connection, "t", count=3, priority=0, scheduled_at=ago(500))[1]
    running = start(connection, add_live_worker(connection, tasks=["t"]), priority=2)
    failed = end(connection, "failed", worker_id=1)
    connection.execute("UPDATE pgtask.jobs SET schedule_id = 7, unique_key = id::text")
    connection.commit()

    for id in (waiting, running, failed, 4711):
        assert codes(asking, id) == codes(connection, id)


def test_asking_changes_nothing_and_takes_no_locks(connection: Connection, database: str) -> None:
    ids = [*insert(connection, "t", count=2), start(connection, 1), end(connection, "failed")]
    connection.commit()
    with psycopg.connect(database) as other:
        other.execute("SET default_transaction_read_only = on")
        for id in ids:
            reasons(other, id)
        taken = other.execute(
            sql.SQL(
                "SELECT DISTINCT mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype IN ('relation', 'tuple')"
            )
        ).fetchall()
    assert taken == [("AccessShareLock",)]


def test_it_is_quick_with_a_long_backlog_that_was_enqueued_at_once(connection: Connection) -> None:
    """It reads no more rows than it may count."""
    add_live_worker(connection, tasks=["t"], running=20)
    ids = insert(connection, "t", count=200_000, scheduled_at=ago(10))
    insert(connection, "t", count=1000, priority=2, scheduled_at=ago(10))
    connection.execute("ANALYZE pgtask.jobs")
    read = "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'jobs'"
    for id in (ids[0], ids[100_000], ids[-1]):
        with connection.transaction():
            before = number(connection, read)
            assert "jobs_ahead" in codes(connection, id)
            assert number(connection, read) - before < 30_000
