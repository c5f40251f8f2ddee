"""What a job of a dead letter queue is a copy of, for handlers that ask."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pgtask.model.dead_letter import DeadLetter

if TYPE_CHECKING:
    from pgtask.database.pool import Pool


class DeadLetterReader:
    """Reads from the database that the jobs come from, which the application's own need not be.

    Not on the connection of the handler, whose transaction may have failed, nor on that of the executor, which claims
    no column for it: nothing is opened before the first question.
    """

    def __init__(self, url: str, *, pooled: bool) -> None:
        self._url = url
        self._pooled = pooled
        self._lock = threading.Lock()
        self._pool: Pool | None = None

    def read(self, job_id: int) -> DeadLetter | None:
        """What a running job is a copy of, None if of none. Raises DatabaseUnavailableError."""
        from pgtask.database import jobs
        from pgtask.database.pool import Pool

        with self._lock:
            if self._pool is None:
                self._pool = Pool(self._url, pooled=self._pooled)
        with self._pool.connection() as connection:
            return jobs.read_dead_letter(connection, job_id)
