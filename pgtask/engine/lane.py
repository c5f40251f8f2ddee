"""One lane, as an executor knows it: how jobs are claimed from it, how far it was looked at, when to try again."""

from __future__ import annotations

import random
import time
from enum import IntEnum

from pgtask.database.claims import START, LaneRow, Looked, Position, Served

Key = tuple[str, int]

# Rows, or keys, to look at in a lane in one go.
EXAMINE = 2000
KEYS = 200
_EXAMINE_FIRST = 64
_REST_MIN, _REST_MAX = 0.01, 0.25
# What was passed over is looked at again after so many seconds: soon when it was held back by limits.
_WRAP_HELD_BACK, _WRAP = 0.25, 5.0


class Kind(IntEnum):
    """How jobs are claimed from a lane; of several lanes with one rank they come in this order.

    PLAIN ones have no limits. In LIMITED ones the queue has. GATED are the jobs in a lane without limits whose tasks
    have a rate or a circuit that is not closed, KEYED those with a concurrency key.
    """

    KEYED = 0
    GATED = 1
    LIMITED = 2
    PLAIN = 3

    @property
    def alone(self) -> bool:
        """Whether a claim takes one such lane and no other."""
        return self is Kind.KEYED

    def apart(self, other: Kind) -> bool:
        """Whether one claim cannot take lanes of both kinds."""
        return other.alone or (self is Kind.PLAIN) != (other is Kind.PLAIN)

    @classmethod
    def of(cls, row: LaneRow, *, gated: bool) -> list[Kind]:
        """How the jobs of a queue and priority are claimed; with `gated`, some tasks have limits."""
        kinds = [cls.LIMITED] if row.limited else [cls.PLAIN]
        if gated and not row.limited:
            kinds.append(cls.GATED)
        if row.keyed:
            kinds.append(cls.KEYED)
        return kinds


class Queue:
    """One queue. `served` are the jobs it was given, each divided by the weight of then."""

    __slots__ = ("lanes", "name", "place", "priority", "served", "timeout", "weight")

    def __init__(self, name: str, served: float) -> None:
        self.name = name
        self.served = served
        self.place = 0
        self.priority = 0
        self.weight = 1
        self.timeout: float | None = None
        self.lanes: list[Lane] = []


class Lane:
    """One lane. `rank` sorts it among the lanes of its queue, best first; up to `watermark` all has been looked at.

    `giving` says that the last look brought jobs and left more, or may have.
    """

    __slots__ = ("giving", "key", "kind", "queue", "rank", "seen_at", "settled", "watermark")

    def __init__(self, key: Key, queue: Queue, kind: Kind = Kind.PLAIN) -> None:
        self.key = key
        self.kind = kind
        self.queue = queue
        self.rank: tuple[float, ...] = ()
        self.watermark = START
        self.settled = True
        self.giving = False
        self.seen_at = time.monotonic()


class LimitedLane(Lane):
    """A lane that is claimed within limits. It rests when it gives nothing, and longer the more often it does.

    `full` says that limits are what it waits for, so that news of further jobs are none to it; `yielded` that it has
    had its turn before the others.
    """

    __slots__ = (
        *("_barren", "_pause", "_wrap", "_wrapped_at"),
        *("after_key", "examine", "full", "held_back", "rests_until", "yielded"),
    )

    def __init__(self, key: Key, queue: Queue, kind: Kind) -> None:
        super().__init__(key, queue, kind)
        self.after_key = ""
        self.examine = _EXAMINE_FIRST
        self.full = False
        self.held_back = False
        self.yielded = False
        self.rests_until = 0.0
        self._pause = _REST_MIN
        self._wrapped_at = 0.0
        # Where a claim by keys went from the first key on without finding anything, or would have.
        self._barren = False
        # Seconds after which it looks from the beginning again while something is held back. They double as long as
        # nothing is claimed, so that what lies behind a long line of jobs that may not start is reached.
        self._wrap = _WRAP_HELD_BACK

    def rouse(self) -> None:
        """Ends a rest."""
        self.rests_until = 0.0
        self._pause = _REST_MIN

    def _rest(self, *, full: bool) -> None:
        self.full = full
        self.rests_until = time.monotonic() + self._pause * random.uniform(0.5, 1.0)
        self._pause = min(self._pause * 2, _REST_MAX)

    def start(self) -> Position:
        """Where to look from: now and then from the beginning, for what was passed over."""
        now = time.monotonic()
        if now - self._wrapped_at > (self._wrap if self.held_back else _WRAP):
            self._wrapped_at = now
            if self.held_back:
                self._wrap = min(2 * self._wrap, _WRAP)
            self.held_back = False
            self.watermark = START
        return self.watermark

    def looked(self, looked: Looked | None, claimed: int, wanted: int) -> Position | None:
        """Learns what a look brought; returns the place up to which nothing claimable was seen, if it was far."""
        if looked is None:
            self._rest(full=self.held_back)
            return None
        self.held_back = self.held_back or looked.held_back
        more = looked.examined >= self.examine
        if claimed:
            self._pause, self._wrap = _REST_MIN, _WRAP_HELD_BACK
            self.examine = max(_EXAMINE_FIRST, min(EXAMINE, 4 * wanted))
        if looked.claimable > claimed:
            self.held_back = True
            if claimed < wanted:
                self._rest(full=True)
            return None
        if not more:
            self._rest(full=self.held_back)
            return None
        if not claimed:
            self.examine = EXAMINE
        return looked.last

    def served(self, served: Served, claimed: int, wanted: int) -> None:
        """Learns what a claim by keys brought."""
        began, more = self.after_key, served.keys >= KEYS
        self.after_key = served.last_key if more or served.claimable > claimed else ""
        if claimed:
            self._pause, self._barren = _REST_MIN, False
        if claimed < wanted and served.claimable > claimed:
            self._rest(full=True)
        elif not claimed and not more:
            if self._barren or not began:
                self._rest(full=False)
            self._barren = True
