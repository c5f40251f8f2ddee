"""How many executors a worker has, where it finds their number by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import psutil

from pgtask.config import available_cores
from pgtask.engine.crew import Crew
from pgtask.engine.options import Kind, WorkerOptions
from pgtask.engine.process import ExecutorProcess
from pgtask.model.wording import plural

_EVERY = 0.5

log = logging.getLogger("pgtask.supervisor")


class Staffing:
    """The crews of a team's kinds of executors. Those for suspects are as many as there are suspects, see Team."""

    def __init__(self, options: WorkerOptions) -> None:
        self._as_many = options.executors.fixed
        self._as_large = self._as_many and options.slots.fixed
        self._crews = {kind: Crew(options.executors) for kind in (Kind.SHARED, Kind.ISOLATED)}
        self._next = 0.0

    def wanted(self, kind: Kind) -> int:
        """How many there are to be."""
        return self._crews[kind].wanted

    def adjust(self, now: float, serving: Callable[[Kind], Sequence[ExecutorProcess]]) -> list[ExecutorProcess]:
        """Wants one more or less, by what all that serve say they do; returns those that may go."""
        if self._as_many or now < self._next:
            return []
        self._next = now + _EVERY
        free_cores = available_cores() * (1 - psutil.cpu_percent() / 100)
        spare = []
        for kind, crew in self._crews.items():
            ready = [executor for executor in serving(kind) if executor.ready]
            advice = crew.advise(now, [executor.load for executor in ready], free_cores)
            if advice > 0:
                crew.follow(advice)
                log.info("jobs wait for %s: another one starts", plural(len(ready), "executor"))
            # One with jobs in hand is let be: the grace period might be too short for them.
            elif advice < 0 and (idle := next((one for one in reversed(ready) if not one.held()), None)):
                crew.follow(advice)
                log.info("executor %d is stopped: one less suffices", idle.number)
                spare.append(idle)
        return spare

    def size(self, executors: Sequence[ExecutorProcess]) -> tuple[int, int] | None:
        """How many executors serve jobs and how many slots they have; None where that never changes, or none does."""
        if self._as_large:
            return None
        serving = [executor for executor in executors if executor.kind != Kind.SUSPECTS and not executor.retired]
        if not serving:
            # Not yet, not at the moment or no more: what was told before says more about the worker.
            return None
        return len(serving), sum(executor.load.slots for executor in serving)
