"""Lanes with limits in an executor: when they come, when they rest, and from where they are looked at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pgtask.database.claims import START, ClaimedRow, LaneRow, Looked, Position, Served
from pgtask.engine.lane import EXAMINE, KEYS, Kind, LimitedLane
from pgtask.engine.lanes import Lanes

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
OLD = NOW - timedelta(minutes=5)
PLAIN, LIMITED, GATED, KEYED = Kind.PLAIN, Kind.LIMITED, Kind.GATED, Kind.KEYED


def row(queue: str = "q", priority: int = 1, rank: int = 0, *, limited: bool = False, keyed: bool = False) -> LaneRow:
    return LaneRow(queue, priority, rank, None, None, NOW, limited=limited, keyed=keyed)


def known(*rows: LaneRow, gated: bool = False) -> Lanes:
    lanes = Lanes()
    lanes.update(rows, gated=gated)
    return lanes


def job(id: int, at: datetime = OLD, queue: str = "q") -> ClaimedRow:
    return (id, 1, "t", queue, 1, "{}", None, 0, at, None)


def turn(lanes: Lanes, within: int = 10) -> list[tuple[str, int, Kind]]:
    """The lanes that are claimed from next."""
    claim = lanes.next_claim(100, within)
    return [] if claim is None else [(*lane.key, lane.kind) for lane in claim[1]]


def only(lanes: Lanes, kind: Kind) -> LimitedLane:
    (lane,) = (lane for lane in lanes.all() if lane.kind is kind)
    assert isinstance(lane, LimitedLane)
    return lane


@pytest.mark.parametrize(
    ("given", "gated", "kinds"),
    [
        (row(), False, {PLAIN}),
        (row(limited=True), False, {LIMITED}),
        (row(), True, {PLAIN, GATED}),
        (row(limited=True), True, {LIMITED}),
        (row(keyed=True), False, {PLAIN, KEYED}),
        (row(limited=True, keyed=True), False, {LIMITED, KEYED}),
    ],
)
def test_a_lane_is_of_the_kinds_that_its_jobs_need(given: LaneRow, gated: bool, kinds: set[Kind]) -> None:
    assert {lane.kind for lane in known(given, gated=gated).all()} == kinds


def test_a_lane_changes_with_its_queue_and_its_tasks() -> None:
    lanes = known(row(), gated=True)

    for given, gated, kinds in (
        (row(limited=True), True, {LIMITED}),
        (row(), True, {PLAIN, GATED}),
        (row(), False, {PLAIN}),
    ):
        lanes.update([given], gated=gated)
        assert {lane.kind for lane in lanes.all()} == kinds


def test_lanes_with_limits_are_claimed_apart_and_for_no_more_jobs_than_slots() -> None:
    lanes = known(row("a", 1, 9), row("b", 1, 8, limited=True), row("c", 1, 7, limited=True), row("d"))

    assert turn(lanes) == [("a", 1, PLAIN)]
    lanes.came_short(lanes.all()[:1])
    claim = lanes.next_claim(100, 7)
    assert claim is not None
    assert ([lane.key for lane in claim[1]], claim[0].limit) == ([("b", 1), ("c", 1)], 7)
    assert turn(lanes) == [("d", 1, PLAIN)]


def test_without_room_for_them_only_the_others_come() -> None:
    lanes = known(row("a", 1, 9, limited=True), row("b"))

    assert turn(lanes, within=0) == [("b", 1, PLAIN)]


def test_lanes_of_one_rank_take_turns_whatever_they_give() -> None:
    lanes = known(row(keyed=True), gated=True)

    turns = [turn(lanes)[0][2] for _ in range(9)]

    assert {kind: turns.count(kind) for kind in (KEYED, GATED, PLAIN)} == {KEYED: 3, GATED: 3, PLAIN: 3}


def test_alone_it_comes_again_and_again() -> None:
    lanes = known(row(limited=True))

    assert [turn(lanes) for _ in range(3)] == [[("q", 1, LIMITED)]] * 3


def test_a_full_one_rests_until_something_is_freed() -> None:
    lanes = known(row(limited=True))
    lane = only(lanes, LIMITED)

    lanes.looked([lane], [], {0: Looked(5, 5, False, Position(OLD, 5))}, 10)

    assert turn(lanes) == []
    assert lanes.roused_at() == lane.rests_until
    lanes.rouse(full=False)
    assert turn(lanes) == []
    lanes.rouse(full=True)
    assert turn(lanes) == [("q", 1, LIMITED)]


def test_an_empty_one_rests_until_there_is_news() -> None:
    lanes = known(row(limited=True))

    lanes.looked([only(lanes, LIMITED)], [], {}, 10)

    assert turn(lanes) == []
    lanes.rouse(full=False)
    assert turn(lanes) == [("q", 1, LIMITED)]


def test_rests_grow_while_nothing_comes() -> None:
    lanes = known(row(limited=True))
    lane = only(lanes, LIMITED)
    ends = []
    for _ in range(9):
        lanes.looked([lane], [], {}, 10)
        ends.append(lanes.roused_at())

    assert ends[-1] - ends[0] > 0.1
    assert lanes.roused_at() < float("inf")


def test_the_next_look_begins_after_what_was_claimed() -> None:
    lanes = known(row(limited=True))
    lane = only(lanes, LIMITED)
    lane.start()

    lanes.looked([lane], [job(3), job(9)], {0: Looked(64, 50, False, Position(OLD, 60))}, 2)

    assert lane.start() == Position(OLD, 9)
    assert turn(lanes) == [("q", 1, LIMITED)]


def test_rows_that_nobody_can_claim_are_passed_over_in_long_strides() -> None:
    lanes = known(row(limited=True))
    lane = only(lanes, LIMITED)
    lane.start()

    lanes.looked([lane], [], {0: Looked(lane.examine, 0, False, Position(OLD, 64))}, 10)

    assert (lane.start(), lane.examine) == (Position(OLD, 64), EXAMINE)
    assert turn(lanes) == [("q", 1, LIMITED)]


def test_what_limits_held_back_is_soon_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1000.0
    monkeypatch.setattr("pgtask.engine.lane.time.monotonic", lambda: clock)
    lanes = known(row(), gated=True)
    lane = only(lanes, GATED)
    lane.start()
    lanes.looked([lane], [], {0: Looked(lane.examine, 0, True, Position(OLD, 64))}, 10)

    assert lane.start() == Position(OLD, 64)
    clock += 0.3
    assert lane.start() == START


def test_keys_go_on_where_the_last_claim_ended_and_begin_anew_at_the_end() -> None:
    lanes = known(row(keyed=True))
    lane = only(lanes, KEYED)

    lanes.served(lane, [job(1)], Served("m", KEYS, 1), 10)
    assert lane.after_key == "m"
    lanes.served(lane, [job(2)], Served("z", 3, 1), 10)
    assert lane.after_key == ""
    lanes.served(lane, [job(3)], Served("c", 3, 2), 1)
    assert lane.after_key == "c"


def test_keys_rest_once_all_were_looked_at_in_vain() -> None:
    lanes = known(row(keyed=True))
    lane = only(lanes, KEYED)
    lanes.came_short([lane for lane in lanes.all() if lane.kind is PLAIN])

    lane.after_key = "m"
    lanes.served(lane, [], Served("", 0, 0), 10)
    assert turn(lanes) == [("q", 1, KEYED)]
    lanes.served(lane, [], Served("z", 3, 0), 10)
    assert turn(lanes) == []


def test_more_keys_than_one_look_takes_rest_as_well() -> None:
    lanes = known(row(keyed=True))
    lane = only(lanes, KEYED)
    lanes.came_short([lane for lane in lanes.all() if lane.kind is PLAIN])

    for _ in range(2):
        lanes.served(lane, [], Served("m", KEYS, 0), 10)
        assert turn(lanes) == [("q", 1, KEYED)]
        lanes.served(lane, [], Served("z", 3, 0), 10)
    assert turn(lanes) == []


def test_jobs_claimed_within_limits_are_charged_to_their_queue() -> None:
    lanes = known(row("a", limited=True), row("b", limited=True))
    lane = next(lane for lane in lanes.all() if lane.key == ("a", 1))
    assert isinstance(lane, LimitedLane)

    lanes.looked([lane], [job(1, queue="a"), job(2, queue="a")], {0: Looked(2, 2, False, Position(OLD, 2))}, 2)

    assert turn(lanes)[0] == ("b", 1, LIMITED)


def test_a_rewind_reaches_lanes_with_limits() -> None:
    lanes = known(row(limited=True))
    lane = only(lanes, LIMITED)
    lane.start()
    lane.watermark = Position(OLD, 9)

    lanes.rewind("q", 1, OLD - timedelta(minutes=1))

    assert lane.start() < Position(OLD - timedelta(minutes=1), 0)
