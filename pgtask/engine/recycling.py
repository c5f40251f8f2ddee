"""When an executor is to be replaced because of what it has run or holds."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from pgtask.engine.control import Message


class Recycling:
    """Asks the supervisor for a successor once it is time."""

    def __init__(
        self, max_jobs: int | None, max_rss: int | None, ended: Callable[[], int], tell: Callable[[Message], None]
    ) -> None:
        """`max_rss` is in bytes; `ended` tells how many jobs have run."""
        self._max_jobs = max_jobs
        self._max_rss = max_rss
        self._ended = ended
        self._tell = tell
        self.due = bool(max_jobs or max_rss)

    def look(self) -> None:
        """Asks, once, if a limit is reached."""
        if not self.due:
            return
        reason = None
        if self._max_jobs and self._ended() >= self._max_jobs:
            reason = f"it has run {self._ended()} jobs"
        elif self._max_rss and (rss := psutil.Process().memory_info().rss) > self._max_rss:
            reason = f"it has {rss / 1e6:,.0f} MB of memory"
        if reason:
            self.due = False
            self._tell({"recycle": reason})
