"""What becomes of an attempt by what its handler did."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pgtask import Cancel, Discard, JobCancelled, JobTimeout, PayloadError, Retry, Snooze
from pgtask.engine import classify
from pgtask.engine.attempt import Attempt
from pgtask.engine.handler import bad_payload, conclude


def attempt(timeout: float | None = None) -> Attempt:
    return Attempt(1, 1, "t", "q", 1, {}, timeout, 0, 0.0)


def returned(value: Any) -> Attempt:
    made = attempt()
    classify.returned(made, value)
    return made


def raised(error: BaseException, timeout: float | None = None) -> Attempt:
    made = attempt(timeout)
    try:
        handler(error)
    except BaseException as caught:  # noqa: BLE001 - every kind is tried
        conclude(made, caught)
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
