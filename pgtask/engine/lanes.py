"""The lanes an executor claims from, and its watermark in each.

A lane is the jobs of one queue and priority. Its watermark is the place up to which all has been looked at, so a
claim steps neither over jobs that run nor over dead index entries. Rows that become claimable behind it are found by
rewinding it on a notification, and by a full rescan now and then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from operator import itemgetter

from pgtask.database.work import START, ClaimedRow, ClaimRequest, LaneRow, Position

Key = tuple[str, int]

LANES_PER_CLAIM = 16
# Jobs whose transactions commit in another order than they began appear behind the watermark; most no later than this.
SLACK = timedelta(milliseconds=20)
_FORGET_AFTER = 60.0
# Of a ClaimedRow.
_LANE: Callable[[ClaimedRow], Key] = itemgetter(3, 4)
_POSITION = itemgetter(8, 0)
_NO_RANK = (0, 0)


class Lane:
    """One lane, as this executor knows it."""

    __slots__ = ("key", "queue_priority", "seen_at", "settled", "timeout", "watermark")

    def __init__(self, key: Key, queue_priority: int) -> None:
        self.key = key
        self.queue_priority = queue_priority
        self.timeout: float | None = None
        self.watermark = START
        self.settled = True
        self.seen_at = time.monotonic()


class Lanes:
    """All lanes known, in the order in which they are to be served."""

    def __init__(self) -> None:
        self._lanes: dict[Key, Lane] = {}
        self._order: list[Lane] = []
        self._ranks: dict[Key, tuple[int, int]] = {}
        self._dry: set[Lane] = set()
        self._turn = 0
        self._clock: tuple[datetime, float] | None = None

    def __len__(self) -> int:
        return len(self._order)

    def update(self, rows: Sequence[LaneRow]) -> bool:
        """Takes in a sweep's answer; returns whether it brought lanes not known before.

        Lanes that held nothing for a minute are forgotten.
        """
        now = time.monotonic()
        news = False
        if rows:
            self._clock = (rows[0].instant, now)
        for row in rows:
            key = (row.queue, row.priority)
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = Lane(key, row.queue_priority)
                news = True
            elif lane.queue_priority != row.queue_priority:
                lane.queue_priority = row.queue_priority
                news = True
            lane.timeout = row.timeout
            lane.seen_at = now
        stale = [key for key, lane in self._lanes.items() if now - lane.seen_at > _FORGET_AFTER]
        for key in stale:
            self._dry.discard(self._lanes.pop(key))
        if news or stale:
            self._ranks = {key: (-lane.queue_priority, -key[1]) for key, lane in self._lanes.items()}
            self._order = sorted(
                self._lanes.values(), key=lambda lane: (-lane.queue_priority, -lane.key[1], lane.key[0])
            )
        return news

    def unsettled(self) -> Lane | None:
        """A lane whose watermark has not yet been brought past what is held back in it."""
        return next((lane for lane in self._order if not lane.settled), None)

    def all(self) -> list[Lane]:
        """The lanes, best first."""
        return list(self._order)

    def next_claim(self, limit: int) -> tuple[ClaimRequest, list[Lane]] | None:
        """The next few lanes to claim from, None when each has come up short since the last `refresh`.

        Lanes of equal rank take turns in coming first.
        """
        lanes = self._pick()
        if not lanes:
            return None
        request = ClaimRequest(
            [lane.key[0] for lane in lanes],
            [lane.key[1] for lane in lanes],
            [lane.watermark.time for lane in lanes],
            [lane.watermark.id for lane in lanes],
            limit,
        )
        return request, lanes

    def came_short(self, lanes: Sequence[Lane]) -> bool:
        """A claim over these lanes brought less than it asked for; returns whether there are others to try."""
        self._dry.update(lanes)
        return any(lane.settled and lane not in self._dry for lane in self._order)

    def refresh(self) -> None:
        """Any lane may hold something again."""
        self._dry.clear()

    def _pick(self) -> list[Lane]:
        # A lane not yet settled may hold back any number of rows at its head; an ordinary claim would look at them all.
        order = [lane for lane in self._order if lane.settled and lane not in self._dry]
        if len(order) <= 1:
            return order
        self._turn += 1
        picked: list[Lane] = []
        start = 0
        while start < len(order) and len(picked) < LANES_PER_CLAIM:
            rank = (order[start].queue_priority, order[start].key[1])
            end = start
            while end < len(order) and (order[end].queue_priority, order[end].key[1]) == rank:
                end += 1
            count = end - start
            offset = self._turn * LANES_PER_CLAIM % count if count > LANES_PER_CLAIM else self._turn % count
            tier = order[start + offset : end] + order[start : start + offset]
            picked += tier[: LANES_PER_CLAIM - len(picked)]
            start = end
        return picked

    def timeout(self, queue: str, priority: int) -> float | None:
        """The queue's timeout in seconds, for jobs whose own and whose task's are not set."""
        lane = self._lanes.get((queue, priority))
        return None if lane is None else lane.timeout

    def in_order(self, rows: list[ClaimedRow]) -> list[ClaimedRow]:
        """The jobs of one claim in the order in which they should start; the database returns them in page order."""
        rows.sort(key=_POSITION)
        if len(self._lanes) > 1:
            rows.sort(key=lambda row: self._ranks.get(_LANE(row), _NO_RANK))
        return rows

    def advance(self, rows: Sequence[ClaimedRow]) -> None:
        """Moves watermarks to the last job claimed in each lane, of jobs in order. Only after the claim committed."""
        last = {_LANE(row): row for row in rows}
        for key, row in last.items():
            lane = self._lanes.get(key)
            if lane is not None:
                self.reach(lane, Position(row[8], row[0]))

    def reach(self, lane: Lane, position: Position) -> None:
        """Moves a lane's watermark to a place, but no nearer to the present than the slack."""
        if self._clock is None:
            settled = position.time - SLACK
        else:
            instant, at = self._clock
            settled = instant + timedelta(seconds=time.monotonic() - at) - SLACK
        if position.time >= settled:
            position = Position(min(settled, position.time), 0)
        lane.watermark = max(lane.watermark, position)

    def rewind(self, queue: str, priority: int, instant: datetime) -> None:
        """Lowers a watermark so that rows from `instant` on are seen again."""
        lane = self._lanes.get((queue, priority))
        if lane is not None and lane.watermark.time >= instant:
            lane.watermark = Position(instant - SLACK, 0)
