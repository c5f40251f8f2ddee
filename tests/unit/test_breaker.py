"""Declaring what holds a task's jobs back, and counting for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from pgtask import Breaker, PgTask, TaskError
from pgtask.engine.attempt import Attempt
from pgtask.engine.tally import Tally


def test_durations_are_kept_as_seconds() -> None:
    breaker = Breaker(failures=5, hold="30s", max_hold=timedelta(minutes=5), window="2m")

    assert (breaker.hold, breaker.max_hold, breaker.window) == (30, 300, 120)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Breaker, "write Breaker"),
        (lambda: Breaker(failures=0), "give a whole number from 1 on"),
        (lambda: Breaker(rate=50), "write 0.5 for one half"),
        (lambda: Breaker(rate=0.5, minimum=0), "minimum=0"),
        (lambda: Breaker(failures=5, hold="0s"), "hold must be longer than 0 s"),
        (lambda: Breaker(failures=5, hold="soon"), "hold: 'soon' is no duration"),
        (lambda: Breaker(failures=5, hold="1h"), "max_hold"),
    ],
)
def test_a_breaker_that_makes_no_sense_is_refused(make: Callable[[], Breaker], said: str) -> None:
    with pytest.raises(TaskError, match=said):
        make()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate_limit": "often"}, "Task t: 'often' is no rate: write 100/min"),
        ({"rate_burst": 5}, "Task t: rate_burst belongs to a rate_limit"),
        ({"breaker": 5}, "Task t: 5 is no breaker: write breaker=Breaker"),
    ],
)
def test_a_task_that_is_badly_paced_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(TaskError, match=said):
        PgTask("unused").task(name="t", **options)(lambda: None)  # type: ignore[call-overload]


def attempts(*outcomes: str, task: str = "t", limited: bool = False) -> list[Attempt]:
    """Attempts that ended so, in this order."""
    made = [Attempt(id, 1, task, "default", 1, {}, None, 0, 0.0) for id in range(1, len(outcomes) + 1)]
    for attempt, outcome in zip(made, outcomes, strict=True):
        attempt.outcome, attempt.limited = outcome, limited
    return made


def counted(tally: Tally) -> tuple[list[str], list[int], list[int], list[int]] | None:
    report = tally.report([])
    return None if report is None else (report.tasks, report.successes, report.failures, report.streaks)


def test_it_counts_successes_failures_and_those_in_a_row() -> None:
    tally = Tally(["t"])
    tally.count(attempts("failed", "completed", "committed", "timeout", "failed"))
    tally.count(attempts("released", "snoozed", "cancelled", "superseded"))
    tally.count(attempts("failed", task="other"))

    assert counted(tally) == (["t"], [2], [3], [2])
    assert counted(tally) is None


def test_successes_alone_wait_for_a_second_and_a_failure_takes_them_along() -> None:
    tally = Tally(["t"])
    tally.count(attempts("completed"))
    assert counted(tally) == (["t"], [1], [0], [0])
    tally.count(attempts("completed"))
    assert counted(tally) is None
    assert 0 < (tally.pause(None) or 0) <= 1
    tally.count(attempts("failed"))

    assert counted(tally) == (["t"], [1], [1], [1])
    assert tally.pause(None) is None


def test_what_could_not_be_handed_in_is_kept() -> None:
    tally = Tally(["t"])
    tally.count(attempts("completed", "failed"))
    report = tally.report([])
    assert report is not None
    tally.count(attempts("failed"))
    tally.restore(report)

    assert counted(tally) == (["t"], [1], [2], [2])


def test_attempts_claimed_within_limits_may_be_probes() -> None:
    batch = [*attempts("committed", "superseded", limited=True), *attempts("failed")]

    report = Tally().report(batch)

    assert report is not None
    assert (report.tasks, report.ids, report.outcomes) == ([], [1, 2], ["completed", "lost"])
