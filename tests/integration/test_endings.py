"""Attempts that did not complete: retried by the policy that holds, given back, or ended for good."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.integration.conftest import Work
from tests.rows import ago, ended, final, insert, job, live, number, runs

# A little more than what is scattered: a statement runs for a moment.
JITTER = 0.101
# As Work.end says of each attempt.
HANDED_IN_AFTER = 0.25


def wait(connection: psycopg.Connection, id: int) -> float:
    """Seconds from the moment when the job's latest attempt was handed in until it is due."""
    waits = (
        "SELECT extract(epoch FROM scheduled_at - (SELECT max(finished_at) FROM pgtask.runs WHERE job_id = id)) * 1e6 "
        "FROM pgtask.jobs WHERE id = %s"
    )
    return number(connection, waits, [id]) / 1e6 - HANDED_IN_AFTER


def fail(work: Work, connection: psycopg.Connection, id: int, times: int = 1) -> None:
    """Lets a job fail so often, each time as soon as it is due."""
    for _ in range(times):
        connection.execute("UPDATE pgtask.jobs SET scheduled_at = now() WHERE id = %s", [id])
        (claimed,) = work.claim()
        assert work.end(id, claimed.attempt)


def test_a_failed_attempt_leaves_a_run_and_the_job_waits_for_its_retry(
    work: Work, connection: psycopg.Connection
) -> None:
    (id,) = insert(connection, "t", {"a": 1})
    work.claim()

    assert work.end(id, 1, "failed", error="no such host")

    row = live(connection, id)
    assert (row["status"], row["attempt"], row["retry_count"], row["crash_count"]) == ("pending", 1, 1, 0)
    assert (row["worker_id"], row["executor"], row["started_at"]) == (None, None, None)
    (run,) = runs(connection, id)
    assert (run["attempt"], run["outcome"], run["final"], run["status"]) == (1, "failed", False, None)
    assert (run["error_type"], run["error"]) == ("Error", "no such host")
    assert run["payload"] is None  # only the final run carries the job's own columns
    assert (run["worker_id"], run["executor"]) == (work.worker_id, 1)
    assert (run["finished_at"] - run["started_at"]).total_seconds() == pytest.approx(0.25, abs=1e-3)


# Whose policy holds


POLICY = ("max_retries", "retry_strategy", "retry_delay", "max_retry_delay")
OF_JOB = (1, "fixed", 1000.0, 9000.0)
OF_TASK = (2, "fixed", 2000.0, 9000.0)
OF_QUEUE = (4, "fixed", 3000.0, 9000.0)
BUILT_IN = (3, "exponential", 15.0, 3600.0)


def set_policies(connection: psycopg.Connection, *, of_job: bool, of_task: bool, of_queue: bool) -> int:
    if of_task:
        connection.execute(
            "INSERT INTO pgtask.tasks (name, max_retries, retry_strategy, retry_delay, max_retry_delay) "
            "VALUES ('t', %s, %s, %s, %s)",
            OF_TASK,
        )
    if of_queue:
        connection.execute(
            "INSERT INTO pgtask.queues (name, max_retries, retry_strategy, retry_delay, max_retry_delay) "
            "VALUES ('default', %s, %s, %s, %s)",
            OF_QUEUE,
        )
    columns: dict[str, Any] = dict(zip(POLICY, OF_JOB, strict=True)) if of_job else {}
    (id,) = insert(connection, "t", **columns)
    return id


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ((True, True, True), OF_JOB),
        ((False, True, True), OF_TASK),
        ((False, False, True), OF_QUEUE),
        ((True, False, False), OF_JOB),
        ((False, False, False), BUILT_IN),
    ],
)
def test_the_policy_is_the_jobs_then_the_tasks_then_the_queues_then_the_built_in(
    sources: tuple[bool, bool, bool],
    expected: tuple[int, str, float, float],
    work: Work,
    connection: psycopg.Connection,
) -> None:
    of_job, of_task, of_queue = sources
    id = set_policies(connection, of_job=of_job, of_task=of_task, of_queue=of_queue)

    fail(work, connection, id)

    assert wait(connection, id) == pytest.approx(expected[2], rel=JITTER, abs=1)
    fail(work, connection, id, expected[0])
    assert ended(connection, id)["retry_count"] == expected[0] + 1


