"""How many attempts may run at once, counted for threads and event loop together."""

from __future__ import annotations

import contextlib
import threading
from queue import Empty, SimpleQueue


class Permits:
    """So many permits, each held by an attempt that runs, to its end, though their number may change meanwhile."""

    def __init__(self, count: int) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        self._lock = threading.Lock()
        # So many are not given out again when they come back.
        self._owed = 0
        self.take = self._free.get
        self.take_at_once = self._free.get_nowait
        self.change(count)

    def give_back(self) -> None:
        """A permit is held no longer."""
        if self._owed:
            with self._lock:
                if self._owed:
                    self._owed -= 1
                    return
        self._free.put(None)

    def change(self, by: int) -> None:
        """Adds permits, or takes some away: free ones now, others as they come back."""
        with self._lock:
            self._owed -= by
            with contextlib.suppress(Empty):
                while self._owed > 0:
                    self._free.get_nowait()
                    self._owed -= 1
            while self._owed < 0:
                self._free.put(None)
                self._owed += 1
