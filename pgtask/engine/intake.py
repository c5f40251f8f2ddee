"""What was claimed on its way to the slots, and back where it has waited too long for one."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from pgtask.database.claims import ClaimedRow
from pgtask.engine.attempt import Attempt
from pgtask.engine.claimer import Claimer
from pgtask.engine.completer import Completer
from pgtask.engine.marks import Marks
from pgtask.engine.prefetch import Prefetch
from pgtask.engine.slots import Slots
from pgtask.model.payload import decode_many

GIVE_BACK_AFTER = 0.5


class Intake:
    """The jobs that have arrived and are not yet handed to the slots: that is done while the server is busy with the
    next exchange, if any."""

    def __init__(
        self,
        claimer: Claimer,
        slots: Slots,
        marks: Marks,
        prefetch: Prefetch,
        completer: Completer,
        timeouts: Mapping[str, float | None],
    ) -> None:
        """`timeouts` of tasks, in seconds, hold for jobs without one of their own."""
        self._claimer = claimer
        self._slots = slots
        self._marks = marks
        self._prefetch = prefetch
        self._completer = completer
        self._timeouts = timeouts
        self._give_back_at = 0.0
        self._arrived: list[ClaimedRow] = []

    def __len__(self) -> int:
        return len(self._arrived)

    def take(self, rows: list[ClaimedRow]) -> None:
        """Takes what a claim brought."""
        # Nothing is left of the last claim unless an error came before its turn.
        self.hand_over()
        self._arrived = self._claimer.lanes.in_order(rows)

    def forget(self) -> None:
        """Drops what has arrived."""
        self._arrived = []

    def hand_over(self) -> None:
        """Hands what has arrived to the slots."""
        rows, self._arrived = self._arrived, []
        if rows:
            self._start(rows, limited=self._claimer.within_limits)

    def start_first(self, rows: list[ClaimedRow]) -> None:
        """Hands jobs claimed within limits to the slots, before others, so that they hold no limit while they wait."""
        if rows:
            waiting = self._slots.withdraw()
            self._start(rows, limited=True)
            self._slots.submit(waiting, again=True)

    def _start(self, rows: list[ClaimedRow], *, limited: bool) -> None:
        now = time.monotonic()
        lanes, timeouts, hold = self._claimer.lanes, self._timeouts, self._marks.hold
        payloads = decode_many([row[5] for row in rows])
        attempts = []
        for row, payload in zip(rows, payloads, strict=True):
            id, number, task, queue, priority, _, timeout, retries, _, tick = row
            limit = timeout or timeouts[task] or lanes.timeout(queue)
            attempt = Attempt(id, number, task, queue, priority, payload, limit, retries, now, tick)
            attempt.mark = hold(id, number, limit)
            attempt.limited = limited
            attempts.append(attempt)
        self._prefetch.claimed(attempt.task for attempt in attempts)
        self._give_back_at = now + GIVE_BACK_AFTER
        self._slots.submit(attempts)

    def withhold(self, tasks: Collection[str]) -> None:
        """Gives back what was fetched ahead of tasks that have limits from now on, or a circuit that is not closed."""
        if tasks:
            waiting = self._slots.withdraw()
            self._slots.submit([attempt for attempt in waiting if attempt.task not in tasks], again=True)
            self.give_back([attempt for attempt in waiting if attempt.task in tasks])

    def give_back_stale(self) -> None:
        """Gives back what has waited too long for a slot: the jobs before it turned out longer than expected."""
        now = time.monotonic()
        if now < self._give_back_at or not self._slots.backed_up():
            return
        waiting = self._slots.withdraw()
        stale = [attempt for attempt in waiting if now - attempt.claimed_at > GIVE_BACK_AFTER]
        fresh = [attempt for attempt in waiting if now - attempt.claimed_at <= GIVE_BACK_AFTER]
        self._slots.submit(fresh, again=True)
        self._give_back_at = min((attempt.claimed_at for attempt in fresh), default=now) + GIVE_BACK_AFTER
        if stale:
            running = {attempt.task for attempt in self._slots.running()}
            self._prefetch.stalled(running, GIVE_BACK_AFTER)
            self.give_back(stale)

    def give_back(self, attempts: list[Attempt]) -> None:
        """Gives attempts back that no slot has begun."""
        for attempt in attempts:
            attempt.outcome = "released"
            attempt.ended_at = time.monotonic()
            self._slots.forget(attempt)
            self._completer.add(attempt)