def test_each_column_of_the_policy_is_inherited_by_itself(work: Work, connection: psycopg.Connection) -> None:
    connection.execute("INSERT INTO pgtask.tasks (name, retry_strategy) VALUES ('t', 'linear')")
    connection.execute("INSERT INTO pgtask.queues (name, retry_delay) VALUES ('default', 100)")
    (id,) = insert(connection, "t", max_retries=9, max_retry_delay=150)

    fail(work, connection, id)
    assert wait(connection, id) == pytest.approx(100, rel=JITTER, abs=1)
    fail(work, connection, id)
    assert wait(connection, id) == pytest.approx(150, rel=JITTER, abs=1)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("fixed", [100, 100, 100, 100, 100]),
        ("linear", [100, 200, 300, 400, 500]),
        ("exponential", [100, 200, 400, 800, 1000]),
    ],
)
def test_the_backoff_grows_by_its_strategy_up_to_its_limit(
    strategy: str, expected: list[float], work: Work, connection: psycopg.Connection
) -> None:
    (id,) = insert(connection, "t", retry_strategy=strategy, retry_delay=100, max_retry_delay=1000, max_retries=-1)
    waits = []
    for _ in expected:
        fail(work, connection, id)
        waits.append(wait(connection, id))

    assert waits == [pytest.approx(seconds, rel=JITTER, abs=1) for seconds in expected]


def test_the_backoff_is_scattered(work: Work, connection: psycopg.Connection) -> None:
    ids = insert(connection, "t", count=30, retry_strategy="fixed", retry_delay=1000)
    work.claim(30)

    for id in ids:
        work.end(id, 1)

    waits = [wait(connection, id) for id in ids]
    assert 899 < min(waits) < 990
    assert 1010 < max(waits) <= 1100


def test_a_long_series_of_retries_does_not_overflow(work: Work, connection: psycopg.Connection) -> None:
    (id,) = insert(connection, "t", max_retries=-1, retry_count=100_000, retry_strategy="exponential")
    work.claim()

    assert work.end(id, 1)

    assert wait(connection, id) == pytest.approx(3600, rel=JITTER, abs=1)


@pytest.mark.parametrize("max_retries", [0, 1, 3])
def test_after_its_retries_a_job_fails_for_good(max_retries: int, work: Work, connection: psycopg.Connection) -> None:
    (id,) = insert(connection, "t", {"a": 1}, max_retries=max_retries, unique_key="k", tags=["x"])

    fail(work, connection, id, max_retries + 1)

    assert job(connection, id) is None
    *earlier, last = runs(connection, id)
    assert [run["attempt"] for run in (*earlier, last)] == list(range(1, max_retries + 2))
    assert [run["final"] for run in earlier] == [False] * max_retries
    assert (last["final"], last["status"], last["outcome"]) == (True, "failed", "failed")
    assert (last["retry_count"], last["claims"]) == (max_retries + 1, max_retries + 1)
    assert (last["payload"], last["unique_key"], last["tags"], last["error"]) == ({"a": 1}, "k", ["x"], "it failed")


def test_without_a_limit_a_job_is_retried_for_ever(work: Work, connection: psycopg.Connection) -> None:
    (id,) = insert(connection, "t", max_retries=-1, retry_count=5000)
    work.claim()

    work.end(id, 1)

    assert live(connection, id)["retry_count"] == 5001


# What an outcome costs


@pytest.mark.parametrize(
    ("outcome", "retries", "crashes"),
    [
        ("failed", 1, 0),
        ("timeout", 1, 0),
        ("crashed", 1, 1),
        ("lost", 0, 0),
        ("released", 0, 0),
        ("snoozed", 0, 0),
    ],
)
def test_what_an_outcome_costs(
    outcome: str, retries: int, crashes: int, work: Work, connection: psycopg.Connection
) -> None:
    (id,) = insert(connection, "t")
    work.claim()

    assert work.end(id, 1, outcome, delay=60.0 if outcome == "snoozed" else None)

    row = live(connection, id)
    assert (row["retry_count"], row["crash_count"]) == (retries, crashes)
    assert [run["outcome"] for run in runs(connection, id)] == [outcome]


def test_an_uncharged_ending_keeps_the_jobs_place(work: Work, connection: psycopg.Connection) -> None:
    (id,) = insert(connection, "t", scheduled_at=ago(77), max_retries=0)
    work.claim()
    before = live(connection, id)["scheduled_at"]

    work.end(id, 1, "released")

    assert live(connection, id)["scheduled_at"] == before


def test_a_snooze_waits_as_long_as_it_says_and_costs_no_retry(work: Work, connection: psycopg.Connection) -> None:
    (id,) = insert(connection, "t", max_retries=0)
    work.claim()

    work.end(id, 1, "snoozed", delay=500.0)

    assert wait(connection, id) == pytest.approx(500, abs=2)
    assert live(connection, id)["status"] == "pending"


def test_a_delay_replaces_the_backoff_and_is_exact(work: Work, connection: psycopg.Connection) -> None:
    (id,) = insert(connection, "t", retry_delay=5, max_retry_delay=10)
    work.claim()

    work.end(id, 1, "failed", delay=5000.0)

    assert wait(connection, id) == pytest.approx(5000, abs=2)
    assert live(connection, id)["retry_count"] == 1


