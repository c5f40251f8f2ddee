"""The scheduler: makes the jobs of schedules when they are due.

One among the workers leads, which saves the others the looking. That each tick fires once does not depend on it: a due
schedule's row is locked, and a tick is written once, in one transaction with its job. Only the database's clock counts.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Sequence
from functools import lru_cache

from pgtask.database import ownership, ticking
from pgtask.database.connection import Connection, connect, lost, one_line, refusal
from pgtask.database.ticking import Advance, DueSchedule, Tick
from pgtask.engine.persistence import persist
from pgtask.model.cron import Seconds
from pgtask.model.errors import ScheduleError
from pgtask.model.misfire import Catchup, DueTick, Reckoning, Terms, reckon
from pgtask.model.overlap import Live, Overlap, judge
from pgtask.model.recurrence import Recurrence
from pgtask.model.schedule import jitter_delay

LEADERSHIP = "scheduler"
LEADERSHIP_SECONDS = 5.0
"""A dead leader is replaced after this, at most, and a candidate's pause."""

_LONGEST_PAUSE = 1.5
# Of those who do not lead: a thousand of them must not cost the database more than the schedules do.
_CANDIDATES_PAUSE = LEADERSHIP_SECONDS / 2
# Rows that others hold for a moment are looked at again after this.
_SHORTEST_PAUSE = 0.02
_BATCH = 200
_REVIEW_EVERY = 10.0

log = logging.getLogger("pgtask.scheduler")


class Scheduler:
    """One thread with a connection of its own."""

    def __init__(self, url: str, worker_id: int, *, pooled: bool = False) -> None:
        self._url = url
        self._worker_id = worker_id
        self._pooled = pooled
        self._stopped = threading.Event()
        self._news = threading.Event()
        self._review_at = 0.0
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def wake(self) -> None:
        """Looks at once, as schedules may have changed; from any thread."""
        self._news.set()

    def stop(self) -> None:
        """Ends, giving a leadership up."""
        self._stopped.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def _run(self) -> None:
        persist(self._serve, self._stopped, log, "schedules not looked at")

    def _serve(self) -> None:
        name = f"pgtask scheduler {self._worker_id}"
        with connect(self._url, application_name=name, pooled=self._pooled) as connection:
            while not self._stopped.is_set():
                # Cleared before the look, so that news during it gets one of its own.
                self._news.clear()
                self._news.wait(self._step(connection))
            ownership.resign(connection, LEADERSHIP, self._worker_id)

    def _step(self, connection: Connection) -> float:
        """Fires what is due if this worker leads; returns the seconds until the next look."""
        if not ownership.lead(connection, LEADERSHIP, self._worker_id, LEADERSHIP_SECONDS, unbroken=False):
            return _CANDIDATES_PAUSE * random.uniform(0.8, 1.2)
        if time.monotonic() >= self._review_at:
            self._review(connection)
        if fire_due(connection, _BATCH) == _BATCH:
            return 0.0
        due_in = ticking.next_due_in(connection)
        return _LONGEST_PAUSE if due_in is None else min(max(due_in, _SHORTEST_PAUSE), _LONGEST_PAUSE)

    def _review(self, connection: Connection) -> None:
        for name, application, orphaned in ticking.mark_orphans(connection):
            if orphaned:
                log.warning("schedule %r is orphaned: %s no longer declares it", name, application)
            else:
                log.info("schedule %r is no orphan: %s declares it", name, application)
        for name in ticking.heed_clock(connection):
            log.warning("schedule %r is planned anew: the database's clock was put back", name)
        self._review_at = time.monotonic() + _REVIEW_EVERY


def fire_due(connection: Connection, limit: int = _BATCH) -> int:
    """Sees to schedules that have come due, all that no other scheduler holds up to a limit; returns how many.

    What PostgreSQL refuses about one schedule does not hold up the others: that one gets its `error`.
    """
    due: list[DueSchedule] = []
    try:
        with connection.transaction():
            due = ticking.lock_due(connection, limit)
            _fire(connection, due)
    except Exception as error:
        if lost(error) or not due:
            raise
        log.warning("schedules could not be fired together (%s); one by one", one_line(error))
        return sum(_fire_alone(connection, schedule.id) for schedule in due)
    return len(due)


