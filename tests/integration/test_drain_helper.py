"""`pgtask.testing` on a database: draining, looking at what was enqueued, and letting time pass."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from pgtask import JobContext, PgTask, Retry, Snooze
from pgtask.model.errors import PgTaskError
from pgtask.model.retry import RetryPolicy
from pgtask.testing import Inline, advance, assert_enqueued, drain, enqueued, inline
from tests.rows import ended, insert, live, number, runs

Connection = psycopg.Connection[Any]
Make = Callable[..., PgTask]


@pytest.fixture
def app(database: str) -> Iterator[PgTask]:
    """An application on the test's database; its handlers are closures, which no other process could import."""
    with PgTask(database) as app:

        @app.task(name="double")
        def double(number: int) -> int:
            return 2 * number

        @app.task(name="double_async")
        async def double_async(number: int) -> int:
            await asyncio.sleep(0)
            return 2 * number

        @app.task(name="fail", retry=Retry.fixed(600))
        def fail() -> None:
            raise ValueError("it broke")

        yield app


def test_everything_due_runs_in_a_workers_order_and_is_returned(app: PgTask, connection: Connection) -> None:
    low = app.tasks["double"].options(priority="low").enqueue(number=1)
    high = app.tasks["double_async"].options(priority="high").enqueue(number=2)
    (plain,) = insert(connection, "double", {"number": 3})
    later = app.tasks["double"].options(delay=600).enqueue(number=4)
    unknown = insert(connection, "unknown")

    ran = drain(app)

    assert [(r.job_id, r.outcome, r.status, r.result) for r in ran] == [
        (high.id, "completed", "completed", 4),
        (plain, "completed", "completed", 6),
        (low.id, "completed", "completed", 2),
    ]
    assert high.wait(timeout=0) == 4
    assert {live(connection, id)["status"] for id in [later.id, *unknown]} == {"pending"}
    assert number(connection, "SELECT count(*) FROM pgtask.workers WHERE dead_at IS NULL") == 0
    assert drain(app) == []


def test_what_jobs_enqueue_is_drained_too_but_not_for_ever(app: PgTask, connection: Connection) -> None:
    @app.task(name="chain")
    def chain(left: int) -> None:
        if left:
            chain.enqueue(left=left - 1)

    chain.enqueue(left=2)
    assert [ran.payload["left"] for ran in drain(app)] == [2, 1, 0]

    chain.enqueue(left=-1)
    with pytest.raises(AssertionError, match=r"Still not drained after 5 attempts. The last: job \d+ chain attempt 1"):
        drain(app, limit=5)
    assert number(connection, "SELECT count(*) FROM pgtask.jobs WHERE status = 'pending'") == 1


def test_a_failure_waits_for_its_retry_until_time_passes(app: PgTask, connection: Connection) -> None:
    job = app.tasks["fail"].options(max_retries=1).enqueue()

    (first,) = drain(app)
    assert (first.outcome, first.status, first.error_type) == ("failed", "retrying", "ValueError")
    assert drain(app) == []
    assert advance(app, "9m") == 1
    assert drain(app) == []
    advance(app, "2m")

    (second,) = drain(app)
    assert (second.attempt, second.status) == (2, "failed")
    assert "it broke" in runs(connection, job.id)[1]["traceback"]
    assert "pgtask/testing" not in runs(connection, job.id)[1]["traceback"]


def test_snoozes_progress_and_logs_reach_the_database(app: PgTask, connection: Connection) -> None:
    @app.task(name="speak")
    def speak(ctx: JobContext) -> Any:
        ctx.progress(40, "half")
        ctx.log("hello")
        return Snooze("1h") if ctx.attempt == 1 else "done"

    job = speak.enqueue()

    assert [(ran.status, ran.retry_in) for ran in drain(app)] == [("scheduled", 3600)]
    assert live(connection, job.id)["progress"] == 40
    assert number(connection, "SELECT count(*) FROM pgtask.job_logs WHERE message = 'hello'") == 1
    advance(app, "1h")
    assert [ran.result for ran in drain(app)] == ["done"]


def test_only_the_queues_asked_for_are_drained_and_paused_ones_never(app: PgTask, connection: Connection) -> None:
    double = app.tasks["double"]
    mine = double.options(queue="mine").enqueue(number=1)
    double.options(queue="other").enqueue(number=2)
    double.options(queue="paused").enqueue(number=3)
    connection.execute("INSERT INTO pgtask.queues (name, paused_at) VALUES ('paused', now())")

    assert [ran.job_id for ran in drain(app, queues=["mine"])] == [mine.id]
    assert [ran.queue for ran in drain(app)] == ["other"]


def test_what_ends_the_test_gives_the_job_back(app: PgTask, connection: Connection) -> None:
    @app.task(name="interrupt")
    def interrupt() -> None:
        raise KeyboardInterrupt

    job = interrupt.enqueue()
    with pytest.raises(KeyboardInterrupt):
        drain(app)

    assert live(connection, job.id)["status"] == "pending"
    assert [run["outcome"] for run in runs(connection, job.id)] == ["released"]
    assert number(connection, "SELECT count(*) FROM pgtask.workers WHERE dead_at IS NULL") == 0