def test_a_final_failure_ends_the_job_whatever_retries_are_left(work: Work, connection: psycopg.Connection) -> None:
    (id,) = insert(connection, "t", max_retries=-1)
    work.claim()

    work.end(id, 1, "failed", final=True)

    run = ended(connection, id)
    assert (run["status"], run["outcome"], run["retry_count"]) == ("failed", "failed", 1)


def test_an_attempt_that_never_started_leaves_no_run(work: Work, connection: psycopg.Connection) -> None:
    (id,) = insert(connection, "t")
    work.claim()

    assert work.end(id, 1, "released", started=None, error=None)

    assert (runs(connection, id), live(connection, id)["status"]) == ([], "pending")


# A cancel request wins


@pytest.mark.parametrize("outcome", ["failed", "timeout", "crashed", "lost", "released", "snoozed", "cancelled"])
@pytest.mark.parametrize("started", [0.5, None])
def test_a_cancel_request_ends_the_job_whatever_the_outcome(
    outcome: str, started: float | None, work: Work, connection: psycopg.Connection
) -> None:
    (id,) = insert(connection, "t", max_retries=-1)
    work.claim()
    assert connection.execute("SELECT pgtask.cancel(%s)", [id]).fetchone() == ("requested",)

    assert work.end(id, 1, outcome, started=started, final=outcome == "cancelled")

    assert job(connection, id) is None
    (run,) = runs(connection, id)
    assert (run["status"], run["final"]) == ("cancelled", True)
    assert run["attempt"] == (None if started is None else 1)
    charged = outcome in ("failed", "timeout", "crashed")
    assert run["outcome"] == (outcome if charged else "cancelled")


def test_a_job_that_completes_first_stays_completed(work: Work, connection: psycopg.Connection) -> None:
    (id,) = insert(connection, "t")
    work.claim()
    connection.execute("SELECT pgtask.cancel(%s)", [id])

    assert work.complete((id, 1)) == {id}

    assert ended(connection, id)["status"] == "completed"
    assert connection.execute("SELECT pgtask.cancel(%s)", [id]).fetchone() == ("completed",)


def test_a_handlers_own_cancel_ends_the_job_as_cancelled(work: Work, connection: psycopg.Connection) -> None:
    (id,) = insert(connection, "t")
    work.claim()

    work.end(id, 1, "cancelled", final=True)

    run = ended(connection, id)
    assert (run["status"], run["outcome"], run["retry_count"]) == ("cancelled", "cancelled", 0)


def test_a_cancel_request_that_is_being_made_is_waited_for(
    database: str, work: Work, connection: psycopg.Connection
) -> None:
    (id,) = insert(connection, "t", max_retries=-1)
    work.claim()
    import threading

    with psycopg.connect(database) as caller:
        caller.execute("SELECT pgtask.cancel(%s)", [id])
        ending = threading.Thread(target=work.end, args=(id, 1, "failed"))
        ending.start()
        until_blocked(connection)
        caller.commit()
    ending.join()

    assert ended(connection, id)["status"] == "cancelled"


def until_blocked(connection: psycopg.Connection) -> None:
    """Waits until some session waits for another's lock."""
    deadline = time.monotonic() + 10
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while not number(connection, waiting):
        assert time.monotonic() < deadline


# Fencing and what goes with it


@pytest.mark.parametrize("change", ["attempt", "worker", "status"])
def test_an_ending_by_one_who_no_longer_owns_the_job_is_refused(
    change: str, work: Work, make_work: Callable[..., Work], connection: psycopg.Connection
) -> None:
    (id,) = insert(connection, "t", max_retries=0)
    work.claim()
    late: Any = make_work() if change == "worker" else work
    if change == "status":
        connection.execute("UPDATE pgtask.jobs SET status = 'pending' WHERE id = %s", [id])
    before = job(connection, id)

    assert not late.end(id, 2 if change == "attempt" else 1)

    assert (job(connection, id), runs(connection, id)) == (before, [])


def test_what_is_given_back_rewinds_the_lane(database: str, work: Work, connection: psycopg.Connection) -> None:
    (id,) = insert(connection, "t", queue="q", priority=7, scheduled_at=ago(60))
    work.claim(10, ("q", 7))
    connection.execute("LISTEN pgtask")

    work.end(id, 1, "released", started=None)

    (notice,) = connection.notifies(timeout=5, stop_after=1)
    assert '"rewind" : "q", "priority" : 7' in notice.payload


def test_the_same_ending_counts_once(work: Work, connection: psycopg.Connection) -> None:
    (id,) = insert(connection, "t")
    work.claim()

    assert work.end(id, 1)
    assert not work.end(id, 1)
    assert live(connection, id)["retry_count"] == 1
    assert final(connection, id) is None
