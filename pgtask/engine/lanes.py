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
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter, itemgetter

from pgtask.database.claims import START, ClaimedRow, ClaimRequest, LaneRow, Looked, Position, Served
from pgtask.engine.lane import Key, Kind, Lane, LimitedLane, Queue

LANES_PER_CLAIM = 16
# Jobs whose transactions commit in another order than they began appear behind the watermark; most no later than this.
SLACK = timedelta(milliseconds=20)
_FORGET_AFTER = 60.0
# Of a ClaimedRow.
_LANE: Callable[[ClaimedRow], Key] = itemgetter(3, 4)
_QUEUE: Callable[[ClaimedRow], str] = itemgetter(3)
_POSITION = itemgetter(8, 0)


class Lanes:
    """All lanes known, in the order in which they are to be served."""

    def __init__(self, strict: Sequence[str] | None = None) -> None:
        """`strict` are queues that, among equals, come in this order instead of sharing by weight."""
        self._strict = None if strict is None else {name: place for place, name in enumerate(strict)}
        self._lanes: dict[tuple[str, int, Kind], Lane] = {}
        self._limited: list[LimitedLane] = []
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

    def update(self, rows: Sequence[LaneRow], *, gated: bool = False) -> bool:
        """Takes in a sweep's answer; returns whether it brought lanes not known before.

        With `gated`, some tasks that are known here have limits: their jobs may be in any lane. Lanes that held nothing
        for a minute are forgotten.
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
            queue.timeout = row.timeout
            for kind in Kind.of(row, gated=gated):
                lane = self._lanes.get((row.queue, row.priority, kind))
                if lane is None:
                    made = Lane if kind is Kind.PLAIN else LimitedLane
                    lane = self._lanes[row.queue, row.priority, kind] = made((row.queue, row.priority), queue, kind)
                    news = True
                lane.rank = (-row.priority - row.lift, -row.waited if row.lift else 0.0, -row.priority, kind)
                lane.seen_at = now
            gone = (Kind.LIMITED,) if not row.limited else (Kind.PLAIN, Kind.GATED)
            for kind in gone if gated else (*gone, Kind.GATED):
                self._forget((row.queue, row.priority, kind))
        for key in [key for key, lane in self._lanes.items() if now - lane.seen_at > _FORGET_AFTER]:
            self._forget(key)
        self._arrange()
        return news

    def _forget(self, key: tuple[str, int, Kind]) -> None:
        lane = self._lanes.pop(key, None)
        if lane is not None:
            self._dry.discard(lane)

    def _arrange(self) -> None:
        for queue in self._queues.values():
            queue.lanes = []
        for lane in sorted(self._lanes.values(), key=attrgetter("rank")):
            lane.queue.lanes.append(lane)
        self._queues = {name: queue for name, queue in self._queues.items() if queue.lanes}
        queues = sorted(self._queues.values(), key=lambda queue: (-queue.priority, queue.place, queue.name))
        self._order = [lane for queue in queues for lane in queue.lanes]
        self._limited = [lane for lane in self._order if isinstance(lane, LimitedLane)]
        self._tiers = [list(tier) for _, tier in groupby(self._order, key=lambda lane: lane.queue.priority)]

    def foremost(self) -> Iterator[Lane]:
        """The lanes before which none is known to have more jobs, best first."""
        for tier in self._tiers:
            passed: set[Queue] = set()
            for lane in tier:
                if lane.queue not in passed:
                    yield lane
                    if lane.giving:
                        passed.add(lane.queue)
            if passed:
                return

    def unsettled(self) -> Lane | None:
        """A lane whose watermark is not yet past what is held back in it, unless a better one gives jobs."""
        return next((lane for lane in self.foremost() if not lane.settled), None)

    def settle(self, lane: Lane, *, settled: bool, giving: bool) -> bool:
        """Learns what a look at a lane not settled brought; returns whether to claim from it now."""
        # One that was looked at to its end waits for news: a claim that finds nothing slowly would unsettle it again.
        lane.settled, lane.giving = settled, giving
        (self._dry.discard if giving else self._dry.add)(lane)
        return giving

    def all(self) -> list[Lane]:
        """The lanes, best first."""
        return list(self._order)

    def plain(self) -> list[Lane]:
        """Those without limits."""
        return [lane for lane in self._order if lane.kind is Kind.PLAIN]

    def start_over(self) -> None:
        """Looks at everything again, as other tasks are wanted than before."""
        for lane in self._order:
            lane.watermark = START

    def next_claim(self, limit: int, within: int = 0) -> tuple[ClaimRequest, list[Lane]] | None:
        """The next few lanes to claim from, None when each has come up short since the last `refresh`.

        They are either all plain, for `limit` jobs, or lanes with limits, for at most `within` jobs.
        """
        lanes = self._pick(within)
        if not lanes:
            return None
        limited = [lane for lane in lanes if isinstance(lane, LimitedLane)]
        for lane in limited:
            lane.yielded = True
        starts = [lane.start() for lane in limited] or [lane.watermark for lane in lanes]
        self._places = {lane.key: place for place, lane in enumerate(lanes)}
        request = ClaimRequest(
            [lane.key[0] for lane in lanes],
            [lane.key[1] for lane in lanes],
            [start.time for start in starts],
            [start.id for start in starts],
            min(limit, within) if limited else limit,
        )
        return request, lanes

    def looked(
        self, lanes: Sequence[LimitedLane], rows: list[ClaimedRow], looked: Mapping[int, Looked], wanted: int
    ) -> None:
        """Learns what a claim within limits brought."""
        rows = self.in_order(rows)
        self.charge(rows)
        counts = Counter(map(_LANE, rows))
        last = {_LANE(row): row for row in rows}
        for place, lane in enumerate(lanes):
            position = lane.looked(looked.get(place), counts[lane.key], wanted)
            if position is not None:
                self.reach(lane, position)
            elif lane.key in last:
                row = last[lane.key]
                self.reach(lane, Position(row[8], row[0]))

    def served(self, lane: LimitedLane, rows: Sequence[ClaimedRow], served: Served, wanted: int) -> None:
        """Learns what a claim by keys brought."""
        self.charge(rows)
        lane.served(served, len(rows), wanted)

    def rouse(self, *, full: bool) -> None:
        """Ends the rests of lanes with limits: of all, or, where only jobs are news, of those not full."""
        for lane in self._limited:
            if full or not lane.full:
                lane.rouse()

    def roused_at(self) -> float:
        """When the next rest of a lane with limits ends; infinity when none rests."""
        now = time.monotonic()
        return min((lane.rests_until for lane in self._limited if lane.rests_until > now), default=float("inf"))

    def came_short(self, lanes: Sequence[Lane]) -> bool:
        """A claim over these lanes brought less than it asked for; returns whether there are others to try."""
        self._dry.update(lanes)
        for lane in lanes:
            lane.giving = False
        if len(self._queues) > 1:
            # Those that hold nothing for us must not come first for ever, before others that do.
            last = max(queue.served for queue in self._queues.values())
            for lane in lanes:
                lane.queue.served = last
        return any(self._ready(lane, 1) for lane in self._order)

    def refresh(self) -> None:
        """Any lane may hold something again."""
        self._dry.clear()

    def _ready(self, lane: Lane, within: int) -> bool:
        # A lane not yet settled may hold back any number of rows at its head; an ordinary claim would look at them all.
        if isinstance(lane, LimitedLane):
            return within > 0 and lane.rests_until <= time.monotonic()
        return lane.settled and lane not in self._dry

    def _best(self, within: int) -> Iterator[Lane]:
        key: Callable[[Queue], float] = attrgetter("served" if self._strict is None else "place")
        for tier in self._tiers:
            ready = {lane.queue for lane in tier if self._ready(lane, within)}
            for queue in heapq.nsmallest(LANES_PER_CLAIM, ready, key):
                for lane in queue.lanes:
                    if self._ready(lane, within):
                        yield lane

    def _pick(self, within: int) -> list[Lane]:
        if len(self._order) == 1 and not self._limited:
            return [lane for lane in self._order if self._ready(lane, within)]
        picked: list[Lane] = []
        waiting: list[LimitedLane] = []
        for lane in self._best(within):
            if isinstance(lane, LimitedLane) and lane.yielded:
                waiting.append(lane)
                continue
            if picked and (lane.kind.alone or lane.kind.apart(picked[0].kind)):
                break
            picked.append(lane)
            if lane.kind.alone or len(picked) == LANES_PER_CLAIM:
                break
        if not picked or picked[0].kind is Kind.PLAIN:
            # All have had their turn before these: now theirs come again.
            for limited in waiting:
                limited.yielded = False
        return picked or list(waiting[:1])

    def timeout(self, queue: str) -> float | None:
        """The queue's timeout in seconds, for jobs whose own and whose task's are not set."""
        known = self._queues.get(queue)
        return None if known is None else known.timeout

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
        for (queue, priority), row in last.items():
            lane = self._lanes.get((queue, priority, Kind.PLAIN))
            if lane is not None:
                lane.giving = True
                self.reach(lane, Position(row[8], row[0]))
        self.charge(rows)

    def charge(self, rows: Sequence[ClaimedRow]) -> None:
        """Charges the queues with the jobs that they were given."""
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
        for kind in (Kind.PLAIN, Kind.LIMITED, Kind.GATED):
            lane = self._lanes.get((queue, priority, kind))
            if lane is not None and lane.watermark.time >= instant:
                lane.watermark = Position(instant - SLACK, 0)