def _fire_alone(connection: Connection, id: int) -> int:
    try:
        with connection.transaction():
            due = ticking.lock_due(connection, 1, [id])
            _fire(connection, due)
    except Exception as error:
        reason = refusal(error)
        if reason is None:
            if lost(error):
                raise
            # Somebody holds what it needs; it stays due.
            log.warning("schedule %d could not be fired (%s); trying again", id, one_line(error))
            return 0
        with connection.transaction():
            due = ticking.lock_due(connection, 1, [id])
            ticking.write(connection, [], [_broken(schedule, f"Its job was refused: {reason}.") for schedule in due])
    return len(due)


def _fire(connection: Connection, due: Sequence[DueSchedule]) -> None:
    if not due:
        return
    ticks: list[Tick] = []
    advances: list[Advance] = []
    reckoned: list[tuple[DueSchedule, Reckoning]] = []
    for schedule in due:
        try:
            reckoned.append((schedule, _reckon(schedule)))
        except Exception as error:
            # Whatever an expression does to the libraries beneath, the other schedules fire.
            text = str(error) if isinstance(error, ScheduleError) else f"{type(error).__name__}: {error}"
            advances.append(_broken(schedule, text))
    bound = [schedule.id for schedule, found in reckoned if found.due and schedule.overlap != Overlap.ALLOW]
    live = ticking.live_jobs(connection, bound)
    replaced: dict[int, list[int]] = {}
    for schedule, found in reckoned:
        fired, cancel = _judge(schedule, found.due, live.get(schedule.id, Live()))
        ticks += fired
        replaced[schedule.id] = cancel
        last = max((tick.tick_at for tick in fired if tick.outcome == "fired"), default=None)
        advances.append(Advance(schedule.id, found.due_after, found.next_tick_at, last, None))
    made = ticking.write(connection, ticks, advances)
    # A job ends only for one that takes its place: a tick that is there already makes none.
    ticking.cancel_jobs(connection, [job for id in made for job in replaced[id]])


def _judge(schedule: DueSchedule, due: Sequence[DueTick], live: Live) -> tuple[list[Tick], list[int]]:
    """The ticks to be written, and the jobs to be cancelled for them."""
    verdicts = judge(Overlap(schedule.overlap), sum(tick.missed is None for tick in due), live)
    reasons = iter(verdicts.reasons)
    ticks = []
    for tick in due:
        outcome, reason = "missed", tick.missed
        if reason is None:
            reason = next(reasons)
            outcome = "fired" if reason is None else "skipped"
        delay = jitter_delay(schedule.id, tick.at, schedule.jitter)
        ticks.append(Tick(schedule.id, tick.at, delay, outcome, tick.backfill, reason))
    return ticks, verdicts.cancel


def _reckon(schedule: DueSchedule) -> Reckoning:
    terms = Terms(
        recurrence=_recurrence(schedule.expression, schedule.timezone, schedule.seconds),
        anchor=schedule.anchor,
        due_after=schedule.due_after,
        starts_at=schedule.starts_at,
        ends_at=schedule.ends_at,
        catchup=Catchup(schedule.catchup),
        limit=schedule.catchup_limit,
        max_age=schedule.catchup_max_age,
    )
    return reckon(terms, schedule.instant)


def _broken(schedule: DueSchedule, error: str) -> Advance:
    log.error("schedule %r does not fire any more: %s", schedule.name, error)
    return Advance(schedule.id, schedule.due_after, None, None, error)


# Reading an expression takes longer than to compute its next tick.
@lru_cache(maxsize=4096)
def _recurrence(expression: str, timezone: str, seconds: Seconds | None) -> Recurrence:
    return Recurrence.parse(expression, timezone, seconds)
