"""Claims jobs for workers over HTTP that take the same tasks from the same queues.

They share one claimer, with its lanes and watermarks, as they would if they were slots of one executor.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from pgtask.database.claims import ClaimedRow
from pgtask.database.remote import Briefing, RemoteConnection
from pgtask.database.remote_pool import PATIENCE, RemotePool
from pgtask.engine.claimer import Claimer
from pgtask.engine.lane import LimitedLane
from pgtask.model.errors import DatabaseUnavailableError

# Looks and claims of one fetch, so that a long row of lanes that give nothing does not hold up the others for ever.
_ROUNDS = 1000
_LONGEST = 2.0
# More news than this is as good as none: everything is looked at anew.
_MOST_NEWS = 1000

Given = list[tuple[ClaimedRow, Briefing]]


class Dispenser:
    """One claimer under a lock, which fetches take in turn."""

    def __init__(self, queues: Sequence[str] | None, tasks: Sequence[str], poll: float, *, listen: bool) -> None:
        """`queues` None serves all; `poll` is the longest rest in seconds."""
        self._queues = queues
        self._tasks = list(tasks)
        self._poll = poll
        self._listen = listen
        self._lock = threading.Lock()
        self._news: deque[Callable[[Claimer], None]] = deque()
        self._claimer = self._new_claimer()
        self.used_at = time.monotonic()

    def _new_claimer(self) -> Claimer:
        return Claimer(self._queues, self._tasks, self._poll, self._listen)

    def tell(self, news: Callable[[Claimer], None]) -> None:
        """Has the claimer told before the next claim; from any thread."""
        if len(self._news) < _MOST_NEWS:
            self._news.append(news)

    def fetch(self, pool: RemotePool, worker_id: int, limit: int, *, suspects: bool, rest: bool) -> tuple[Given, float]:
        """Up to `limit` jobs for a worker, noted as given to it; without any, for how many seconds to `rest`, if it is.

        With `suspects` one that must run alone comes first. Raises DatabaseUnavailableError also when others are at it
        for too long, as they are while the database does not answer: threads are not to queue up here.
        """
        if not self._lock.acquire(timeout=PATIENCE):
            raise DatabaseUnavailableError(f"Other fetches of the same tasks have not ended for {PATIENCE:g} s.")
        try:
            return self._fetch(pool, worker_id, limit, suspects=suspects, rest=rest)
        finally:
            self._lock.release()

    def _fetch(
        self, pool: RemotePool, worker_id: int, limit: int, *, suspects: bool, rest: bool
    ) -> tuple[Given, float]:
        with pool.connection(worker_id) as connection:
            self.used_at = time.monotonic()
            if len(self._news) >= _MOST_NEWS:
                self._claimer = self._new_claimer()
                self._news.clear()
            while self._news:
                self._news.popleft()(self._claimer)
            try:
                given = self._claim_suspect(connection) if suspects else []
                given = given or self._claim(connection, limit)
                return given, self._claimer.rest(connection) if rest and not given else 0.0
            except BaseException:
                # What it believes to have looked at may not have been committed.
                self._claimer = self._new_claimer()
                raise

    def rested(self) -> None:
        """A wait is over without news."""
        self.tell(Claimer.try_again)

    def _claim_suspect(self, connection: RemoteConnection) -> Given:
        with connection.transaction():
            return _noted(connection, connection.claim_suspects(self._queues, 1, self._tasks))

    def _claim(self, connection: RemoteConnection, limit: int) -> Given:
        claimer, until = self._claimer, time.monotonic() + _LONGEST
        for _ in range(_ROUNDS):
            if claimer.look_due():
                with connection.transaction():
                    given = _noted(connection, claimer.lanes.in_order(claimer.look(connection, limit)))
            elif claimer.hungry:
                given = self._claim_next(connection, limit)
            else:
                break
            if given or time.monotonic() > until:
                return given
        return []

    def _claim_next(self, connection: RemoteConnection, limit: int) -> Given:
        claimer = self._claimer
        asked = claimer.request(limit, limit)
        if asked is None:
            return []
        request, lanes = asked
        limited = [lane for lane in lanes if isinstance(lane, LimitedLane)]
        if limited:
            with connection.transaction():
                return _noted(connection, claimer.claim_limited(connection, request, limited))
        begun = time.monotonic()
        with connection.transaction():
            exchanged = connection.exchange(None, None, None, request, claimer.tasks)
            rows = claimer.lanes.in_order(exchanged.claimed)
            given = _noted(connection, rows)
        claimer.took(rows, request.limit, lanes, time.monotonic() - begun)
        return given


def _noted(connection: RemoteConnection, rows: Sequence[ClaimedRow]) -> Given:
    if not rows:
        return []
    briefings = {briefing.id: briefing for briefing in connection.note_claim(rows)}
    return [(row, briefings[row[0]]) for row in rows]
