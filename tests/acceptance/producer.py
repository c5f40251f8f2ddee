"""A producer whose jobs keep coming while a test breaks things."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Self

import psycopg

from pgtask.model.errors import PgTaskError
from tests import rows
from tests.support import eventually


class Producer:
    """Enqueues as fast as it can, and knows which jobs were acknowledged."""

    def __init__(self, enqueue: Callable[[], list[int]]) -> None:
        """`enqueue` makes some jobs and returns their ids; when it fails for the database's sake it is called again."""
        self._enqueue = enqueue
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.acknowledged: list[int] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(0.01):
            with contextlib.suppress(PgTaskError, psycopg.Error):
                self.acknowledged += self._enqueue()

    def enqueued(self, more: int) -> None:
        """Waits until so many more jobs are acknowledged."""
        target = len(self.acknowledged) + more
        eventually(lambda: len(self.acknowledged) >= target, 30)


def by_sql(url: str, task: str, count: int) -> Producer:
    """A producer that inserts so many jobs of a task at a time by plain SQL."""

    def insert() -> list[int]:
        with psycopg.connect(url, autocommit=True) as connection:
            return rows.insert(connection, task, count=count)

    return Producer(insert)
