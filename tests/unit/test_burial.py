"""Who is charged, who is suspected and who goes back unharmed when an executor has ended."""

from __future__ import annotations

from pgtask.engine.burial import Death, bury
from pgtask.engine.marks import ENDED, HELD, RUNNING, Mark

CRASH = Death(executor=1, cause="signal SIGSEGV", planned=False, evidence="a stack", peak_rss_bytes=42_000_000)


def mark(id: int, state: int, timeout: float = 0.0) -> Mark:
    return Mark(id, 1, state, 1.0, timeout)


def test_a_sole_running_attempt_is_the_culprit() -> None:
    burial = bury(CRASH, [mark(1, HELD), mark(2, RUNNING), mark(3, ENDED)])

    assert burial.endings is not None
    assert (burial.endings.ids, burial.endings.outcomes, burial.endings.finals) == ([2], ["crashed"], [False])
    assert burial.endings.errors == ["Its process died: signal SIGSEGV (peak memory 42 MB)."]
    assert burial.endings.tracebacks == ["a stack"]
    assert (burial.started, burial.suspects, burial.outcome) == ([3], [], "lost")


def test_of_several_running_attempts_each_is_a_suspect_and_none_is_charged() -> None:
    burial = bury(CRASH, [mark(1, RUNNING), mark(2, RUNNING), mark(3, ENDED), mark(4, HELD)])

    assert burial.endings is None
    assert (burial.started, burial.suspects, burial.outcome) == ([1, 2, 3], [1, 2], "lost")


def test_a_death_with_nothing_running_accuses_nobody() -> None:
    burial = bury(CRASH, [mark(3, ENDED), mark(4, HELD)])

    assert (burial.endings, burial.started, burial.suspects) == (None, [3], [])


def test_who_was_sentenced_ends_as_that_says_and_nobody_else_is_accused() -> None:
    death = Death(
        executor=1,
        cause="signal SIGKILL",
        planned=True,
        sentences={(1, 1): "timeout", (2, 1): "cancelled", (9, 1): "timeout"},
    )

    burial = bury(death, [mark(2, RUNNING), mark(1, RUNNING, 3.0), mark(3, RUNNING), mark(9, ENDED)])

    assert burial.endings is not None
    assert list(zip(burial.endings.ids, burial.endings.outcomes, burial.endings.finals, strict=True)) == [
        (1, "timeout", False),
        (2, "cancelled", True),
    ]
    assert "timeout of 3 s" in str(burial.endings.errors[0])
    assert (burial.started, burial.suspects, burial.outcome) == ([3, 9], [], "released")


def test_a_planned_end_gives_all_back() -> None:
    burial = bury(Death(executor=1, cause="exit code 0", planned=True), [mark(1, RUNNING), mark(2, HELD)])

    assert (burial.endings, burial.started, burial.suspects) == (None, [1], [])
    assert (burial.outcome, burial.error) == ("released", "The worker shut down before it ended.")
