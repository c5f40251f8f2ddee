"""What some worker has to do now and then: rescuing, and as the leader statistics, partitions and pruning.

Nothing here must be done by one only: rescue is fenced by row locks, the rest is idempotent. The leader saves work.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from pgtask.database import ownership, partitions, statistics
from pgtask.database.connection import STATEMENT_TIMEOUT, Connection, connect
from pgtask.engine.persistence import persist

LEADERSHIP = "upkeep"
_LEASE = 15.0
_STATISTICS_EVERY = 10.0
_PARTITIONS_EVERY = 3600.0
# Upkeep that takes long is done more seldom: it may not take more than this share of a processor.
_REST_SHARE = 20
_FULL_RESCUE_EVERY = 3600.0

log = logging.getLogger("pgtask.upkeep")


class Upkeep:
    """One thread with a connection of its own, as a long statement here must not hold up a heartbeat."""

    def __init__(self, url: str, worker_id: int, lease: float) -> None:
        self._url = url
        self._worker_id = worker_id
        # A dead worker is to be found well within 5 s of its lease's end.
        self._interval = min(2.0, max(0.2, lease / 6))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        self._next: dict[Callable[[Connection], None], float] = {}

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, giving a leadership up."""
        self._stopped.set()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        persist(self._serve, self._stopped, log, "upkeep missed")

    def _serve(self) -> None:
        with connect(self._url, application_name=f"pgtask upkeep {self._worker_id}") as connection:
            while not self._stopped.wait(self._interval * random.uniform(0.8, 1.2)):
                self._step(connection)
            ownership.resign(connection, LEADERSHIP, self._worker_id)

    def _step(self, connection: Connection) -> None:
        self._rescue(connection)
        if ownership.lead(connection, LEADERSHIP, self._worker_id, _LEASE):
            self._now_and_then(_STATISTICS_EVERY, statistics.roll_up, connection)
            self._now_and_then(_PARTITIONS_EVERY, _maintain, connection)

    def _now_and_then(self, seconds: float, action: Callable[[Connection], None], connection: Connection) -> None:
        begun = time.monotonic()
        if begun >= self._next.get(action, 0.0):
            # Set first, so that an action that fails is not tried again at once.
            self._next[action] = begun + seconds
            action(connection)
            ended = time.monotonic()
            self._next[action] = ended + max(seconds, _REST_SHARE * (ended - begun))

    def _rescue(self, connection: Connection) -> None:
        for id, name, host in ownership.bury_dead(connection, self._worker_id):
            log.warning("worker %d (%s on %s) is dead: its lease ran out", id, name, host)
        # A claim that a worker sent just before it was declared dead may commit until its statement times out.
        if ownership.died_within(connection, STATEMENT_TIMEOUT + 2 * self._interval):
            self._free_ownerless(connection)
        else:
            self._now_and_then(_FULL_RESCUE_EVERY, self._free_ownerless, connection)

    def _free_ownerless(self, connection: Connection) -> None:
        freed = ownership.rescue(connection, self._worker_id)
        if freed:
            log.warning("rescued %d jobs of dead workers", len(freed))


def _maintain(connection: Connection) -> None:
    partitions.maintain(connection)
