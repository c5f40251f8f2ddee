"""The lanes of an executor: their order, their turns, and how far each watermark may move."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from pgtask.database.claims import START, ClaimedRow, LaneRow, Position
from pgtask.engine.lane import Lane
from pgtask.engine.lanes import LANES_PER_CLAIM, SLACK, Lanes

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
Key = tuple[str, int]


def row(
    queue: str = "q", priority: int = 1, rank: int = 0, *, weight: int = 1, lift: int = 0, waited: float = 0.0
) -> LaneRow:
    return LaneRow(queue, priority, rank, None, None, NOW, weight, lift, waited)


def known(*rows: LaneRow, strict: list[str] | None = None) -> Lanes:
    lanes = Lanes(strict)
    assert lanes.update(rows or [row()])
    return lanes


def job(id: int, at: datetime, queue: str = "q", priority: int = 1) -> ClaimedRow:
    return (id, 1, "t", queue, priority, "{}", None, 0, at, None)


def only(lanes: Lanes) -> Lane:
    (lane,) = lanes.all()
    return lane


def keys(lanes: Lanes, limit: int = 10) -> list[Key]:
    claim = lanes.next_claim(limit)
    assert claim is not None
    assert [lane.key for lane in claim[1]] == list(zip(claim[0].queues, claim[0].priorities, strict=True))
    return [lane.key for lane in claim[1]]


def serve(lanes: Lanes, rounds: int, count: int = 1) -> Counter[Key]:
    """How many jobs each lane gave, if each claim finds all that it asks for in the best lane."""
    given: Counter[Key] = Counter()
    for _ in range(rounds):
        best = keys(lanes)[0]
        lanes.advance([job(1, NOW, *best)] * count)
        given[best] += count
    return given


# The order


def test_queues_come_by_their_priority_and_their_lanes_by_theirs() -> None:
    lanes = known(row("b", 5), row("a", 1), row("c", 1, 9), row("c", -3, 9), row("a", 7, -1), strict=["a", "b"])

    assert keys(lanes) == [("c", 1), ("c", -3), ("b", 5), ("a", 7), ("a", 1)]


@pytest.mark.parametrize("count", [1, 500])
def test_queues_of_equal_priority_share_by_their_weights(count: int) -> None:
    lanes = known(row("a"), row("b", 9, weight=2), row("c", weight=3), row("later", 9, -1, weight=100))

    given = serve(lanes, 600, count)

    shares = {key[0]: round(jobs / count) for key, jobs in given.items()}
    assert {name: round(share / 10) for name, share in shares.items()} == {"a": 10, "b": 20, "c": 30}


def test_a_changed_weight_counts_from_then_on() -> None:
    lanes = known(row("a"), row("b"))
    serve(lanes, 100)

    lanes.update([row("a", weight=4), row("b")])

    assert 79 <= serve(lanes, 100)["a", 1] <= 81


def test_a_queue_that_had_nothing_for_long_is_not_owed_what_it_missed() -> None:
    lanes = known(row("a"))
    serve(lanes, 1000)

    lanes.update([row("a"), row("b")])

    assert 9 <= serve(lanes, 20)["b", 1] <= 11


def test_queues_that_hold_nothing_for_us_do_not_come_first_for_ever() -> None:
    lanes = known(*[row(f"held{n}") for n in range(LANES_PER_CLAIM + 4)], row("busy"))
    wasted = 0
    for _ in range(50):
        claim = lanes.next_claim(5)
        assert claim is not None
        if any(lane.key[0] == "busy" for lane in claim[1]):
            lanes.advance([job(1, NOW, "busy")] * 5)
            lanes.refresh()
        else:
            wasted += 1
            assert lanes.came_short(claim[1])

    assert wasted < 30


def test_strictly_queues_of_equal_priority_come_as_listed() -> None:
    lanes = known(row("a", 9, weight=9), row("b"), row("c", 1, 5), strict=["c", "b", "a"])

    assert keys(lanes) == [("c", 1), ("b", 1), ("a", 9)]
    assert serve(lanes, 10) == {("c", 1): 10}


def test_a_lane_whose_oldest_job_has_waited_rises_in_its_queue() -> None:
    lanes = known(row("q", 1), row("q", 0), strict=[])
    orders = {}
    for lift in (0, 1, 2):
        lanes.update([row("q", 1, lift=0, waited=5), row("q", 0, lift=lift, waited=60 * lift)])
        orders[lift] = [key[1] for key in keys(lanes)]

    assert orders[0] == [1, 0]
    assert orders[2] == [0, 1]


def test_of_lanes_that_have_risen_to_one_height_the_one_that_waits_longest_comes_first() -> None:
    lanes = known(row("q", 2, lift=1, waited=70), row("q", 1, lift=2, waited=130), row("q", 3))

    assert [key[1] for key in keys(lanes)] == [1, 2, 3]


@pytest.mark.parametrize("count", [17, 40, 100, 1000])
def test_of_very_many_lanes_each_gets_its_turn(count: int) -> None:
    lanes = known(*[row(f"q{n:04}") for n in range(count)])

    seen: set[Key] = set()
    for _ in range(3 * count // LANES_PER_CLAIM + 3):
        picked = keys(lanes)
        assert len(picked) == len(set(picked)) == LANES_PER_CLAIM
        lanes.advance([job(1, NOW, *key) for key in picked])
        seen.update(picked)

    assert len(seen) == count


def test_a_better_queue_is_never_left_out_for_one_of_lower_priority() -> None:
    lanes = known(*[row(f"best{n}", 1, 2) for n in range(10)], *[row(f"q{n}", 9, 1) for n in range(100)])

    for _ in range(10):
        picked = keys(lanes)
        assert {key[0] for key in picked[:10]} == {f"best{n}" for n in range(10)}
        lanes.advance([job(1, NOW, *key) for key in picked])


def test_lanes_that_came_up_short_are_left_out_until_refreshed() -> None:
    lanes = known(row("a"), row("b"))
    first, second = lanes.all()

    assert lanes.came_short([first])
    assert keys(lanes) == [second.key]
    assert not lanes.came_short([second])
    assert lanes.next_claim(5) is None
    lanes.refresh()
    assert sorted(keys(lanes)) == [first.key, second.key]


def test_a_claim_carries_each_lanes_watermark() -> None:
    lanes = known(row("a"), row("b"))
    a, _ = lanes.all()
    a.watermark = Position(NOW, 7)

    claim = lanes.next_claim(5)

    assert claim is not None
    places = dict(zip(claim[0].queues, zip(claim[0].after_times, claim[0].after_ids, strict=True), strict=True))
    assert places == {"a": (NOW, 7), "b": (START.time, START.id)}
    assert claim[0].limit == 5


def test_a_lane_not_yet_settled_is_left_to_those_who_settle_it() -> None:
    lanes = known(row("a"), row("b"))
    a, b = lanes.all()
    a.settled = False

    assert lanes.unsettled() is a
    assert keys(lanes) == [b.key]
    assert not lanes.came_short([b])


def test_a_lane_is_not_settled_while_a_better_one_gives_jobs() -> None:
    lanes = known(row("a", 2), row("a", 1), row("b", 1), row("c", 1, rank=-1))
    high, normal, other, last = lanes.all()
    for lane in (normal, other, last):
        lane.settled = False

    lanes.advance([job(1, NOW, "a", 2)])
    assert list(lanes.foremost()) == [high, other]
    assert lanes.unsettled() is other
    other.settled = True
    lanes.advance([job(2, NOW, "b", 1)])
    assert lanes.unsettled() is None
    lanes.came_short([high, other])
    assert lanes.unsettled() is normal
    normal.settled = True
    lanes.advance([job(3, NOW, "a", 1)])
    assert lanes.unsettled() is None
    lanes.came_short([normal])
    assert lanes.unsettled() is last


# What sweeps bring


def test_a_sweep_tells_whether_it_brought_news() -> None:
    lanes = known(row("a"))

    assert not lanes.update([row("a")])
    assert lanes.update([row("a"), row("b")])
    assert lanes.update([row("a", rank=5), row("b")])
    assert keys(lanes)[0] == ("a", 1)


def test_a_sweep_keeps_the_watermarks() -> None:
    lanes = known()
    only(lanes).watermark = Position(NOW, 7)

    lanes.update([row(), row("b")])

    assert lanes.all()[1].watermark == Position(NOW, 7)


def test_a_lane_that_held_nothing_for_a_while_is_forgotten() -> None:
    lanes = known(row("a"), row("b"))
    for lane in lanes.all():
        lane.seen_at -= 61

    lanes.update([row("b")])

    assert [lane.key for lane in lanes.all()] == [("b", 1)]


def test_a_lane_knows_its_queues_timeout() -> None:
    lanes = known(LaneRow("q", 1, 0, 12.5, None, NOW))

    assert lanes.timeout("q") == 12.5
    assert lanes.timeout("p") is None


# The watermark


def test_the_watermark_moves_to_the_last_job_claimed_in_each_lane() -> None:
    lanes = known(row("a"), row("b"), row("c"))
    old = NOW - timedelta(minutes=5)
    rows = [job(3, old, "a"), job(9, old, "b"), job(4, old + timedelta(seconds=1), "a")]

    lanes.advance(lanes.in_order(rows))

    marks = {lane.key[0]: lane.watermark for lane in lanes.all()}
    assert marks == {"a": Position(old + timedelta(seconds=1), 4), "b": Position(old, 9), "c": START}


def test_the_watermark_stays_behind_the_present_by_the_slack() -> None:
    lanes = known()

    lanes.advance([job(5, NOW)])

    reached = only(lanes).watermark
    assert NOW - SLACK <= reached.time < NOW
    assert reached.id == 0


def test_the_watermark_never_goes_back_by_itself() -> None:
    lanes = known()
    lanes.advance([job(5, NOW - timedelta(minutes=1))])

    lanes.advance([job(6, NOW - timedelta(minutes=2))])

    assert only(lanes).watermark == Position(NOW - timedelta(minutes=1), 5)


def test_a_job_of_a_lane_not_known_moves_nothing() -> None:
    lanes = known()

    lanes.advance([job(5, NOW - timedelta(minutes=1), "elsewhere")])

    assert only(lanes).watermark == START


def test_rewinding_shows_the_rows_from_an_instant_on_again() -> None:
    lanes = known()
    lanes.advance([job(5, NOW - timedelta(minutes=1))])
    instant = NOW - timedelta(minutes=2)

    lanes.rewind("q", 1, instant)

    assert only(lanes).watermark < Position(instant, 0)
    assert only(lanes).watermark.time >= instant - SLACK


@pytest.mark.parametrize(("queue", "priority"), [("q", 2), ("r", 1)])
def test_rewinding_another_lane_moves_nothing(queue: str, priority: int) -> None:
    lanes = known()
    lanes.advance([job(5, NOW - timedelta(minutes=1))])

    lanes.rewind(queue, priority, NOW - timedelta(minutes=2))

    assert only(lanes).watermark == Position(NOW - timedelta(minutes=1), 5)


def test_rewinding_to_what_is_still_ahead_moves_nothing() -> None:
    lanes = known()
    lanes.advance([job(5, NOW - timedelta(minutes=2))])

    lanes.rewind("q", 1, NOW - timedelta(minutes=1))

    assert only(lanes).watermark == Position(NOW - timedelta(minutes=2), 5)


def test_the_jobs_of_a_claim_are_put_in_the_order_of_their_lanes_and_times() -> None:
    lanes = known(row("a", 1), row("b", 1, 5), row("a", 3))
    early, late = NOW - timedelta(minutes=2), NOW - timedelta(minutes=1)
    rows = [job(1, late, "a"), job(2, early, "a"), job(3, late, "a", 3), job(5, late, "b"), job(4, late, "b")]
    keys(lanes)

    assert [row[0] for row in lanes.in_order(rows)] == [4, 5, 3, 2, 1]
