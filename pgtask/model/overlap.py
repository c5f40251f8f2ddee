"""What a tick does when jobs of earlier ticks have not ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Overlap(StrEnum):
    """Jobs of a schedule side by side: any number, one, one waiting beside those that run, or the newest alone."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE_ONE = "queue_one"
    CANCEL_RUNNING = "cancel_running"


@dataclass(slots=True)
class Live:
    """The ids of a schedule's jobs that have not ended, oldest first."""

    waiting: list[int] = field(default_factory=list)
    running: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """For each tick why it is skipped, None for one that fires; and the jobs to be cancelled first."""

    reasons: list[str | None]
    cancel: list[int]


def judge(overlap: Overlap, count: int, live: Live) -> Verdicts:
    """What becomes of so many ticks that are to fire in their order."""
    if not count or overlap == Overlap.ALLOW:
        return Verdicts([None] * count, [])
    if overlap == Overlap.CANCEL_RUNNING:
        later = "a later tick came due at the same time; overlap is cancel_running"
        return Verdicts([later] * (count - 1) + [None], sorted([*live.waiting, *live.running]))
    if overlap == Overlap.SKIP:
        return Verdicts(_first_only(overlap, count, [*live.running, *live.waiting], "has not ended"), [])
    return Verdicts(_first_only(overlap, count, live.waiting, "still waits"), [])


def _first_only(overlap: Overlap, count: int, holders: Sequence[int], what: str) -> list[str | None]:
    if holders:
        return [f"job {holders[0]} of this schedule {what}; overlap is {overlap}"] * count
    return [None] + [f"the job of an earlier tick {what}; overlap is {overlap}"] * (count - 1)
