"""Inline mode runs jobs where they are enqueued, by the rules of a worker."""

from __future__ import annotations

import asyncio
import resource
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pgtask import (
    Cancel,
    Discard,
    JobContext,
    JobFailedError,
    JobNotFoundError,
    JobStateError,
    PayloadError,
    PgTask,
    Retry,
    Snooze,
    Unique,
    UniqueConflictError,
)
from pgtask.testing import Inline, assert_enqueued, enqueued, inline

RAISED: dict[str, BaseException] = {
    "raise": ValueError("it broke"),
    "exit": SystemExit(3),
    "retry": Retry("busy", after=60),
    "cancel": Cancel("not wanted"),
    "discard": Discard("hopeless"),
    "interrupt": KeyboardInterrupt(),
}
RETURNED = {"snooze": Snooze(30), "object": object()}


@pytest.fixture
def app() -> PgTask:
    app = PgTask("postgresql://nobody@nowhere.invalid/nothing")

    @app.task(name="double")
    def double(number: int) -> int:
        return 2 * number

    @app.task(name="double_async")
    async def double_async(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    @app.task(name="act", max_retries=2, retry=Retry.linear(10, max_delay=15))
    def act(how: str) -> Any:
        if how in RAISED:
            raise RAISED[how]
        return RETURNED.get(how, how)

    return app


@pytest.fixture
def mode(app: PgTask) -> Any:
    with inline(app) as mode:
        yield mode


def test_a_job_has_run_when_enqueue_returns(app: PgTask, mode: Inline) -> None:
    job = app.tasks["double"].enqueue(number=21)

    assert job.wait() == 42
    assert (job.status, job.record.attempt, job.record.payload) == ("completed", 1, {"number": 21})
    assert [(ran.task, ran.outcome, ran.status, ran.result) for ran in mode.ran] == [
        ("double", "completed", "completed", 42)
    ]
    assert app.job(job.id).result == 42


def test_coroutines_run_from_plain_code_and_from_a_running_loop(app: PgTask, mode: Inline) -> None:
    double = app.tasks["double_async"]
    assert double.enqueue(number=1).result == 2

    async def main() -> list[Any]:
        return [
            (await double.enqueue_async(number=2)).result,
            (await app.tasks["double"].enqueue_async(number=3)).result,
            double.enqueue(number=4).result,
            await (await double.enqueue_async(number=5)).wait_async(),
        ]

    assert asyncio.run(main()) == [4, 6, 8, 10]


def test_arguments_are_checked_and_encoded_as_for_the_database(app: PgTask, mode: Inline) -> None:
    double = app.tasks["double"]
    with pytest.raises(PayloadError, match="'numbre' is unknown"):
        double.enqueue(numbre=1)
    with pytest.raises(PayloadError, match="has no JSON form"):
        double.enqueue(number=object())
    with pytest.raises(PayloadError, match="the limit is 1048576"):
        double.enqueue(number="x" * 2**20)
    assert mode.jobs == []

    moment = datetime(2030, 1, 1, tzinfo=UTC)
    assert app.tasks["act"].enqueue(how=moment).result == "2030-01-01T00:00:00+00:00"


def test_a_failure_waits_for_its_retry_until_none_is_left(app: PgTask, mode: Inline) -> None:
    job = app.tasks["act"].enqueue(how="raise")

    assert job.status == "retrying"
    assert str(mode.ran[0]) == f"job {job.id} act attempt 1 failed, now retrying: ValueError: it broke"
    trace = mode.ran[0].traceback or ""
    assert "raise RAISED[how]" in trace
    assert "pgtask/" not in trace
    assert _seconds_until_due(job) == pytest.approx(10, abs=1)
    with pytest.raises(TimeoutError, match="is retrying and stays so"):
        job.wait()

    mode.run_waiting()
    assert _seconds_until_due(job.refresh()) == pytest.approx(15, abs=1)
    mode.run_waiting()

    assert [(ran.attempt, ran.status) for ran in mode.ran] == [(1, "retrying"), (2, "retrying"), (3, "failed")]
    assert mode.run_waiting() == []
    with pytest.raises(JobFailedError, match="ended failed: it broke"):
        job.wait()


@pytest.mark.parametrize(
    ("how", "status", "retries", "error_type", "retry_in"),
    [
        ("exit", "retrying", 1, "SystemExit", None),
        ("object", "retrying", 1, "PayloadError", None),
        ("retry", "retrying", 1, "Retry", 60),
        ("snooze", "scheduled", 0, "Snooze", 30),
        ("cancel", "cancelled", 0, "Cancel", None),
        ("discard", "failed", 1, "Discard", None),
    ],
)
def test_verdicts_and_errors_are_judged_as_by_a_worker(
    app: PgTask, mode: Inline, how: str, status: str, retries: int, error_type: str, retry_in: float | None
) -> None:
    job = app.tasks["act"].enqueue(how=how)

    assert (job.status, job.record.retry_count) == (status, retries)
    assert (mode.ran[0].error_type, mode.ran[0].retry_in) == (error_type, retry_in)
    if retry_in is not None:
        assert _seconds_until_due(job) == pytest.approx(retry_in, abs=1)


def test_what_ends_the_test_is_no_failure_of_the_job(app: PgTask, mode: Inline) -> None:
    with pytest.raises(KeyboardInterrupt):
        app.tasks["act"].enqueue(how="interrupt")

    assert [(ran.outcome, ran.status) for ran in mode.ran] == [("released", "pending")]


def test_a_delayed_job_waits_and_holds_its_unique_key(app: PgTask, mode: Inline) -> None:
    bound = app.tasks["double"].options(delay="1h", unique_key="k")
    job, again = bound.enqueue(number=1), bound.enqueue(number=2)

    assert (job.created, again.created, again.id) == (True, False, job.id)
    assert job.status == "scheduled"
    assert [waiting.id for waiting in mode.waiting] == [job.id]

    assert [ran.result for ran in mode.run_waiting()] == [2]
    assert bound.enqueue(number=3).created


def test_waiting_jobs_are_cancelled_and_ended_ones_retried(app: PgTask, mode: Inline) -> None:
    job = app.tasks["double"].options(delay=60).enqueue(number=1)
    with pytest.raises(JobStateError, match="has not ended"):
        job.retry()
    assert job.cancel() == "cancelled"
    assert job.cancel() == "cancelled"
    assert mode.run_waiting() == []

    assert job.retry().result == 2
    with pytest.raises(JobStateError, match="is completed"):
        job.retry()
    with pytest.raises(JobNotFoundError):
        app.job(99)


def test_handlers_see_their_context_and_may_enqueue_and_cancel(app: PgTask, mode: Inline) -> None:
    @app.task(name="parent")
    def parent(ctx: JobContext) -> int:
        ctx.progress(40, "half")
        ctx.log("hello")
        child = app.tasks["double"].enqueue(number=ctx.id)
        assert app.job(ctx.id).cancel() == "requested"
        assert ctx.cancelled
        return child.id

    @app.task(name="obedient")
    def obedient(ctx: JobContext) -> None:
        app.job(ctx.id).cancel()
        ctx.raise_if_cancelled()

    job = parent.enqueue()
    assert (job.status, job.result, job.record.progress) == ("completed", 2, 40)
    assert [line.message for line in mode.logs[job.id]] == ["hello"]
    assert [ran.job_id for ran in mode.ran] == [2, 1]
    assert obedient.enqueue().status == "cancelled"


def test_each_attempt_gets_a_payload_of_its_own(app: PgTask, mode: Inline) -> None:
    @app.task(name="spoil")
    def spoil(numbers: list[int]) -> None:
        numbers.append(len(numbers))
        raise ValueError(numbers)

    job = spoil.enqueue(numbers=[])
    mode.run_waiting()

    assert [ran.error for ran in mode.ran] == ["[0]", "[0]"]
    assert job.record.payload == {"numbers": []}


def test_a_limit_of_memory_does_not_hold_for_the_test_process(app: PgTask, mode: Inline) -> None:
    @app.task(name="modest", isolation="process", memory_limit=2**30)
    def modest() -> bool:
        return resource.getrlimit(resource.RLIMIT_DATA) == before

    before = resource.getrlimit(resource.RLIMIT_DATA)
    assert modest.enqueue().result is True


def test_many_are_made_before_the_first_runs(app: PgTask, mode: Inline) -> None:
    jobs = app.tasks["double"].enqueue_many([{"number": n} for n in range(3)])

    assert [job.result for job in jobs] == [0, 2, 4]


def test_assertions_look_at_the_inline_jobs(app: PgTask, mode: Inline) -> None:
    app.tasks["double"].options(queue="q").enqueue(number=1)
    app.tasks["act"].enqueue(how="fine")

    assert [job.task for job in enqueued(app)] == ["double", "act"]
    assert_enqueued(app.tasks["double"], {"number": 1}, queue="q", count=1)
    with pytest.raises(AssertionError, match=r"Expected at least one job of double with \{'number': 2\}; found 0"):
        assert_enqueued(app.tasks["double"], {"number": 2})


def test_the_application_is_itself_again_afterwards(app: PgTask) -> None:
    own = dict(vars(app))
    with inline(app) as outer:
        with inline(app) as inner:
            app.tasks["double"].enqueue(number=1)
        assert (len(inner.ran), len(outer.ran)) == (1, 0)
        app.tasks["double"].enqueue(number=1)
        assert len(outer.ran) == len(enqueued(app)) == 1

    assert vars(app) == own


def _seconds_until_due(job: Any) -> float:
    due: timedelta = job.record.scheduled_at - datetime.now(UTC)
    return due.total_seconds()


# Unique jobs


def test_a_key_of_each_scope_is_held_as_in_a_database(app: PgTask, mode: Inline) -> None:
    double, act = app.tasks["double"], app.tasks["act"]

    def created(task: Any, scope: str, **payload: Any) -> bool:
        return bool(task.options(unique_by=True, unique_scope=scope).enqueue(**payload).created)

    assert created(double, "active", number=1)
    assert created(double, "waiting", number=1)
    assert created(double, "until_success", number=1)
    assert not created(double, "until_success", number=1)
    # The holder's scope counts, and a key of live jobs alone is another one.
    assert not created(double, "waiting", number=1)
    assert created(double, "active", number=1)
    assert created(double, "always", number=2)
    assert created(act, "until_success", how="discard")
    assert created(act, "until_success", how="discard")
    assert created(act, "always", how="cancel")
    assert not created(act, "always", how="cancel")
    assert created(act, "waiting", how="raise")
    assert not created(act, "waiting", how="raise")
    assert mode.jobs[-1].status == "retrying"


def test_a_key_of_the_payload_is_one_for_whole_numbers_and_any_order(app: PgTask, mode: Inline) -> None:
    @app.task(name="take", unique=Unique(by=["a.n"], scope="always"))
    def take(**values: Any) -> None: ...

    assert take.enqueue(a={"n": 1, "x": 2}).created
    assert not take.enqueue(a={"x": 3, "n": 1.0}, b=1).created
    assert take.enqueue(a={"n": "1"}).created
    assert take.enqueue(a=[]).created
    assert not take.enqueue(b=1).created


def test_a_window_ends(app: PgTask, mode: Inline) -> None:
    bound = app.tasks["double"].options(unique_key="k", unique_scope="always", unique_window="1h", delay="1d")
    first = bound.enqueue(number=1)
    assert not bound.enqueue(number=1).created
    record = mode.jobs[0]
    assert record.unique_until == record.created_at + timedelta(hours=1)

    mode._jobs[first.id] = replace(record, unique_until=record.created_at)
    assert bound.enqueue(number=1).created


def test_a_waiting_holder_is_replaced_or_put_off(app: PgTask, mode: Inline) -> None:
    double = app.tasks["double"]
    first = double.options(unique_key="k", delay="1h", tags=["a"]).enqueue(number=1)

    double.options(unique_key="k", delay="2h", on_conflict="reschedule", max_wait="90m").enqueue(number=2)
    (job,) = mode.jobs
    assert (job.payload, job.scheduled_at - job.created_at) == ({"number": 1}, timedelta(minutes=90))

    double.options(unique_key="k", delay="2h", on_conflict="replace", priority=7).enqueue(number=3)
    (job,) = mode.jobs
    assert (job.id, job.payload, job.priority, job.tags) == (first.id, {"number": 3}, 7, None)

    # Now it is due.
    replaced = double.options(unique_key="k", on_conflict="replace").enqueue(number=4)
    assert (replaced.id, replaced.created, replaced.result) == (first.id, False, 8)


def test_a_conflict_may_be_an_error_or_with_another_task(app: PgTask, mode: Inline) -> None:
    first = app.tasks["double"].options(unique_key="k", delay="1h").enqueue(number=1)

    with pytest.raises(UniqueConflictError) as caught:
        app.tasks["double"].options(unique_key="k", on_conflict="error").enqueue(number=1)
    assert caught.value.job_id == first.id
    with pytest.raises(PayloadError, match="of another task"):
        app.tasks["act"].options(unique_key="k", on_conflict="replace").enqueue(how="return")


def test_a_retry_takes_the_key_again_or_is_refused(app: PgTask, mode: Inline) -> None:
    bound = app.tasks["act"].options(unique_key="k", unique_scope="until_success")
    first = bound.enqueue(how="discard")
    assert first.retry().status == "failed"
    second = bound.enqueue(how="return")

    with pytest.raises(JobStateError, match=f"job {second.id} holds its unique key k"):
        first.retry()


def test_what_was_not_started_in_time_ends_instead(app: PgTask, mode: Inline) -> None:
    start_by = datetime.now(UTC) + timedelta(seconds=0.2)
    late = app.tasks["double"].options(delay=0.1, start_by=start_by).enqueue(number=1)
    in_time = app.tasks["double"].options(delay=60, expires=120).enqueue(number=2)
    while datetime.now(UTC) <= start_by:
        pass
    assert [ran.job_id for ran in mode.run_waiting()] == [in_time.id]
    record = mode.read_job(late.id)
    assert (record.status, record.error_type, record.attempt) == ("cancelled", "Expired", 0)
    assert record.error == f"It was not started by {start_by:%Y-%m-%dT%H:%M:%SZ}"
    late.retry()
    assert mode.read_job(late.id).status == "completed"
