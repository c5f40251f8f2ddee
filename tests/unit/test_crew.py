"""How many executors a worker wants, by what they say."""

from __future__ import annotations

from pgtask.engine.crew import SHORT_FOR, SPARE_FOR, Crew, Load
from pgtask.model.bounds import Bounds

FULL = Load(saturated=True, in_hand=10, slots=10, busy=0.0)
COMPUTING = FULL._replace(busy=1.0)
IDLE = Load(saturated=False, in_hand=0, slots=10, busy=0.0)


def following(crew: Crew, now: float, *loads: Load, free_cores: float = 4.0) -> int:
    """Asks for advice and follows it."""
    advice = crew.advise(now, loads, free_cores)
    if advice:
        crew.follow(advice)
    return crew.wanted


def wanted(crew: Crew, load: Load, *, beginning: float = 0.0, seconds: float = 100.0, free_cores: float = 4.0) -> int:
    """How many it wants when all that it wants are like this for so long."""
    for tick in range(int(2 * seconds) + 1):
        following(crew, beginning + tick / 2, *[load] * crew.wanted, free_cores=free_cores)
    return crew.wanted


def test_another_one_starts_only_when_the_backlog_lasts() -> None:
    crew = Crew(Bounds(1, 2))

    assert [following(crew, now, FULL) for now in (5.0, 5.0 + SHORT_FOR / 2)] == [1, 1]
    assert following(crew, 5.0 + SHORT_FOR * 0.6, IDLE) == 1
    assert [following(crew, now, FULL) for now in (6.0, 6.0 + SHORT_FOR / 2, 6.0 + SHORT_FOR)] == [1, 1, 2]


def test_never_more_than_the_most_nor_fewer_than_the_least() -> None:
    crew = Crew(Bounds(2, 4))

    assert crew.wanted == 2
    assert wanted(crew, FULL) == 4
    assert wanted(crew, IDLE, beginning=1000.0, seconds=1000.0) == 2


def test_one_that_is_on_its_way_is_waited_for() -> None:
    crew = Crew(Bounds(1, 4))
    for now in (0.0, SHORT_FOR):
        following(crew, now, FULL)
    assert crew.wanted == 2

    assert following(crew, 50.0, FULL) == 2
    assert following(crew, 60.0, FULL) == 2
    assert following(crew, 60.0, FULL, FULL) == 2
    assert following(crew, 60.0 + SHORT_FOR, FULL, FULL) == 3


def test_while_one_of_them_has_room_there_is_no_other() -> None:
    crew = Crew(Bounds(2, 4))

    assert [following(crew, float(now), FULL, IDLE) for now in range(100)] == [2] * 100


def test_what_computes_needs_a_core_and_what_waits_does_not() -> None:
    assert wanted(Crew(Bounds(1, 2)), COMPUTING, free_cores=0.1) == 1
    assert wanted(Crew(Bounds(1, 2)), COMPUTING, free_cores=1.0) == 2
    assert wanted(Crew(Bounds(1, 2)), FULL, free_cores=0.0) == 2


def test_one_is_spared_once_it_has_been_for_long() -> None:
    crew = Crew(Bounds(1, 3))
    wanted(crew, FULL)

    assert following(crew, 1000.0, IDLE, IDLE, IDLE) == 3
    assert following(crew, 1000.0 + SPARE_FOR - 1, IDLE, IDLE, IDLE) == 3
    assert following(crew, 1000.0 + SPARE_FOR, IDLE, IDLE, IDLE) == 2
    assert following(crew, 1001.0 + SPARE_FOR, IDLE, IDLE) == 2
    assert following(crew, 1001.0 + 2 * SPARE_FOR, IDLE, IDLE) == 1


def test_a_moment_of_work_begins_the_time_anew() -> None:
    crew = Crew(Bounds(1, 2))
    wanted(crew, FULL)
    following(crew, 1000.0, IDLE, IDLE)

    following(crew, 1020.0, FULL, FULL)

    assert following(crew, 1021.0, IDLE, IDLE) == 2
    assert following(crew, 1020.0 + SPARE_FOR, IDLE, IDLE) == 2
    assert following(crew, 1021.0 + SPARE_FOR, IDLE, IDLE) == 1


def test_one_that_lies_idle_beside_full_ones_is_not_spared() -> None:
    """Else it would be stopped and started for ever."""
    crew = Crew(Bounds(1, 2))
    wanted(crew, FULL)

    assert [following(crew, 1000.0 + now, FULL, IDLE) for now in range(100)] == [2] * 100
    half = FULL._replace(saturated=False, in_hand=5)
    assert following(crew, 2000.0, half, IDLE) == 2
    assert following(crew, 2000.0 + SPARE_FOR, half, IDLE) == 1


def test_what_computes_on_two_cores_is_not_left_with_one() -> None:
    crew = Crew(Bounds(1, 2))
    wanted(crew, COMPUTING)
    few = Load(saturated=False, in_hand=1, slots=10, busy=0.6)

    assert [following(crew, 1000.0 + now, few, few) for now in range(100)] == [2] * 100


def test_advice_that_cannot_be_followed_is_given_again() -> None:
    crew = Crew(Bounds(1, 2))
    wanted(crew, FULL)
    crew.advise(1000.0, [IDLE, IDLE], 4.0)

    assert [crew.advise(1000.0 + SPARE_FOR + late, [IDLE, IDLE], 4.0) for late in (0, 1, 2)] == [-1, -1, -1]
    assert crew.wanted == 2
