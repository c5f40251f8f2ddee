"""The small rules of the model: durations, priorities, retry policies, verdicts, statuses."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pgtask import Cancel, Discard, JobCancelled, JobTimeout, Retry, Snooze
from pgtask.model.duration import parse_duration
from pgtask.model.retry import RetryPolicy
from pgtask.model.status import FINAL, JobStatus, parse_priority

Written = float | str | timedelta


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (0, 0),
        (1.5, 1.5),
        ("90", 90),
        ("90s", 90),
        ("1.5 m", 90),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("2min", 120),
        ("250ms", 0.25),
        ("1d", 86400),
        ("2w", 1209600),
        ("  5s ", 5),
        (timedelta(minutes=2), 120),
        (1e9, 1e9),
    ],
)
def test_a_duration_is_seconds_however_it_is_written(written: Written, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    ["", " ", "s", "5x", "5 s x", "-5s", "1h-30m", -1, -0.001, float("nan"), float("inf"), "nan", "inf", "1e400", 2e9,
     timedelta(seconds=-1), True, None, [5]],
)  # fmt: skip
def test_what_is_no_duration_is_refused(written: Written) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "number"),
    [("low", 0), ("normal", 1), ("high", 2), ("critical", 3), (-100, -100), (100, 100), ("-7", -7), (0, 0)],
)
def test_a_priority_is_a_number_or_has_a_name(written: int | str, number: int) -> None:
    assert parse_priority(written) == number


@pytest.mark.parametrize("written", [-101, 101, "101", "High", "urgent", "", "1.5", True])
def test_what_is_no_priority_is_refused(written: int | str) -> None:
    with pytest.raises(ValueError, match="priority"):
        parse_priority(written)


def test_retry_policies_are_built_from_words() -> None:
    assert Retry.fixed("1m") == RetryPolicy("fixed", 60.0, None)
    assert Retry.linear(5, max_delay=timedelta(minutes=1)) == RetryPolicy("linear", 5.0, 60.0)
    assert Retry.exponential() == RetryPolicy("exponential", 15.0, None)
    assert Retry.exponential(60, max_delay=3600) == RetryPolicy("exponential", 60.0, 3600.0)
    assert RetryPolicy() == RetryPolicy(None, None, None)


def test_a_bad_retry_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="quadratic"):
        RetryPolicy.build("quadratic", 1, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="range"):
        Retry.fixed(-1)
    with pytest.raises(ValueError, match="duration"):
        Retry.exponential(1, max_delay="soon")


def test_verdicts_carry_their_delays_and_reasons() -> None:
    assert Retry("later", after="5m").after == 300
    assert Retry().after is None
    assert (Snooze("2m").seconds, str(Snooze(90))) == (120, "snoozed for 90 s")
    assert [str(verdict) for verdict in (Retry("a"), Cancel("b"), Discard("c"))] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="range"):
        Snooze(-1)


def test_an_interruption_is_not_swallowed_by_a_handlers_except_exception() -> None:
    assert not issubclass(JobTimeout, Exception)
    assert not issubclass(JobCancelled, Exception)


def test_the_final_statuses() -> None:
    assert {status for status in JobStatus if status.final} == FINAL
    assert {status.value for status in FINAL} == {"completed", "failed", "cancelled", "quarantined"}
