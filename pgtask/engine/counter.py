"""The counter at which workers over HTTP are served: jobs out, news in, waiting without a connection.

There is one in each process of a server. It listens on one connection while somebody fetches, and polls behind that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from pgtask.database.notifications import Message
from pgtask.database.remote_pool import RemotePool
from pgtask.engine.claimer import Claimer
from pgtask.engine.dispenser import Dispenser, Given
from pgtask.engine.listener import Listener

_MOST_DISPENSERS = 200
# The listener goes on for so many seconds after the last fetch.
_LISTEN_FOR = 60.0

Key = tuple[tuple[str, ...] | None, tuple[str, ...]]


class Counter:
    """The dispensers of this process, and those who wait at them."""

    def __init__(self, pool: RemotePool, poll: float, *, listen: bool, places: int) -> None:
        """`poll` is the longest rest in seconds; at most `places` threads wait at once."""
        self.pool = pool
        self._poll = poll
        self._listen = listen and not pool.pooled
        self._places = places
        self._waiting = 0
        self._dispensers: dict[Key, Dispenser] = {}
        self._condition = threading.Condition()
        self._edition = 0
        self._listener: Listener | None = None
        self._used_at = 0.0
        self._closed = False

    def fetch(
        self,
        worker_id: int,
        limit: int,
        queues: Sequence[str] | None,
        tasks: Sequence[str],
        wait: float,
        *,
        suspects: bool,
    ) -> tuple[Given, bool]:
        """Up to `limit` jobs for a worker, waiting up to `wait` seconds for the first; and whether it could wait.

        `queues` None means all. With `suspects` one that must run alone comes first.
        """
        dispenser = self._dispenser((None if queues is None else tuple(sorted(queues)), tuple(sorted(tasks))))
        deadline = time.monotonic() + wait
        while True:
            edition = self._edition
            left = deadline - time.monotonic()
            given, pause = dispenser.fetch(self.pool, worker_id, limit, suspects=suspects, rest=left > 0)
            if given or left <= 0:
                return given, True
            if not self._wait(edition, min(pause, left)) or self._closed:
                return given, False
            dispenser.rested()

    def freed(self) -> None:
        """Attempts have ended, which may make room in limits."""
        self._publish(Claimer.freed)

    def queues_changed(self) -> None:
        """A circuit may have opened: its jobs are not to be given out until the database's notice comes."""
        self._publish(Claimer.queues_changed)

    def dismiss(self) -> None:
        """Sends those who wait away; nobody waits from now on."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def close(self) -> None:
        """Sends those who wait away, listens no more, and closes the idle connections."""
        self.dismiss()
        if self._listener is not None:
            self._listener.stop()
        self.pool.close()

    def _dispenser(self, key: Key) -> Dispenser:
        with self._condition:
            self._used_at = time.monotonic()
            self._keep_listening()
            found = self._dispensers.get(key)
            if found is None:
                if len(self._dispensers) >= _MOST_DISPENSERS:
                    oldest = min(self._dispensers, key=lambda known: self._dispensers[known].used_at)
                    del self._dispensers[oldest]
                found = Dispenser(*key, self._poll, listen=self._listen)
                self._dispensers[key] = found
            return found

    def _wait(self, edition: int, seconds: float) -> bool:
        """Waits for news after an edition; False, at once, when too many others wait already."""
        with self._condition:
            if self._waiting >= self._places:
                return False
            self._waiting += 1
            try:
                self._condition.wait_for(lambda: self._edition != edition or self._closed, seconds)
            finally:
                self._waiting -= 1
                self._used_at = time.monotonic()
        return True

    # Listening

    def _keep_listening(self) -> None:
        if self._listen and self._listener is None and not self._closed:
            self._listener = Listener(self.pool.url, "server", self._hear)
            self._listener.start()

    def _hear(self, message: Message) -> None:
        with self._condition:
            if not self._waiting and time.monotonic() - self._used_at > _LISTEN_FOR and self._listener is not None:
                # Watermarks are of no use to those who miss what happens behind them.
                self._listener.stop()
                self._listener = None
                self._dispensers.clear()
                return
        if "queues" in message:
            self.queues_changed()
        elif "rewind" in message:
            instant = datetime.fromtimestamp(message["at"], UTC)
            queue, priority = message["rewind"], message["priority"]
            self._publish(lambda claimer: claimer.rewind(queue, priority, instant))
        elif "wake" in message:
            self._publish(Claimer.wake)

    def _publish(self, news: Callable[[Claimer], None]) -> None:
        with self._condition:
            self._edition += 1
            for dispenser in self._dispensers.values():
                dispenser.tell(news)
            self._condition.notify_all()
