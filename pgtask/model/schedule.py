"""Schedules: what one is declared to do, and what is stored of it and its ticks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar

from pgtask.model.cron import Seconds
from pgtask.model.errors import ScheduleError
from pgtask.model.misfire import Catchup
from pgtask.model.overlap import Overlap
from pgtask.model.recurrence import Recurrence

MAX_NAME, MAX_LIMIT, MAX_JITTER, MAX_SECONDS = 200, 1000, 86400.0, 1e9
MAX_QUEUE, MAX_TAGS, MAX_RETRIES = 128, 4000, 2**31 - 1
# What PostgreSQL takes for each besides its text.
_PER_TAG = 8

Word = TypeVar("Word", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule as it is declared. `payload` is JSON text; durations are seconds; None inherits from the task."""

    name: str
    expression: str
    task: str
    payload: str = "{}"
    timezone: str = "UTC"
    seconds: Seconds | None = None
    queue: str | None = None
    priority: int | None = None
    max_retries: int | None = None
    timeout: float | None = None
    tags: tuple[str, ...] = ()
    catchup: str = Catchup.ONE
    catchup_limit: int = 100
    catchup_max_age: float = 604800.0
    overlap: str = Overlap.QUEUE_ONE
    jitter: float = 0.0
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def check(self) -> Recurrence:
        """When it is due. Raises ScheduleError, saying what to write instead."""
        self._check_texts()
        if self.max_retries is not None and self.max_retries > MAX_RETRIES:
            raise ScheduleError(f"max_retries {self.max_retries} is out of range: write -1 for no limit.")
        checked_word(Catchup, "catchup", self.catchup)
        checked_word(Overlap, "overlap", self.overlap)
        if not 1 <= self.catchup_limit <= MAX_LIMIT:
            raise ScheduleError(f"catchup_limit {self.catchup_limit} is out of range: write 1 to {MAX_LIMIT}.")
        if not 0 <= self.jitter <= MAX_JITTER:
            raise ScheduleError(f"jitter {self.jitter:g} s is out of range: write 0 to {MAX_JITTER:g} seconds.")
        if not 0 <= self.catchup_max_age <= MAX_SECONDS:
            raise ScheduleError(f"catchup_max_age {self.catchup_max_age:g} s is out of range: write 0 s or more.")
        for what, instant in (("starts_at", self.starts_at), ("ends_at", self.ends_at)):
            if instant is not None and instant.utcoffset() is None:
                raise ScheduleError(f"{what} {instant.isoformat()} has no time zone: give an aware datetime.")
        if self.starts_at is not None and self.ends_at is not None and self.ends_at <= self.starts_at:
            raise ScheduleError("ends_at must be later than starts_at.")
        return Recurrence.parse(self.expression, self.timezone, self.seconds)

    def _check_texts(self) -> None:
        if not 1 <= len(self.name) <= MAX_NAME:
            raise ScheduleError(f"A schedule's name has 1 to {MAX_NAME} characters.")
        if self.queue is not None and not 1 <= len(self.queue.encode()) <= MAX_QUEUE:
            raise ScheduleError(f"A queue's name has 1 to {MAX_QUEUE} bytes: leave it out for the task's own.")
        if sum(len(tag.encode()) + _PER_TAG for tag in self.tags or ()) > MAX_TAGS:
            raise ScheduleError(f"The tags are too long: together they have up to {MAX_TAGS} bytes.")
        if any("\0" in text for text in (self.name, self.queue or "", *(self.tags or ()))):
            raise ScheduleError("Names and tags cannot hold the character U+0000: leave it out.")

    def arguments(self) -> dict[str, Any]:
        """Its values under their names, for a statement."""
        return asdict(self) | {"tags": list(self.tags) or None, "expression": self.expression.strip()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """A schedule as it is stored. Durations are seconds; None inherits.

    `state` is `active`, `paused`, `orphaned` (no longer declared in the code it came from), `broken` (see `error`) or
    `over` (no more ticks). `next_tick_at` is None unless it is active, and until a scheduler has seen it.
    """

    id: int
    name: str
    state: str
    source: str
    application: str | None
    expression: str
    timezone: str
    seconds: Seconds | None
    task: str
    payload: Any
    queue: str | None
    priority: int | None
    max_retries: int | None
    timeout: float | None
    tags: list[str] | None
    catchup: str
    catchup_limit: int
    catchup_max_age: float
    overlap: str
    jitter: float
    starts_at: datetime | None
    ends_at: datetime | None
    anchored_at: datetime
    paused_at: datetime | None
    paused_by: str | None
    orphaned_at: datetime | None
    error: str | None
    next_tick_at: datetime | None
    last_tick_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TickRecord:
    """A tick that was seen to: `outcome` is `fired`, `skipped` or `missed`, with the reason; `status` is its job's."""

    tick_at: datetime
    fired_at: datetime
    outcome: str
    backfill: bool
    reason: str | None
    job_id: int | None
    status: str | None
    started_at: datetime | None
    finished_at: datetime | None


def checked_word(kind: type[Word], what: str, word: str) -> Word:
    """The member of an enumeration. Raises ScheduleError for a word that is none."""
    try:
        return kind(word)
    except ValueError:
        raise ScheduleError(f"{what} is {word!r}: write {_listed(list(kind))}.") from None


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def jitter_delay(schedule_id: int, tick: datetime, jitter: float) -> float:
    """Seconds from 0 to `jitter` by which the job of a tick is put off: always the same for the same tick."""
    if not jitter:
        return 0.0
    digest = blake2b(f"{schedule_id} {tick.timestamp():.6f}".encode(), digest_size=8).digest()
    return jitter * int.from_bytes(digest) / 2**64


class PausedSchedule(NamedTuple):
    """A schedule that is paused, and since when."""

    name: str
    paused_at: datetime
