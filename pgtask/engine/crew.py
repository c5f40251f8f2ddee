"""The rule by which a supervisor finds the number of its executors: from figures alone, without a clock of its own."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from pgtask.model.bounds import Bounds

SHORT_FOR = 1.0
"""Seconds for which all must have more than they can run before another one starts."""
SPARE_FOR = 30.0
"""Seconds for which one less must have sufficed before one is stopped."""
# One less suffices when the others would have this share of their slots, and of a core each, in use.
_EASE = 0.75
# Executors that compute less than this share of a core need none to themselves; others need half of what they compute.
_LIGHT = 0.3


class Load(NamedTuple):
    """What an executor said last: whether jobs wait that it cannot run, jobs in hand, slots, and cores in use."""

    saturated: bool
    in_hand: int
    slots: int
    busy: float


class Crew:
    """How many executors of a kind are wanted, between the bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self.wanted = bounds.least
        self._short_since = self._spare_since = inf

    def advise(self, now: float, loads: Sequence[Load], free_cores: float) -> int:
        """1 when another executor should start, -1 when one may be stopped, else 0; `loads` of those that serve.

        Whoever acts on it calls `follow`. As long as fewer serve than are wanted, there is none.
        """
        short = spare = False
        if loads and len(loads) >= self.wanted:
            short = self._short(loads, free_cores)
            spare = not short and self._spare(loads)
        # Since when each has been so without a break.
        self._short_since = min(self._short_since, now) if short else inf
        self._spare_since = min(self._spare_since, now) if spare else inf
        if now - self._short_since >= SHORT_FOR:
            return 1
        return -1 if now - self._spare_since >= SPARE_FOR else 0

    def follow(self, advice: int) -> None:
        """Notes that the advice was followed; the time for the next begins anew."""
        self.wanted += advice
        self._short_since = self._spare_since = inf

    def _short(self, loads: Sequence[Load], free_cores: float) -> bool:
        if self.wanted >= self._bounds.most or not all(load.saturated for load in loads):
            return False
        busy = sum(load.busy for load in loads) / len(loads)
        return busy < _LIGHT or free_cores >= busy / 2

    def _spare(self, loads: Sequence[Load]) -> bool:
        if self.wanted <= self._bounds.least:
            return False
        others = len(loads) - 1
        slots = sum(sorted(load.slots for load in loads)[:others])
        in_hand, busy = sum(load.in_hand for load in loads), sum(load.busy for load in loads)
        return in_hand <= _EASE * slots and busy <= _EASE * others
