"""What a handler may say instead of returning or failing: raise or return one of these."""

from __future__ import annotations

from datetime import timedelta

from pgtask.model.duration import parse_duration
from pgtask.model.retry import RetryPolicy


class Verdict(Exception):
    """Base of the answers a handler can give; each may be raised or returned."""


class Retry(Verdict):
    """Fail this attempt and try again `after` so many seconds (default: the job's backoff).

    Its class methods build retry policies for `@task(retry=…)`.
    """

    def __init__(self, reason: str = "retry requested", *, after: float | str | timedelta | None = None) -> None:
        super().__init__(reason)
        self.after = None if after is None else parse_duration(after)

    @staticmethod
    def fixed(delay: float | str | timedelta) -> RetryPolicy:
        """The same delay before each retry."""
        return RetryPolicy.build("fixed", delay, None)

    @staticmethod
    def linear(delay: float | str | timedelta, *, max_delay: float | str | timedelta | None = None) -> RetryPolicy:
        """`delay` times the number of the retry."""
        return RetryPolicy.build("linear", delay, max_delay)

    @staticmethod
    def exponential(
        delay: float | str | timedelta = 15, *, max_delay: float | str | timedelta | None = None
    ) -> RetryPolicy:
        """`delay`, doubled with each retry."""
        return RetryPolicy.build("exponential", delay, max_delay)


class Snooze(Verdict):
    """Give the job back for `seconds`; counts as no retry."""

    def __init__(self, seconds: float | str | timedelta) -> None:
        self.seconds = parse_duration(seconds)
        super().__init__(f"snoozed for {self.seconds:g} s")


class Cancel(Verdict):
    """End the job as cancelled."""

    def __init__(self, reason: str = "cancelled by its handler") -> None:
        super().__init__(reason)


class Discard(Verdict):
    """End the job as failed, whatever retries are left."""

    def __init__(self, reason: str = "discarded by its handler") -> None:
        super().__init__(reason)


class JobInterrupted(BaseException):
    """Base of what pgtask raises inside a running handler to stop it.

    No Exception, so that a handler's `except Exception` does not swallow it.
    """


class JobTimeout(JobInterrupted):
    """The attempt has overrun its timeout."""


class JobCancelled(JobInterrupted):
    """The job was asked to stop; raised in handlers that do not take a JobContext."""
