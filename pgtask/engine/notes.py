"""Progress and log lines on their way to the database, kept until the next exchange takes them along."""

from __future__ import annotations

import threading
import time

from pgtask.database.outcomes import Notes
from pgtask.engine.attempt import Attempt

_EVERY = 0.5


class Notebook:
    """Collects notes from any thread; gives them out at most twice a second, the newest progress of each job only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notes = Notes()
        self._due_at: float | None = None
        self._taken_at = 0.0

    def progress(self, attempt: Attempt, percent: int, message: str | None) -> None:
        """Notes how far a job is."""
        with self._lock:
            self._notes.progress[attempt.id] = (attempt.attempt, percent, message)
            self._schedule()

    def log(self, attempt: Attempt, instant: float, line: int, level: str, message: str) -> None:
        """Notes a log line, written at an instant of the monotonic clock."""
        with self._lock:
            self._notes.logs.append((attempt.id, instant, attempt.attempt, line, level, message))
            self._schedule()

    def _schedule(self) -> None:
        if self._due_at is None:
            self._due_at = max(time.monotonic(), self._taken_at + _EVERY)

    def take(self, now: float) -> Notes | None:
        """The notes due at an instant, None when there are none."""
        if self._due_at is None or now < self._due_at:
            return None
        with self._lock:
            notes, self._notes = self._notes, Notes()
            self._due_at, self._taken_at = None, time.monotonic()
        return notes

    def restore(self, notes: Notes) -> None:
        """Takes back notes that could not be written; what is newer stays."""
        with self._lock:
            self._notes.progress = notes.progress | self._notes.progress
            self._notes.logs = notes.logs + self._notes.logs
            self._schedule()

    def pause(self, pause: float | None, now: float) -> float | None:
        """A pause shortened so that notes are not late."""
        if self._due_at is None:
            return pause
        left = max(0.0, self._due_at - now)
        return left if pause is None else min(pause, left)
