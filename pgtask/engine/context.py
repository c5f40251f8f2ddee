"""What a handler may ask and tell while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pgtask.model.errors import TransactionError
from pgtask.model.payload import clean_text
from pgtask.model.verdict import JobCancelled

if TYPE_CHECKING:
    import psycopg

    from pgtask.engine.attempt import Attempt
    from pgtask.engine.transactions import Transactions
    from pgtask.model.dead_letter import DeadLetter

LEVELS = ("debug", "info", "warning", "error")
MAX_LINE = 4_000
MAX_LINES = 1_000


class JobContext:
    """The running attempt, for a handler that has a parameter annotated with this class."""

    def __init__(
        self,
        attempt: Attempt,
        on_progress: Callable[[Attempt, int, str | None], None],
        on_log: Callable[[Attempt, float, int, str, str], None],
        transactions: Transactions | None = None,
        read_dead_letter: Callable[[int], DeadLetter | None] = lambda id: None,  # noqa: ARG005
    ) -> None:
        self._attempt = attempt
        self._read_dead_letter = read_dead_letter
        self._dead_letter: DeadLetter | None = None
        self._dead_letter_read = False
        self._transactions = transactions
        self._on_progress = on_progress
        self._on_log = on_log
        self._lines = 0

    @property
    def id(self) -> int:
        """The job's id."""
        return self._attempt.id

    @property
    def attempt(self) -> int:
        """The number of this claim of the job; with the id it is a fencing token for other systems."""
        return self._attempt.attempt

    @property
    def task(self) -> str:
        """The task's name."""
        return self._attempt.task

    @property
    def queue(self) -> str:
        """The queue the job came from."""
        return self._attempt.queue

    @property
    def priority(self) -> int:
        """The job's priority."""
        return self._attempt.priority

    @property
    def retry_count(self) -> int:
        """How many attempts of the job have failed before."""
        return self._attempt.retry_count

    @property
    def tick_at(self) -> datetime | None:
        """The tick of the schedule that the job is for, in UTC; None for a job that no tick has made."""
        tick = self._attempt.tick_at
        return None if tick is None else tick.astimezone(UTC)

    @property
    def dead_letter(self) -> DeadLetter | None:
        """The job that this one is a copy of, and what it ended with, in a dead letter queue; None for any other job.

        The first access asks the database, on a connection of its own; in a coroutine, `await dead_letter_async()`
        first. Raises DatabaseUnavailableError.
        """
        if not self._dead_letter_read:
            self._dead_letter = self._read_dead_letter(self.id)
            self._dead_letter_read = True
        return self._dead_letter

    async def dead_letter_async(self) -> DeadLetter | None:
        """`dead_letter`, without holding up the other coroutines."""
        import asyncio

        return await asyncio.to_thread(lambda: self.dead_letter)

    @property
    def cancelled(self) -> bool:
        """Whether the job was asked to stop; a handler that sees it should clean up and `raise_if_cancelled`."""
        return self._attempt.cancelled

    def raise_if_cancelled(self) -> None:
        """Raises JobCancelled, which ends the job as cancelled, if it was asked to stop."""
        if self._attempt.cancelled:
            raise JobCancelled("the job was cancelled")

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """In a transactional task, a psycopg connection whose transaction commits with the job or not at all.

        Raises TransactionError in any other, and after the handler has ended.
        """
        if self._transactions is None:
            raise TransactionError(
                f"There is no ctx.connection: declare {self.task} with @task(transactional=True), run by a worker"
            )
        return self._transactions.connection(self._attempt)

    def joined(self) -> Any:
        """`connection` for a library that commits and rolls back itself, such as SQLAlchemy, as its DBAPI connection.

        What it commits is kept if the job completes. Raises TransactionError as `connection` does.
        """
        from pgtask.database.joined import JoinedConnection

        return JoinedConnection(self.connection)

    def progress(self, percent: float, message: str | None = None) -> None:
        """Tells how far the job is, 0 to 100, with a few words. Written within about a second; the newest counts.

        Raises ValueError for a number outside that range.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"progress is between 0 and 100, not {percent}")
        text = None if message is None else clean_text(str(message), 500)
        self._on_progress(self._attempt, int(percent), text)

    def log(self, message: str, level: str = "info") -> None:
        """Keeps a line with the job; the first 1,000 lines of an attempt are kept, 4,000 characters each.

        Raises ValueError for a level other than debug, info, warning and error.
        """
        if level not in LEVELS:
            raise ValueError(f"unknown level {level!r}: use {', '.join(LEVELS)}")
        self._lines += 1
        if self._lines < MAX_LINES:
            self._on_log(self._attempt, time.monotonic(), self._lines, level, clean_text(str(message), MAX_LINE))
        elif self._lines == MAX_LINES:
            text = f"Further lines of this attempt are not kept (the limit is {MAX_LINES})."
            self._on_log(self._attempt, time.monotonic(), self._lines, "warning", text)
