"""Looks once a second at what an executor's slots do: changes their number, and tells the supervisor."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import psutil

from pgtask.engine.claimer import Claimer
from pgtask.engine.control import Message
from pgtask.engine.crew import Load
from pgtask.engine.exchange import Exchange
from pgtask.engine.governor import Governor, Reading
from pgtask.engine.prefetch import Prefetch
from pgtask.engine.slots import Slots
from pgtask.model.bounds import Bounds

EVERY = 1.0
# Per cent of all cores from which on the machine has no time to spare.
_FULL = 90.0

log = logging.getLogger("pgtask.executor")


class Regulator:
    """Belongs to the executor's main thread."""

    def __init__(
        self,
        bounds: Bounds,
        first: int,
        slots: Slots,
        prefetch: Prefetch,
        claimer: Claimer,
        exchange: Exchange,
        tell: Callable[[Message], None],
    ) -> None:
        """There are `first` slots to begin with."""
        self._governor = Governor(bounds, first)
        self._slots = slots
        self._prefetch = prefetch
        self._claimer = claimer
        self._exchange = exchange
        self._tell = tell
        self._told: Load | None = None
        self._at, self._cpu, self._ended = time.monotonic(), time.process_time(), 0

    def look(self) -> None:
        """Looks if a second has passed since the last time."""
        now = time.monotonic()
        seconds = now - self._at
        if seconds < EVERY:
            return
        cpu, ended, in_hand = time.process_time(), self._slots.ended, self._slots.unfinished
        before = self._governor.slots
        waiting = in_hand >= before and (self._claimer.hungry or self._slots.backed_up())
        free = psutil.cpu_percent() < _FULL
        spent = cpu - self._cpu
        slots = self._governor.decide(Reading(seconds, spent, ended - self._ended, waiting, free))
        self._at, self._cpu, self._ended = now, cpu, ended
        if slots != before:
            log.debug("slots: %d, after %d (%.2f of a core busy)", slots, before, spent / seconds)
            self._exchange.call(lambda: self._resize(slots))
        load = Load(self._governor.saturated, in_hand, slots, round(spent / seconds, 1))
        if load != self._told:
            self._told = load
            self._tell({"load": load})

    def _resize(self, slots: int) -> None:
        self._prefetch.resize(slots)
        self._slots.resize(slots)
