"""What executors hand in: attempts that completed, attempts that ended otherwise, and notes of running ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Completions:
    """Attempts that completed. Ages are seconds from the event to this moment.

    What they used is known, and given for all or none, where an attempt has a process to itself.
    """

    ids: list[int] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    started: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    results: list[str | None] = field(default_factory=list)
    cpu_seconds: list[float | None] = field(default_factory=list)
    peak_rss_bytes: list[int | None] = field(default_factory=list)


@dataclass(slots=True)
class Endings:
    """Attempts that ended otherwise. `finals` ends the job whatever retries are left; `delays` (seconds) replaces the
    backoff, where it is `advised` only that of a job without a policy of its own; `started` None means that the attempt
    never began."""

    ids: list[int] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    started: list[float | None] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    finals: list[bool] = field(default_factory=list)
    delays: list[float | None] = field(default_factory=list)
    error_types: list[str | None] = field(default_factory=list)
    errors: list[str | None] = field(default_factory=list)
    tracebacks: list[str | None] = field(default_factory=list)
    cpu_seconds: list[float | None] = field(default_factory=list)
    peak_rss_bytes: list[int | None] = field(default_factory=list)
    advised: list[bool] = field(default_factory=list)

    def arguments(self) -> dict[str, Any]:
        """As end_jobs.sql takes them, but for who sends them."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Notes:
    """Notes of running attempts.

    Progress is job id: (attempt, percent, message); a log line is (job id, monotonic instant, attempt, number, level,
    message).
    """

    progress: dict[int, tuple[int, int, str | None]] = field(default_factory=dict)
    logs: list[tuple[int, float, int, int, str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """Counts of attempts by task: successes, failures, and those since the last success (`streaks`); and how attempts
    ended of which one may be a circuit's probe."""

    tasks: list[str] = field(default_factory=list)
    successes: list[int] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    streaks: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)

    def arguments(self) -> dict[str, Any]:
        """As report_outcomes.sql takes them."""
        return {name: getattr(self, name) for name in self.__slots__}
