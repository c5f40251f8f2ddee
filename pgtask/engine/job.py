"""An enqueued job in the hands of its caller."""

from __future__ import annotations

import time
from typing import Any, Protocol

from pgtask.model.errors import JobFailedError
from pgtask.model.job import JobRecord
from pgtask.model.status import JobStatus

_FIRST_LOOK, _LONGEST_PAUSE = 0.005, 0.25


class Jobs(Protocol):
    """What a job needs of its application."""

    def read_job(self, id: int) -> JobRecord:
        """The job as it is stored now."""

    def cancel_job(self, id: int) -> str:
        """Cancels it and says what came of that."""

    def retry_job(self, id: int) -> None:
        """Puts it back."""


class Job:
    """A job by its id, with what was last known of it.

    `created` is False when enqueue found the live holder of the unique key instead of making a job.
    """

    __slots__ = ("_app", "_record", "created", "id")

    def __init__(self, app: Jobs, id: int, *, created: bool = True) -> None:
        self._app = app
        self._record: JobRecord | None = None
        self.id = id
        self.created = created

    def __repr__(self) -> str:
        status = self._record.status if self._record else "enqueued"
        return f"<Job {self.id} {status}>"

    @property
    def record(self) -> JobRecord:
        """All that was known at the last `refresh`; the first access reads it. Raises JobNotFoundError."""
        if self._record is None:
            self.refresh()
        assert self._record is not None
        return self._record

    @property
    def status(self) -> JobStatus:
        """The status at the last `refresh`; the first access reads it."""
        return JobStatus(self.record.status)

    @property
    def result(self) -> Any:
        """What the handler returned, None while it has not."""
        return self.record.result

    def refresh(self) -> Job:
        """Reads the job anew. Raises JobNotFoundError, also before the enqueuing transaction commits."""
        self._record = self._app.read_job(self.id)
        return self

    def wait(self, timeout: float | None = None) -> Any:
        """Waits until the job has ended and returns its result.

        Raises JobFailedError when it ended otherwise than completed, TimeoutError after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_LOOK
        while not self.refresh().status.final:
            time.sleep(self._pause(pause, deadline))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return self._outcome()

    async def wait_async(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - the twin of wait
        """`wait` for code that runs on asyncio."""
        import asyncio

        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_LOOK
        while not (await asyncio.to_thread(self.refresh)).status.final:
            await asyncio.sleep(self._pause(pause, deadline))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return self._outcome()

    def _pause(self, pause: float, deadline: float | None) -> float:
        if deadline is None:
            return pause
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"Job {self.id} has not ended yet: it is {self.status}.")
        return min(pause, left)

    def _outcome(self) -> Any:
        record = self.record
        if record.status != JobStatus.COMPLETED:
            raise JobFailedError(self.id, record.status, record.error)
        return record.result

    def cancel(self) -> str:
        """Cancels the job.

        Returns `cancelled` when it was waiting, `requested` when it runs and was asked to stop, or the final status
        when it has already ended. Raises JobNotFoundError.
        """
        return self._app.cancel_job(self.id)

    def retry(self) -> Job:
        """Puts the failed, cancelled or quarantined job back with fresh retries.

        Raises JobStateError, JobNotFoundError.
        """
        self._app.retry_job(self.id)
        return self.refresh()
