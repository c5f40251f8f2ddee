"""Ends by force what neither its timeout nor a cancel request could end by asking."""

from __future__ import annotations

import logging
import threading
import time

from pgtask.engine.burial import Key
from pgtask.engine.process import ExecutorProcess

# Between TERM, which what a job has started may heed, and KILL.
_LAST_GRACE = 1.0
_FORGET_AFTER = 3600.0

log = logging.getLogger("pgtask.supervisor")


class Warden:
    """Knows from the marks which attempts have overrun, and what may be done to their executors.

    An executor that runs one job at a time is killed. One that runs others beside is retired: it takes nothing more,
    the others get the grace period, and it is killed when only the attempts that will not stop are left.
    """

    def __init__(self, kill_after: float, grace: float) -> None:
        """`kill_after` seconds pass between asking and force."""
        self._kill_after = kill_after
        self._grace = grace
        self._cancels: dict[Key, float] = {}
        self._lock = threading.Lock()

    def cancel_asked(self, key: Key) -> None:
        """An attempt was asked to stop, perhaps not for the first time; from any thread."""
        now = time.monotonic()
        with self._lock:
            self._cancels.setdefault(key, now)
            if len(self._cancels) > 1000:
                self._cancels = {key: at for key, at in self._cancels.items() if now - at < _FORGET_AFTER}

    def inspect(self, executor: ExecutorProcess) -> bool:
        """Passes sentence on what will not stop; returns whether the executor should take nothing more."""
        sentences = self._sentences(executor)
        if sentences:
            for (id, attempt), outcome in sentences.items():
                log.warning(
                    "job %d attempt %d will not stop (%s): executor %d is ended",
                    id,
                    attempt,
                    outcome,
                    executor.number,
                    extra={"job_id": id, "attempt": attempt},
                )
            executor.condemn(sentences, _LAST_GRACE if executor.alone else self._grace)
        if executor.sentences and not executor.alone and self._only_they_are_left(executor):
            executor.kill_at = 0.0
        return bool(executor.sentences)

    def _sentences(self, executor: ExecutorProcess) -> dict[Key, str]:
        now = time.monotonic()
        found: dict[Key, str] = {}
        for mark in executor.held():
            key = (mark.id, mark.attempt)
            if not mark.running or key in executor.sentences:
                continue
            if mark.timeout and now > mark.started_at + mark.timeout + self._kill_after:
                found[key] = "timeout"
            elif executor.alone and now > self._cancels.get(key, now) + self._kill_after:
                found[key] = "cancelled"
        return found

    @staticmethod
    def _only_they_are_left(executor: ExecutorProcess) -> bool:
        return all((mark.id, mark.attempt) in executor.sentences for mark in executor.held())
