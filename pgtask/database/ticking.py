"""The scheduler's statements: which schedules are due, and writing their ticks with the jobs that these make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from psycopg.rows import class_row, scalar_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.model.cron import Seconds
from pgtask.model.overlap import Live

_LOCK_DUE = statements.load("lock_due_schedules")
_FIND_JOBS = statements.load("find_schedule_jobs")
_WAIT_BRIEFLY = statements.load("wait_briefly")
_CANCEL = statements.load("cancel_jobs")
_FIRE = statements.load("fire_ticks")
_ADVANCE = statements.load("advance_schedules")
_NEXT_DUE = statements.load("next_due_schedule")
_HEED_CLOCK = statements.load("heed_clock")
_ORPHAN = statements.load("orphan_schedules")


class DueSchedule(NamedTuple):
    """A schedule that has come due, its row locked; `instant` is the database's clock."""

    id: int
    name: str
    expression: str
    timezone: str
    seconds: Seconds | None
    anchor: datetime
    due_after: datetime
    starts_at: datetime | None
    ends_at: datetime | None
    catchup: str
    catchup_limit: int
    catchup_max_age: float
    overlap: str
    jitter: float
    instant: datetime


class Tick(NamedTuple):
    """A tick to be written. `outcome` is `fired`, `skipped` or `missed`; a job is put off by `delay` seconds."""

    schedule_id: int
    tick_at: datetime
    delay: float
    outcome: str
    backfill: bool
    reason: str | None


class Advance(NamedTuple):
    """How far a schedule has been seen to, its next tick (None: no more), and what is wrong with it, if anything."""

    id: int
    due_after: datetime
    next_tick_at: datetime | None
    last_tick_at: datetime | None
    error: str | None


class Orphaned(NamedTuple):
    """A schedule that its application no longer declares, or one that it does declare after all."""

    name: str
    application: str
    orphaned: bool


def lock_due(connection: Connection, limit: int, ids: Sequence[int] | None = None) -> list[DueSchedule]:
    """Locks due schedules, only those of `ids` if given, until the transaction ends. Leaves out what others hold."""
    with connection.cursor(row_factory=class_row(DueSchedule)) as cursor:
        values = {"limit": limit, "ids": None if ids is None else list(ids)}
        return cursor.execute(_LOCK_DUE, values).fetchall()


def live_jobs(connection: Connection, schedule_ids: Sequence[int]) -> dict[int, Live]:
    """The jobs of schedules that have not ended."""
    found = {id: Live() for id in schedule_ids}
    if schedule_ids:
        for schedule_id, id, running in connection.execute(_FIND_JOBS, {"schedule_ids": list(schedule_ids)}):
            (found[schedule_id].running if running else found[schedule_id].waiting).append(id)
    return found


def cancel_jobs(connection: Connection, ids: Iterable[int]) -> None:
    """Cancels jobs; those that run are asked to stop. The transaction does not wait long for what others hold: all
    schedules would wait with it."""
    wanted = sorted(ids)
    if wanted:
        connection.execute(_WAIT_BRIEFLY)
        connection.execute(_CANCEL, {"ids": wanted})


def write(connection: Connection, ticks: Sequence[Tick], advances: Sequence[Advance]) -> set[int]:
    """Writes ticks and the jobs of those that fire; returns whose jobs these are. A tick that is there makes none."""
    made = set()
    if ticks:
        names = ("schedule_ids", "tick_ats", "delays", "outcomes", "backfills", "reasons")
        made = {row[0] for row in connection.execute(_FIRE, _columns(names, ticks))}
    connection.execute(_ADVANCE, _columns(("ids", "due_afters", "next_tick_ats", "last_tick_ats", "errors"), advances))
    return made


def _columns(names: Sequence[str], rows: Sequence[tuple[object, ...]]) -> dict[str, list[object]]:
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def next_due_in(connection: Connection) -> float | None:
    """Seconds until the next schedule is due, negative when one is overdue; None when none will be."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(_NEXT_DUE).fetchone()


def heed_clock(connection: Connection) -> list[str]:
    """Plans schedules anew that a clock, since put back, has taken into the future; returns their names."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(_HEED_CLOCK).fetchall()


def mark_orphans(connection: Connection) -> list[Orphaned]:
    """Marks the schedules that no live worker of their application declares any more, and takes the mark from those
    that one does declare; returns both."""
    with connection.cursor(row_factory=class_row(Orphaned)) as cursor:
        return cursor.execute(_ORPHAN).fetchall()
