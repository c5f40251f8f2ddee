"""Replacing executors one after the other, each once its successor serves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from pgtask.engine.options import Kind
from pgtask.engine.process import ExecutorProcess

log = logging.getLogger("pgtask.supervisor")


class Renewal:
    """Those that are to be replaced, and the successor that is on its way."""

    def __init__(self, start: Callable[[Kind], ExecutorProcess], retire: Callable[[ExecutorProcess], None]) -> None:
        self._start = start
        self._retire = retire
        self._waiting: list[ExecutorProcess] = []
        self.successor: ExecutorProcess | None = None

    @property
    def under_way(self) -> bool:
        """Whether executors are being replaced."""
        return bool(self._waiting)

    def ask(self, executors: Sequence[ExecutorProcess]) -> None:
        """Has these replaced, after those that already are to be."""
        self._waiting += [executor for executor in executors if executor not in self._waiting]

    def go_on(self, alive: Sequence[ExecutorProcess]) -> None:
        """Does what can be done now."""
        self._waiting = [executor for executor in self._waiting if executor in alive]
        if not self._waiting:
            self.successor = None
            return
        old = self._waiting[0]
        if self.successor is None:
            self.successor = self._start(old.kind)
        elif self.successor not in alive:
            log.error("the new executor could not start: the old ones go on with the code they have")
            self.end()
        elif self.successor.ready:
            self.successor = None
            self._waiting.pop(0)
            self._retire(old)

    def end(self) -> None:
        """Replaces none any more."""
        self._waiting.clear()
        self.successor = None
