"""The rule by which an executor finds the number of its slots: from figures alone, without a clock.

While jobs wait for a slot and the process has time to spare, the number grows; once one core is busy, which is all that
Python uses at once, it shrinks. Each step is judged by the jobs ended per second: one that does not pay is taken back,
and then the next one is long in coming.
"""

from __future__ import annotations

from typing import NamedTuple

from pgtask.model.bounds import Bounds

# Of one core: from BUSY on slots only stand in each other's way, and above ROOM there is no use for more of them.
BUSY, ROOM = 0.9, 0.7
# ROOM where others keep the cores busy: then even a process that only computes gets less than a core.
_SCANT_ROOM = 0.3
_GROWTH, _SHRINKAGE = 2.0, 0.75
# A step must change the jobs per second by so much of what it changes the slots by.
_GAIN = 0.5
# What ended says something when these many did, and two for each slot; else a step stands after so many readings.
_EVIDENCE, _READINGS = 20, 3
_SHORTEST_HOLD, _LONGEST_HOLD = 5, 60
_IDLE_READINGS = 30


class Reading(NamedTuple):
    """What an executor did in about a second; `waiting`: all slots are taken and more jobs are there.

    `free`: the machine has time to spare.
    """

    seconds: float
    cpu: float
    ended: int
    waiting: bool
    free: bool


class Step(NamedTuple):
    """A step under judgement: from how many slots, with how many jobs per second, None if that was not known."""

    slots: int
    rate: float | None


class Governor:
    """Decides how many slots there are to be, a reading at a time."""

    def __init__(self, bounds: Bounds, first: int) -> None:
        """`first` slots are there to begin with."""
        self._bounds = bounds
        self._first = self.slots = first
        self._step: Step | None = None
        # The readings since the last step, or of the last few.
        self._readings: list[Reading] = []
        self._held, self._hold = 0, _SHORTEST_HOLD
        self._idle = 0
        self._waited = False
        # Jobs wait and more slots here would be of no use, or not be allowed.
        self.saturated = False

    def decide(self, reading: Reading) -> int:
        """How many slots there are to be now."""
        # During the first one the work has only come.
        fresh, self._waited = not self._waited, reading.waiting
        if not reading.waiting:
            self._rest()
        elif not fresh:
            self._work(reading)
        growing = self._step is not None and self._step.slots < self.slots
        self.saturated = reading.waiting and not fresh and not growing
        return self.slots

    def _rest(self) -> None:
        """Nothing waits: what ended says nothing about the slots, and in the long run they are too many."""
        self._step = None
        self._readings.clear()
        self._idle += 1
        if self._idle >= _IDLE_READINGS and self.slots > self._first:
            self._idle = 0
            self.slots = max(self._first, int(self.slots * _SHRINKAGE))

    def _work(self, reading: Reading) -> None:
        self._idle = 0
        # What is older says little about now.
        self._readings = [*self._readings[-_READINGS + 1 :], reading]
        busy = reading.cpu / reading.seconds
        if self._held:
            self._held -= 1
        elif self._step is None or self._pays(self._step, busy):
            self._go(busy, ROOM if reading.free else _SCANT_ROOM)

    def _rate(self) -> float | None:
        # Jobs per second since the last step, if enough have ended; the first for each slot began before it.
        ended = sum(reading.ended for reading in self._readings)
        if ended < max(_EVIDENCE, 2 * self.slots):
            return None
        return ended / sum(reading.seconds for reading in self._readings)

    def _pays(self, step: Step, busy: float) -> bool:
        """Whether the last step was right, so that another may follow; one that was wrong is taken back."""
        growth = self.slots / step.slots
        if growth < 1 and busy >= BUSY:
            # Still as much as it can do: the slots that are gone were of no use.
            return True
        rate = self._rate()
        if len(self._readings) < _READINGS and rate is None:
            return False
        self._step = None
        if rate is None or step.rate is None or rate >= step.rate * (1 + _GAIN * (growth - 1)):
            self._hold = _SHORTEST_HOLD
            return True
        self.slots = step.slots
        self._readings.clear()
        self._held, self._hold = self._hold, min(self._hold * 2, _LONGEST_HOLD)
        return False

    def _go(self, busy: float, room: float) -> None:
        slots = self.slots
        if busy >= BUSY:
            slots = int(slots * _SHRINKAGE)
        elif busy < room:
            # Not so far that there would be too little time.
            slots = max(slots + 1, int(slots * min(_GROWTH, BUSY / max(busy, 0.01))))
        slots = self._bounds.nearest(slots)
        if slots == self.slots:
            self._step = None
            return
        self._step = Step(self.slots, self._rate())
        self.slots = slots
        self._readings.clear()
