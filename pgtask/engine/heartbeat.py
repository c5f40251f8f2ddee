"""The supervisor's heartbeat: renews the lease on a connection of its own and compares notes with the database."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

import psutil

from pgtask.database import ownership
from pgtask.database.connection import LEASE_SETTINGS, Connection, connect
from pgtask.engine.marks import Counts, Mark
from pgtask.engine.persistence import LONGEST_PAUSE, persist

# Between two beats, however many are asked for: notices are open to all.
_SHORTEST_INTERVAL = 0.05

log = logging.getLogger("pgtask.heartbeat")


class Heartbeat:
    """Beats every third of the lease until stopped; while the database is away it tries for ever."""

    def __init__(
        self,
        url: str,
        worker_id: int,
        lease: float,
        held: Callable[[], list[Mark]],
        tasks: Callable[[], list[str]],
        queues: Sequence[str] | None,
        on_beat: Callable[[ownership.Beat], None],
        *,
        quiet: Callable[[], bool] = lambda: False,
        size: Callable[[], tuple[int, int] | None] = lambda: None,
        counts: Callable[[], Counts] = Counts,
        pooled: bool = False,
    ) -> None:
        """`held` reads the jobs in hand, `tasks` the names known, `quiet` whether no more jobs are to be taken.

        `on_beat` gets each answer, in this thread. `size` tells how many executors and slots there are, None for as
        many as there were; `counts` how many attempts have ended.
        """
        self._size = size
        self._counts = counts
        self._url = url
        self._pooled = pooled
        self._worker_id = worker_id
        self._interval = lease / 3
        self._held = held
        self._tasks = tasks
        self._queues = queues
        self._on_beat = on_beat
        self._quiet = quiet
        self._stopped = threading.Event()
        self._asked = threading.Event()
        self._process = psutil.Process()
        self._measured = (0.0, 0.0)
        self.usage = (0.0, 0)
        self.beaten_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begins to beat."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it beats, or tries to."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Beats no more."""
        self._stopped.set()
        self._asked.set()

    def hasten(self) -> None:
        """Beats soon, as there may be news; from any thread."""
        self._asked.set()

    def _run(self) -> None:
        persist(self._serve, self._stopped, log, "heartbeat missed", min(self._interval, LONGEST_PAUSE))

    def _serve(self) -> None:
        name = f"pgtask heartbeat {self._worker_id}"
        with connect(self._url, application_name=name, settings=LEASE_SETTINGS, pooled=self._pooled) as connection:
            self._beat(connection)
            while not self._pause():
                self._beat(connection)

    def _pause(self) -> bool:
        """Waits for the next beat; returns whether there is none."""
        begun = time.monotonic()
        if self._asked.wait(self._interval):
            self._stopped.wait(max(0.0, begun + _SHORTEST_INTERVAL - time.monotonic()))
            # Cleared before the beat, so that what is asked for during it gets one of its own.
            self._asked.clear()
        return self._stopped.is_set()

    def _beat(self, connection: Connection) -> None:
        marks = self._held()
        cpu_percent, rss_bytes = self._usage()
        self.usage = cpu_percent, rss_bytes
        beat = ownership.heartbeat(
            connection,
            self._worker_id,
            [(mark.id, mark.attempt) for mark in marks],
            tasks=self._tasks(),
            queues=self._queues,
            size=self._size(),
            running=sum(mark.running for mark in marks),
            cpu_percent=cpu_percent,
            rss_bytes=rss_bytes,
            quiet=self._quiet(),
            counts=self._counts(),
        )
        self.beaten_at = time.monotonic()
        self._on_beat(beat)

    def _usage(self) -> tuple[float, int]:
        """Percent of one core used since the last beat, and bytes of memory, by the supervisor and all below it."""
        seconds, rss = 0.0, 0
        for process in [self._process, *self._process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                seconds += times.user + times.system
                rss += process.memory_info().rss
        now = time.monotonic()
        before, self._measured = self._measured, (now, seconds)
        passed = now - before[0]
        percent = 100 * max(0.0, seconds - before[1]) / passed if before[0] and passed > 0 else 0.0
        return percent, rss
