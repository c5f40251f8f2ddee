"""Unique jobs: what makes two of them the same, how long the first stands in the way, and what becomes of the next.

The database applies this (`pgtask.enqueue_or_find`), as keys from payloads must be the same from every client.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from pgtask.model.duration import parse_duration

Scope = Literal["waiting", "active", "until_success", "always"]
OnConflict = Literal["skip", "error", "replace", "reschedule"]
SCOPES: tuple[Scope, ...] = ("waiting", "active", "until_success", "always")
CONFLICTS: tuple[OnConflict, ...] = ("skip", "error", "replace", "reschedule")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """How the jobs of a task are unique: by a `key`, or `by` paths of the payload such as "order.id" (True: all of it).

    The key is held while the job waits (`scope` "waiting"), waits or runs ("active"), unless it fails or is cancelled
    ("until_success"), or for ever ("always"), in each case no longer than `window`. Meanwhile enqueue returns its
    holder (`on_conflict` "skip"), raises ("error"), gives a holder that waits the new job's payload and options
    ("replace"), or puts it off to the new due time, at most until `max_wait` after it was made ("reschedule").
    """

    key: str | None = None
    by: Iterable[str] | bool | None = None
    scope: Scope = "active"
    window: float | str | timedelta | None = None
    on_conflict: OnConflict = "skip"
    max_wait: float | str | timedelta | None = None

    def checked(self) -> Unique:
        """The same, durations in seconds and paths as a tuple: empty for all of the payload.

        Raises ValueError for what makes no sense.
        """
        by = _paths(self.by)
        if (self.key is None) == (by is None):
            raise ValueError('give unique jobs either a key, or by paths of the payload such as ["to", "order.id"]')
        if self.scope not in SCOPES:
            raise ValueError(f"there is no scope {self.scope!r}: use {', '.join(SCOPES)}")
        if self.on_conflict not in CONFLICTS:
            raise ValueError(f"on_conflict {self.on_conflict!r} is unknown: use {', '.join(CONFLICTS)}")
        window = None if self.window is None else parse_duration(self.window)
        if window == 0:
            raise ValueError("a window of unique jobs must be longer than 0 s")
        if self.max_wait is not None and self.on_conflict != "reschedule":
            raise ValueError('max_wait bounds how far a job is put off: it needs on_conflict="reschedule"')
        return Unique(
            key=self.key,
            by=by,
            scope=self.scope,
            window=window,
            on_conflict=self.on_conflict,
            max_wait=None if self.max_wait is None else parse_duration(self.max_wait),
        )

    def fields(self) -> dict[str, Any]:
        """A checked one as fields of NewJob; what is as by default is left out."""
        values = {
            "unique_key": self.key,
            "unique_by": self.by,
            "unique_scope": None if self.scope == "active" else self.scope,
            "unique_window": self.window,
            "on_conflict": None if self.on_conflict == "skip" else self.on_conflict,
            "max_wait": self.max_wait,
        }
        return {name: value for name, value in values.items() if value is not None}


def _paths(by: Iterable[str] | bool | None) -> tuple[str, ...] | None:
    if by is None or by is True:
        return () if by else None
    if isinstance(by, (str, bool)) or not isinstance(by, Iterable):
        raise ValueError(f'unique jobs go by a list of paths such as ["to", "order.id"], or True, not {by!r}')  # noqa: TRY004 - one error for all
    paths = tuple(by)
    for path in paths:
        if not isinstance(path, str) or "" in path.split("."):
            raise ValueError(f'{path!r} is no path: write keys with points between them, such as "order.id"')
    return paths
