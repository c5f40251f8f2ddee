"""Waiting for the ends of jobs: one thread of a process asks for all, so that no request holds a connection."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

from pgtask.database import jobs
from pgtask.database.pool import Pool
from pgtask.database.reading import in_words_of
from pgtask.model.errors import PgTaskError

log = logging.getLogger("pgtask.web")

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between two looks: the first holds whenever a request comes to wait, then it grows by half each time."""


class Waiters:
    """Requests that wait for jobs. Each occupies a thread of the server, so only so many may."""

    def __init__(self, pool: Pool, most: int) -> None:
        """`most` is how many may wait at once."""
        self._pool = pool
        self._most = most
        self._changed = threading.Condition()
        self._waiting: Counter[int] = Counter()
        self._ended: set[int] = set()
        self._pause = FIRST_PAUSE
        self._thread: threading.Thread | None = None
        self._closed = False

    def dismiss(self) -> None:
        """Sends those who wait away; nobody waits from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self, job_id: int, seconds: float) -> None:
        """Returns when the job is not live, so many seconds are over, or the process is to end; at once when too many
        wait already."""
        deadline = time.monotonic() + seconds
        with self._changed:
            if self._waiting.total() >= self._most:
                return
            self._waiting[job_id] += 1
            self._ended.discard(job_id)
            self._pause = FIRST_PAUSE
            self._start()
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: job_id in self._ended or self._closed, deadline - time.monotonic())
            finally:
                self._waiting[job_id] -= 1
                if not self._waiting[job_id]:
                    del self._waiting[job_id]
                    self._ended.discard(job_id)

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            # Made by the first who waits: a process that was forked since has none.
            self._thread = threading.Thread(target=self._look, name="pgtask waiters", daemon=True)
            self._thread.start()

    def _look(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                wanted = set(self._waiting) - self._ended
            ended = wanted - self._live(wanted) if wanted else set()
            with self._changed:
                self._ended |= {job_id for job_id in ended if job_id in self._waiting}
                if ended:
                    self._changed.notify_all()
                pause, self._pause = self._pause, min(self._pause * 1.5, LONGEST_PAUSE)
                self._changed.wait(pause)

    def _live(self, wanted: set[int]) -> set[int]:
        try:
            with self._pool.connection() as connection, in_words_of(self._pool.url):
                return jobs.live_among(connection, wanted)
        except PgTaskError as error:
            log.warning("cannot look after jobs that are waited for: %s", error)
        except Exception:
            log.exception("cannot look after jobs that are waited for")
        return wanted
