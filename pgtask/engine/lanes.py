"""The lanes an executor claims from, their order, and its watermark in each.

A lane is the jobs of one queue and priority. Queues come by their own priority; equal ones share what an executor runs
by their weights, or come as listed. In a queue, lanes come by priority, lifted by how long their oldest job has waited.

A watermark is the place up to which all has been looked at, so a claim steps neither over jobs that run nor over dead
index entries. Rows that become claimable behind it are found by rewinding it on a notification, and by a full rescan
now and then.
"""

from __future__ import annotations

import heapq
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter, itemgetter

from pgtask.database.work import START, ClaimedRow, ClaimRequest, LaneRow, Position

Key = tuple[str, int]

LANES_PER_CLAIM = 16
# Jobs whose transactions commit in another order than they began appear behind the watermark; most no later than this.
SLACK = timedelta(milliseconds=20)
_FORGET_AFTER = 60.0
# Of a ClaimedRow.
_LANE: Callable[[ClaimedRow], Key] = itemgetter(3, 4)
_QUEUE: Callable[[ClaimedRow], str] = itemgetter(3)
_POSITION = itemgetter(8, 0)


class Queue:
    """One queue, as this executor knows it. `served` are the jobs it was given, each divided by the weight of then."""

    __slots__ = ("lanes", "name", "place", "priority", "served", "weight")

    def __init__(self, name: str, served: float) -> None:
        self.name = name
        self.served = served
        self.place = 0
        self.priority = 0
        self.weight = 1
        self.lanes: list[Lane] = []


class Lane:
    """One lane, as this executor knows it. `rank` sorts it among the lanes of its queue, best first."""

    __slots__ = ("key", "queue", "rank", "seen_at", "settled", "timeout", "watermark")

    def __init__(self, key: Key, queue: Queue) -> None:
        self.key = key
        self.queue = queue
        self.rank: tuple[float, ...] = ()
        self.timeout: float | None = None
        self.watermark = START
        self.settled = True
        self.seen_at = time.monotonic()


class Lanes:
    """All lanes known, in the order in which they are to be served."""

    def __init__(self, strict: Sequence[str] | None = None) -> None:
        """`strict` are queues that, among equals, come in this order instead of sharing by weight."""
        self._strict = None if strict is None else {name: place for place, name in enumerate(strict)}
        self._lanes: dict[Key, Lane] = {}
        self._queues: dict[str, Queue] = {}
        self._order: list[Lane] = []
        self._tiers: list[list[Lane]] = []
        self._places: dict[Key, int] = {}
        self._dry: set[Lane] = set()
        # What the queue served last had been given before: a queue that had no jobs meanwhile is not owed any.
        self._served = 0.0
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
            queue = self._queues.get(row.queue)
            if queue is None:
                # Not all executors are to begin with the same one.
                queue = self._queues[row.queue] = Queue(row.queue, self._served + random.random())
                queue.place = self._strict.get(row.queue, 0) if self._strict is not None else 0
            if queue.priority != row.queue_priority:
                queue.priority = row.queue_priority
                news = True
            queue.weight = row.weight
            lane = self._lanes.get((row.queue, row.priority))
            if lane is None:
                lane = self._lanes[row.queue, row.priority] = Lane((row.queue, row.priority), queue)
                news = True
            lane.rank = (-row.priority - row.lift, -row.waited if row.lift else 0.0, -row.priority)
            lane.timeout = row.timeout
            lane.seen_at = now
        for key in [key for key, lane in self._lanes.items() if now - lane.seen_at > _FORGET_AFTER]:
            self._dry.discard(self._lanes.pop(key))
        self._arrange()
        return news

    def _arrange(self) -> None:
        for queue in self._queues.values():
            queue.lanes = []
        for lane in sorted(self._lanes.values(), key=attrgetter("rank")):
            lane.queue.lanes.append(lane)
        self._queues = {name: queue for name, queue in self._queues.items() if queue.lanes}
        queues = sorted(self._queues.values(), key=lambda queue: (-queue.priority, queue.place, queue.name))
        self._order = [lane for queue in queues for lane in queue.lanes]
        self._tiers = [list(tier) for _, tier in groupby(self._order, key=lambda lane: lane.queue.priority)]

    def unsettled(self) -> Lane | None:
        """A lane whose watermark has not yet been brought past what is held back in it."""
        return next((lane for lane in self._order if not lane.settled), None)

    def all(self) -> list[Lane]:
        """The lanes, best first."""
        return list(self._order)

    def next_claim(self, limit: int) -> tuple[ClaimRequest, list[Lane]] | None:
        """The next few lanes to claim from, None when each has come up short since the last `refresh`."""
        lanes = self._pick()
        if not lanes:
            return None
        self._places = {lane.key: place for place, lane in enumerate(lanes)}
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
        if len(self._queues) > 1:
            # Those that hold nothing for us must not come first for ever, before others that do.
            last = max(queue.served for queue in self._queues.values())
            for lane in lanes:
                lane.queue.served = last
        return any(lane.settled and lane not in self._dry for lane in self._order)

    def refresh(self) -> None:
        """Any lane may hold something again."""
        self._dry.clear()

    def _pick(self) -> list[Lane]:
        # A lane not yet settled may hold back any number of rows at its head; an ordinary claim would look at them all.
        dry = self._dry
        if len(self._order) <= 1:
            return [lane for lane in self._order if lane.settled and lane not in dry]
        picked: list[Lane] = []
        for tier in self._tiers:
            room = LANES_PER_CLAIM - len(picked)
            if not room:
                break
            ready = {lane.queue for lane in tier if lane.settled and lane not in dry}
            key: Callable[[Queue], float] = attrgetter("served" if self._strict is None else "place")
            for queue in heapq.nsmallest(room, ready, key):
                picked += [lane for lane in queue.lanes if lane.settled and lane not in dry]
        return picked[:LANES_PER_CLAIM]

    def timeout(self, queue: str, priority: int) -> float | None:
        """The queue's timeout in seconds, for jobs whose own and whose task's are not set."""
        lane = self._lanes.get((queue, priority))
        return None if lane is None else lane.timeout

    def in_order(self, rows: list[ClaimedRow]) -> list[ClaimedRow]:
        """The jobs of the last claim in the order in which they should start; the database gives them in page order."""
        rows.sort(key=_POSITION)
        if len(self._lanes) > 1:
            places = self._places
            rows.sort(key=lambda row: places.get(_LANE(row), 0))
        return rows

    def advance(self, rows: Sequence[ClaimedRow]) -> None:
        """Moves watermarks to the last job claimed in each lane, of jobs in order, and charges the queues.

        Only after the claim committed.
        """
        last = {_LANE(row): row for row in rows}
        for key, row in last.items():
            lane = self._lanes.get(key)
            if lane is not None:
                self.reach(lane, Position(row[8], row[0]))
        if len(self._queues) > 1 and rows:
            names = Counter(map(_QUEUE, rows))
            counts = {self._queues[name]: count for name, count in names.items() if name in self._queues}
            self._served = max(self._served, min((queue.served for queue in counts), default=0.0))
            for queue, count in counts.items():
                queue.served = max(queue.served, self._served) + count / queue.weight

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
