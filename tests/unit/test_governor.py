"""The number of slots that an executor finds, by figures of machines that are none."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from pgtask.engine.governor import Governor, Reading
from pgtask.model.bounds import Bounds

Machine = Callable[[int], tuple[float, int]]
"""What a second with so many slots takes of a core, and how many jobs end in it."""


def waits(seconds: float, cpu: float = 0.0) -> Machine:
    """Jobs that wait for so long and compute for so long."""

    def second(slots: int) -> tuple[float, int]:
        ended = min(slots / (seconds + cpu), 1 / cpu if cpu else float("inf"))
        return ended * cpu, round(ended)

    return second


def really_waits(seconds: float) -> Machine:
    """Jobs that each take so long from the moment at which their slot is there."""
    ends: list[float] = []
    clock = 0.0

    def second(slots: int) -> tuple[float, int]:
        nonlocal clock
        ends.extend([clock + seconds] * (slots - len(ends)))
        clock += 1.0
        ended = 0
        for slot in range(len(ends)):
            while ends[slot] <= clock:
                ends[slot] += seconds
                ended += 1
        return 0.0, ended

    return second


def computes(seconds: float) -> Machine:
    return waits(0.0, seconds)


def behind_a_door(most: int, seconds: float) -> Machine:
    """Jobs of which something else lets only so many pass at once: the others take longer for it."""
    return lambda slots: (0.05, round(min(slots, most) / seconds))


def run(governor: Governor, machine: Machine, seconds: int, *, waiting: bool = True, free: bool = True) -> list[int]:
    found = []
    for _ in range(seconds):
        cpu, ended = machine(governor.slots)
        found.append(governor.decide(Reading(1.0, cpu, ended, waiting, free)))
    return found


def test_jobs_that_wait_get_slots_up_to_the_most() -> None:
    governor = Governor(Bounds(1, 100), 10)

    assert run(governor, waits(0.05), 6) == [10, 20, 40, 80, 100, 100]


@pytest.mark.parametrize("seconds", [0.05, 0.3, 0.5, 0.7, 1.0, 1.3, 1.5, 1.9, 2.2, 2.5, 3.1, 10.0, 3600.0])
def test_they_do_however_long_they_take(seconds: float) -> None:
    """Those of the new slots end only after a while, and all that began together end together."""
    found = run(Governor(Bounds(1, 100), 10), really_waits(seconds), 20)

    assert found[-1] == 100
    assert [before > after for before, after in pairwise(found)].count(True) <= 1


@pytest.mark.parametrize("seconds", [0.02, 0.4, 60.0])
def test_jobs_that_compute_share_as_few_as_may_be(seconds: float) -> None:
    governor = Governor(Bounds(1, 100), 10)

    assert run(governor, computes(seconds), 8) == [10, 7, 5, 3, 2, 1, 1, 1]
    assert run(Governor(Bounds(4, 100), 10), computes(seconds), 8)[-1] == 4


def test_jobs_that_do_both_get_as_many_as_keep_one_core_at_work() -> None:
    governor = Governor(Bounds(1, 100), 10)

    found = run(governor, waits(0.05, 0.002), 30)

    # 26 keep it at work all the time.
    assert min(found[5:]) >= 18
    assert max(found) <= 30
    assert len(set(found[10:])) == 1, "it has settled"


def test_it_does_not_grow_beyond_what_the_core_can_do() -> None:
    found = run(Governor(Bounds(1, 100), 10), waits(0.03, 0.002), 30)

    # 16 keep it at work all the time.
    assert 12 <= found[-1] <= max(found) <= 16


def test_slots_that_bring_no_more_jobs_are_taken_back() -> None:
    governor = Governor(Bounds(1, 100), 10)

    found = run(governor, behind_a_door(20, 0.1), 200)

    assert set(found) <= {10, 20, 40}
    tries = [before < after for before, after in pairwise(found[4:])].count(True)
    assert found.count(20) > 180
    assert 1 <= tries <= 6, "now and then it tries again, ever more rarely"


def test_slots_that_were_of_use_come_back() -> None:
    """A job in two computes little: with one slot less the core would be at rest in between."""
    governor = Governor(Bounds(1, 100), 2)

    def second(slots: int) -> tuple[float, int]:
        return (0.95, 40) if slots >= 2 else (0.5, 20)

    found = run(governor, second, 100)

    assert found.count(2) > 80


def test_where_nothing_waits_nothing_changes() -> None:
    governor = Governor(Bounds(1, 100), 10)

    assert set(run(governor, waits(0.05), 100, waiting=False)) == {10}
    assert set(run(governor, computes(0.05), 100, waiting=False)) == {10}


def test_what_grew_goes_back_when_nothing_has_waited_for_long() -> None:
    governor = Governor(Bounds(1, 100), 10)
    run(governor, waits(1.0), 20)

    assert run(governor, waits(1.0), 29, waiting=False)[-1] == 100
    assert run(governor, waits(1.0), 1, waiting=False)[-1] == 75
    assert run(governor, waits(1.0), 1000, waiting=False)[-1] == 10


def test_a_moment_without_work_is_no_judgement() -> None:
    """The jobs ran out just as more slots were there, and those that came next take longer."""
    governor = Governor(Bounds(1, 100), 10)
    run(governor, waits(0.05), 2)
    assert governor.slots == 20

    governor.decide(Reading(1.0, 0.1, 3, waiting=False, free=True))

    assert run(governor, waits(0.5), 2) == [20, 40]


def test_where_others_keep_the_cores_busy_what_computes_does_not_seem_to_wait() -> None:
    """It gets half a core, and would use more."""
    crowded: Machine = lambda slots: (0.5, 25)  # noqa: E731, ARG005

    assert run(Governor(Bounds(1, 100), 10), crowded, 10, free=False)[-1] == 10
    assert run(Governor(Bounds(1, 100), 10), waits(0.05), 10, free=False)[-1] == 100


def test_it_is_saturated_when_jobs_wait_and_more_slots_are_no_help() -> None:
    def saturated(governor: Governor, machine: Machine, seconds: int, *, waiting: bool = True) -> bool:
        run(governor, machine, seconds, waiting=waiting)
        return governor.saturated

    assert not saturated(Governor(Bounds(10, 10), 10), waits(1.0), 1)
    assert saturated(Governor(Bounds(10, 10), 10), waits(1.0), 2)
    assert not saturated(Governor(Bounds(10, 10), 10), waits(1.0), 9, waiting=False)
    growing = Governor(Bounds(1, 100), 10)
    assert not saturated(growing, waits(0.05), 3)
    assert saturated(growing, waits(0.05), 10)
    assert saturated(Governor(Bounds(1, 100), 10), computes(0.02), 2)