def test_a_poison_payload_fails_alone(app: PgTask, connection: Connection) -> None:
    insert(connection, "double", [1])
    insert(connection, "double", {"wrong": 1})

    first, second = drain(app)

    assert (first.status, first.error) == ("failed", "The payload must be a JSON object of keyword arguments, not list")
    assert second.error is not None
    assert "'number' is missing" in second.error


def test_jobs_are_found_by_task_payload_and_queue_whether_ended_or_not(app: PgTask, connection: Connection) -> None:
    double = app.tasks["double"]
    first = double.enqueue(number=1)
    drain(app)
    second = double.options(queue="q").enqueue(number=2)
    app.tasks["fail"].enqueue()

    assert [job.task for job in enqueued(app)] == ["double", "double", "fail"]
    assert [job.id for job in enqueued(double)] == [first.id, second.id]
    assert [job.id for job in assert_enqueued(double, {"number": 2}, queue="q", count=1)] == [second.id]
    assert_enqueued(double, queue="elsewhere", count=0)
    with pytest.raises(AssertionError) as caught:
        assert_enqueued(double, {"number": 2}, queue="default", count=1)
    assert str(caught.value).splitlines() == [
        "Expected 1 job of double with {'number': 2} in queue default; found 0.",
        "Jobs of this task (2):",
        f"  job {first.id} in queue default, completed: {{'number': 1}}",
        f"  job {second.id} in queue q, pending: {{'number': 2}}",
    ]
    with pytest.raises(AssertionError, match=r"No job of this task was enqueued\. There are jobs of: double, fail\."):
        assert_enqueued(app.tasks["double_async"])


def test_an_application_works_on_another_database_for_a_while(app: PgTask, empty_database: str) -> None:
    app.tasks["double"].enqueue(number=1)
    with app.on_database(empty_database), pytest.raises(PgTaskError, match="pgtask db migrate"):
        app.tasks["double"].enqueue(number=2)

    assert len(enqueued(app)) == 1


@pytest.mark.parametrize(
    "policy", [RetryPolicy(), Retry.fixed(20), Retry.linear(20), Retry.exponential(20, max_delay=50)]
)
@pytest.mark.parametrize("max_retries", [None, 0, 2, -1])
def test_inline_mode_and_the_database_agree_on_retries(
    database: str, connection: Connection, policy: RetryPolicy, max_retries: int | None
) -> None:
    """The rules stand in end_jobs.sql for the one and in Python for the other."""
    app = PgTask(database)

    @app.task(name="fail", retry=policy, max_retries=max_retries)
    def fail() -> None:
        raise ValueError("it broke")

    with inline(app) as mode:
        fail.enqueue()
        expected = [_standing(mode)]
        while len(expected) < 5 and mode.run_waiting():
            expected.append(_standing(mode))

    with contextlib.closing(app):
        job = fail.enqueue()
        seen = []
        for _ in range(5):
            if drain(app):
                record = job.refresh().record
                waits = number(
                    connection,
                    "SELECT extract(epoch FROM j.scheduled_at - max(r.finished_at)) * 1000 FROM pgtask.all_jobs j "
                    "JOIN pgtask.runs r ON r.job_id = j.id WHERE j.id = %s GROUP BY j.scheduled_at",
                    [job.id],
                )
                seen.append((record.status, waits / 1000 if record.status == "retrying" else 0))
            advance(app, "2h")

    assert [status for status, _ in seen] == [status for status, _ in expected]
    for (_, wanted), (_, got) in zip(expected, seen, strict=True):
        assert got == pytest.approx(wanted, rel=0.11, abs=4)


@pytest.mark.parametrize(
    ("own", "waits"), [(None, 500), (RetryPolicy("fixed", 100), 100), (RetryPolicy(max_delay=7), 7)]
)
def test_the_policy_of_a_job_counts_more_than_the_delays_of_its_task(
    database: str, connection: Connection, own: RetryPolicy | None, waits: float
) -> None:
    app = PgTask(database)

    @app.task(name="fail", retry_delays=[500])
    def fail() -> None:
        raise ValueError("it broke")

    bound = fail.options(retry=own)
    with inline(app) as mode:
        bound.enqueue()
        _, seconds = _standing(mode)
    assert seconds == pytest.approx(waits, rel=0.01, abs=1)

    with contextlib.closing(app):
        job = bound.enqueue()
        drain(app)
        due = "SELECT extract(epoch FROM scheduled_at - now()) FROM pgtask.jobs WHERE id = %s"
        assert number(connection, due, [job.id]) == pytest.approx(waits, rel=0.11, abs=4)


def _standing(mode: Inline) -> tuple[str, float]:
    """The status of the only job, and the seconds that it waits for its retry."""
    (job,) = mode.jobs
    return job.status, (job.scheduled_at - job.created_at).total_seconds() if job.status == "retrying" else 0


def test_ended_jobs_keep_their_runs(app: PgTask, connection: Connection) -> None:
    job = app.tasks["double"].enqueue(number=5)
    drain(app)

    assert ended(connection, job.id)["result"] == 10
