"""What the leader among the workers does now and then: rescuing, ending jobs that were not
started in time, counting queues, statistics, partitions and pruning.

Nothing here must be done by one only: rescue is fenced by row locks, the rest is idempotent. That one does it saves the
database the looks of all the others.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from pgtask.database import admission, ownership, partitions, statistics
from pgtask.database.connection import STATEMENT_TIMEOUT, Connection, connect
from pgtask.engine.errands import Errands
from pgtask.engine.persistence import persist
from pgtask.model.wording import plural

LEADERSHIP = "upkeep"
# Of all but rescue, by a worker that may not rescue yet because its lease is too young, where nobody else does it.
STAND_IN = "upkeep stand-in"
_STATISTICS_EVERY = 10.0
_PRUNE_LIMITS_EVERY = 600.0
_COUNT_EVERY = 2.0
_PARTITIONS_EVERY, _PARTITIONS_AGAIN = 3600.0, 60.0
# Upkeep that takes long is done more seldom: its rests are this many times as long as its work.
_REST_SHARE = 20
_FULL_RESCUE_EVERY = 3600.0

log = logging.getLogger("pgtask.upkeep")


class Upkeep:
    """One thread with a connection of its own, as a long statement here must not hold up a heartbeat."""

    def __init__(self, url: str, worker_id: int, lease: float, *, pooled: bool = False) -> None:
        self._url = url
        self._worker_id = worker_id
        self._pooled = pooled
        # A dead leader is to be replaced before its own lease as a worker ends, and a dead worker to be found well
        # within 5 s of its lease's end.
        self._leadership = min(15.0, lease / 2)
        self._interval = min(2.5, max(0.2, lease / 6))
        # Jobs are to end within about a second of the time by which they had to start.
        self._leading_interval = min(1.0, self._interval)
        self._errands = Errands(url, f"pgtask errands {worker_id}", pooled=pooled)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        # By then its lease has been unbroken for a full period, or another leads.
        self._grown_up_at = time.monotonic() + 2 * lease
        self._partitions_every = _PARTITIONS_EVERY
        self._last: dict[Callable[[Connection], None], tuple[float, float]] = {}

    def start(self) -> None:
        """Begins."""
        self._thread.start()
        self._errands.start()

    def stop(self) -> None:
        """Ends, giving a leadership up."""
        self._stopped.set()
        self._errands.stop()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        persist(self._serve, self._stopped, log, "upkeep missed")

    def _serve(self) -> None:
        name = f"pgtask upkeep {self._worker_id}"
        with connect(self._url, application_name=name, pooled=self._pooled) as connection:
            pause = self._interval
            while not self._stopped.wait(pause * random.uniform(0.8, 1.2)):
                leads = self._step(connection)
                self._errands.allow(leads)
                pause = self._leading_interval if leads else self._interval
            for name in (LEADERSHIP, STAND_IN):
                ownership.resign(connection, name, self._worker_id)

    def _step(self, connection: Connection) -> bool:
        """Does what is due if this worker leads; returns whether it does."""
        if ownership.lead(connection, LEADERSHIP, self._worker_id, self._leadership):
            self._rescue(connection)
        elif time.monotonic() > self._grown_up_at or not self._stands_in(connection):
            return False
        self._repair_limits(connection)
        self._repair_circuits(connection)
        self._now_and_then(_PRUNE_LIMITS_EVERY, ownership.prune_limits, connection)
        self._expire(connection)
        self._now_and_then(_COUNT_EVERY, admission.count_queues, connection)
        self._now_and_then(_STATISTICS_EVERY, statistics.roll_up, connection)
        self._now_and_then(self._partitions_every, self._maintain, connection)
        return True

    def _stands_in(self, connection: Connection) -> bool:
        lead, seconds = ownership.lead, self._leadership
        return lead(connection, STAND_IN, self._worker_id, seconds, unbroken=False, beside=[LEADERSHIP])

    def _now_and_then(self, seconds: float, action: Callable[[Connection], None], connection: Connection) -> None:
        begun = time.monotonic()
        last, rest = self._last.get(action, (float("-inf"), 0.0))
        if begun - last >= max(seconds, rest):
            # Set first, so that an action that fails is not tried again at once.
            self._last[action] = (begun, 0.0)
            action(connection)
            ended = time.monotonic()
            self._last[action] = (ended, _REST_SHARE * (ended - begun))

    def _rescue(self, connection: Connection) -> None:
        for id, name, host in ownership.bury_dead(connection, self._worker_id):
            log.warning("worker %d (%s on %s) is dead: its lease ran out", id, name, host)
        # A claim that a worker sent just before it was declared dead may commit until its statement times out.
        if ownership.died_within(connection, STATEMENT_TIMEOUT + 2 * self._interval):
            self._free_ownerless(connection)
        else:
            self._now_and_then(_FULL_RESCUE_EVERY, self._free_ownerless, connection)

    def _expire(self, connection: Connection) -> None:
        expired = admission.expire_jobs(connection)
        if expired:
            log.info("ended %d jobs that were not started in time", expired)

    def _free_ownerless(self, connection: Connection) -> None:
        freed = ownership.rescue(connection, self._worker_id)
        if freed:
            log.warning("rescued %d jobs of dead workers", len(freed))

    def _repair_limits(self, connection: Connection) -> None:
        wrong = ownership.repair_limits(connection)
        if wrong:
            log.warning("%s of limits %s wrong and corrected", plural(wrong, "count"), "was" if wrong == 1 else "were")

    def _repair_circuits(self, connection: Connection) -> None:
        repaired = ownership.repair_circuits(connection)
        if repaired:
            log.info("%s lost the probe and may have another", plural(repaired, "circuit"))

    def _maintain(self, connection: Connection) -> None:
        # What a lock or the sheer amount kept it from doing is tried again soon.
        complete = partitions.maintain(connection).complete
        self._partitions_every = _PARTITIONS_EVERY if complete else _PARTITIONS_AGAIN
