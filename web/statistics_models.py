"""Statistics in requests and answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pydantic import ConfigDict, Field

from pgtask.model.period import Period, full_minutes

from .fields import Instant, TimeLimit
from .inputs import Query
from .shapes import Shape

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


class Span(Query):
    """Which time statistics are of: a window up to now, or from one time to another."""

    window: TimeLimit = 3600.0
    """How far back to look, from `to`."""
    from_: Instant | None = Field(None, alias="from")
    """Instead of a window."""
    to: Instant | None = None
    """Now, if not given."""
    step: TimeLimit | None = None
    """Seconds of a slice of the timeline, in full minutes; by itself, 60 slices at most. There are never over 1440."""

    def chosen(self, now: datetime) -> float | Period:
        """The window, or the full minutes that are asked for."""
        if self.from_ is None and self.to is None:
            return self.window
        to = max(self.to or now, _EARLIEST)
        began = self.from_ or to - timedelta(seconds=min(self.window, (to - _EARLIEST).total_seconds()))
        return full_minutes(max(began, _EARLIEST), to)


class TallyShape(Shape):
    """Ended attempts by what came of them, with the time they ran and waited."""

    model_config = ConfigDict(title="Tally", use_attribute_docstrings=True)

    completed: int
    failed: int
    """For good."""
    retried: int
    """Failed, and tried again."""
    cancelled: int
    lost: int
    run_seconds: float
    wait_seconds: float
    max_run_seconds: float
    max_wait_seconds: float
    attempts: int
    """Completed, failed and retried ones; seconds are of these."""
    attempts_per_second: float
    error_rate: float | None
    average_run_seconds: float | None
    average_wait_seconds: float | None


class BucketShape(Shape):
    """A slice of a timeline."""

    model_config = ConfigDict(title="Bucket", use_attribute_docstrings=True)

    began_at: datetime
    completed: int
    unsuccessful: int


class StatisticsShape(Shape):
    """What came of the attempts that ended in a span of time."""

    model_config = ConfigDict(title="Statistics", use_attribute_docstrings=True)

    window_seconds: float
    total: TallyShape
    by_queue: dict[str, TallyShape]
    by_task: dict[str, TallyShape]
    timeline: list[BucketShape]
    """Oldest first."""
