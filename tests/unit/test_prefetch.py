"""How many jobs an executor wants: what it can start at once, and more only of what it knows to be quick."""

from __future__ import annotations

from pgtask.engine.prefetch import HORIZON, MAX_CLAIM, MAX_PREFETCH, Prefetch


def experienced(slots: int, seconds: float, task: str = "t") -> Prefetch:
    prefetch = Prefetch(slots)
    for _ in range(50):
        prefetch.observe(task, seconds * 100, 100)
        prefetch.claimed([task] * 100)
    return prefetch


def test_of_unknown_tasks_it_wants_no_more_than_it_can_start() -> None:
    prefetch = Prefetch(10)

    assert [prefetch.wanted(unfinished) for unfinished in (0, 4, 10, 11)] == [10, 6, 0, 0]


def test_of_quick_jobs_it_wants_what_starts_within_the_horizon() -> None:
    prefetch = experienced(10, 0.01)

    ahead = 10 * HORIZON / 0.01
    assert 0.9 * ahead <= prefetch.wanted(10) <= 1.1 * ahead


def test_of_tiny_jobs_it_wants_many_within_limits() -> None:
    prefetch = experienced(10, 0.0)

    assert prefetch.wanted(0) == MAX_CLAIM
    assert prefetch.wanted(10 + MAX_PREFETCH) == 0


def test_a_claim_waits_until_it_is_worth_its_while() -> None:
    prefetch = experienced(10, 0.01)
    ahead = prefetch.wanted(10)

    assert prefetch.wanted(10 + ahead * 3 // 4) == 0  # three quarters are still there
    assert prefetch.wanted(10 + ahead // 4) > ahead // 2


def test_long_jobs_are_never_hoarded() -> None:
    prefetch = experienced(10, 5.0)

    assert [prefetch.wanted(unfinished) for unfinished in (0, 9, 10, 50)] == [10, 1, 0, 0]


def test_a_free_slot_is_filled_whatever_is_known() -> None:
    for seconds in (0.0, 0.001, 1.0, 100.0):
        assert experienced(4, seconds).wanted(3) >= 1


def test_when_claims_bring_another_task_it_adapts_at_once() -> None:
    prefetch = experienced(10, 0.0, "tiny")

    prefetch.claimed(["never seen"] * 100)

    assert prefetch.wanted(10) == 0


def test_when_jobs_turn_out_long_it_wants_no_more_behind_them() -> None:
    prefetch = experienced(10, 0.001)

    prefetch.stalled({"t"}, 0.5)

    assert prefetch.wanted(10) <= 2


def test_it_learns_that_a_task_has_become_quick_again() -> None:
    prefetch = experienced(10, 5.0)
    for _ in range(50):
        prefetch.observe("t", 0.1, 100)
        prefetch.claimed(["t"] * 100)

    assert prefetch.wanted(10) > 100
