"""What becomes of an attempt by what its handler did."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pgtask import Cancel, Discard, JobCancelled, JobTimeout, PayloadError, PgTask, Retry, Snooze, TaskError
from pgtask.engine import classify
from pgtask.engine.attempt import Attempt
from pgtask.engine.handler import Handlers, bad_payload
from pgtask.engine.task import Task
from pgtask.model.retry import RetryRules


def attempt(timeout: float | None = None) -> Attempt:
    return Attempt(1, 1, "t", "q", 1, {}, timeout, 0, 0.0)


def returned(value: Any) -> Attempt:
    made = attempt()
    classify.returned(made, value)
    return made


def raised(error: BaseException, timeout: float | None = None, **rules: Any) -> Attempt:
    """What becomes of an attempt at a task that was declared with these rules."""
    made = attempt(timeout)
    made.retry_count = rules.pop("retries", 0)
    task: Task[Any] = PgTask().task(name="t", **rules)(handler)
    handlers = Handlers({"t": task}, lambda *_: None, lambda *_: None)
    try:
        handler(error)
    except BaseException as caught:  # noqa: BLE001 - every kind is tried
        handlers.conclude(made, caught)
    return made


def handler(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(("value", "result"), [(None, None), (0, "0"), ("", '""'), ({"a": (1,)}, '{"a":[1]}')])
def test_what_is_returned_is_the_result(value: Any, result: str | None) -> None:
    made = returned(value)

    assert (made.outcome, made.result, made.error, made.final) == ("completed", result, None, False)


def test_what_cannot_be_stored_is_a_failure_that_may_be_retried() -> None:
    made = returned({1, 2})

    assert (made.outcome, made.result, made.final, made.error_type) == ("failed", None, False, "PayloadError")


@pytest.mark.parametrize(
    ("verdict", "outcome", "final", "delay"),
    [
        (Retry("later"), "failed", False, None),
        (Retry("later", after="1m"), "failed", False, 60.0),
        (Retry(after=0), "failed", False, 0.0),
        (Snooze(timedelta(minutes=1)), "snoozed", False, 60.0),
        (Cancel("enough"), "cancelled", True, None),
        (Discard("hopeless"), "failed", True, None),
    ],
)
def test_a_verdict_may_be_raised_or_returned(verdict: Any, outcome: str, final: bool, delay: float | None) -> None:
    for made in (returned(verdict), raised(verdict)):
        assert (made.outcome, made.final, made.delay) == (outcome, final, delay)
        assert (made.error_type, made.error) == (type(verdict).__name__, str(verdict))
        assert made.traceback is None


def test_an_error_is_recorded_with_its_type_text_and_traceback() -> None:
    made = raised(ValueError("no such host"))

    assert (made.outcome, made.final, made.delay) == ("failed", False, None)
    assert (made.error_type, made.error) == ("ValueError", "no such host")
    assert made.traceback is not None
    assert "in handler" in made.traceback
    assert made.traceback.endswith("ValueError: no such host\n")


def test_an_error_without_a_text_has_its_types_name() -> None:
    assert raised(KeyboardInterrupt()).error == "KeyboardInterrupt"


def test_an_overrun_timeout_says_how_long_it_was() -> None:
    made = raised(JobTimeout("x"), timeout=1.5)

    assert (made.outcome, made.final) == ("timeout", False)
    assert made.error == "It ran longer than its timeout of 1.5 s."


def test_a_cancelled_attempt_ends_the_job() -> None:
    made = raised(JobCancelled("x"))

    assert (made.outcome, made.final) == ("cancelled", True)


@pytest.mark.parametrize("payload", [[1], None, PayloadError("nested too deeply")])
def test_a_payload_for_no_function_is_final(payload: Any) -> None:
    made = raised(bad_payload(payload))

    assert (made.outcome, made.final) == ("failed", True)


def test_long_texts_are_cut_in_the_middle() -> None:
    made = raised(ValueError("a" * 100_000 + "z"))

    assert made.error is not None
    assert made.traceback is not None
    assert made.error.startswith("aaa")
    assert made.error.endswith("z")
    assert len(made.error) < classify.MAX_ERROR + 100
    assert len(made.traceback) < classify.MAX_TRACEBACK + 100


# The rules of the task


class FlakyError(ConnectionError):
    """A kind of ConnectionError."""


def test_what_a_task_stops_on_is_final_and_says_so() -> None:
    made = raised(ValueError("bad value"), stop_on=(KeyError, ValueError))
    assert (made.outcome, made.final) == ("failed", True)
    assert made.error == "bad value (not retried: stop_on of its task)"
    assert not raised(OSError(), stop_on=(KeyError, ValueError)).final


def test_only_what_a_task_retries_on_is_retried_and_kinds_of_it() -> None:
    assert not raised(FlakyError(), retry_on=ConnectionError).final
    made = raised(OSError("gone"), retry_on=ConnectionError)
    assert (made.final, made.error) == (True, "gone (not retried: retry_on of its task)")


def test_what_stops_counts_more_than_what_is_retried() -> None:
    assert raised(FlakyError(), retry_on=(ConnectionError,), stop_on=FlakyError).final


def test_a_timeout_goes_by_the_rules_too() -> None:
    made = raised(JobTimeout(), timeout=3.0, stop_on=JobTimeout)
    assert (made.outcome, made.final) == ("timeout", True)
    assert not raised(JobTimeout(), timeout=3.0, stop_on=ValueError).final


@pytest.mark.parametrize(("retries", "delay"), [(0, 1.0), (1, 60.0), (2, 300.0), (7, 300.0)])
def test_each_retry_waits_its_own_delay_and_further_ones_the_last(retries: int, delay: float) -> None:
    assert raised(OSError(), retry_delays=[1, "1m", timedelta(minutes=5)], retries=retries).delay == delay


@pytest.mark.parametrize(
    ("verdict", "outcome", "final", "delay"),
    [
        (Retry(after=5), "failed", False, 5.0),
        (Discard(), "failed", True, None),
        (Snooze(7), "snoozed", False, 7.0),
        (Cancel(), "cancelled", True, None),
        (JobCancelled(), "cancelled", True, None),
    ],
)
def test_a_verdict_counts_more_than_any_rule(
    verdict: BaseException, outcome: str, final: bool, delay: float | None
) -> None:
    made = raised(verdict, retry_on=ConnectionError, stop_on=BaseException, retry_delays=[100])
    assert (made.outcome, made.final, made.delay) == (outcome, final, delay)


def test_the_number_of_delays_is_that_of_retries_unless_said() -> None:
    app = PgTask()
    assert app.task(name="a", retry_delays=[1, 2])(handler).defaults.max_retries == 2
    assert app.task(name="b", retry_delays=[1, 2], max_retries=-1)(handler).defaults.max_retries == -1
    assert app.task(name="c", stop_on=ValueError)(handler).defaults.max_retries is None


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        (
            {"retry_on": "ConnectionError"},
            "retry_on names exception classes such as ConnectionError, not 'ConnectionError'",
        ),
        ({"stop_on": [ValueError, int]}, "stop_on names exception classes such as ConnectionError, not <class 'int'>"),
        ({"stop_on": 5}, "stop_on names exception classes such as ConnectionError, not 5"),
        ({"retry_delays": ["soon"]}, "soon"),
        ({"retry_delays": 5}, "retry_delays is a list of delays such as"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules: dict[str, Any], complaint: str) -> None:
    with pytest.raises(TaskError, match=complaint):
        PgTask().task(name="t", **rules)(handler)


def test_no_rules_are_none() -> None:
    assert RetryRules.build(None, (), ()) is None
