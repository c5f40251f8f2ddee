"""Tells a draining worker when nothing is left to run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from pgtask.database import ownership
from pgtask.database.connection import connect
from pgtask.engine.persistence import persist

_EVERY = 0.1

log = logging.getLogger("pgtask.drainer")


class Drainer:
    """Asks the database whenever the executors hold nothing."""

    def __init__(
        self,
        url: str,
        worker_id: int,
        queues: Sequence[str] | None,
        idle_tasks: Callable[[], list[str] | None],
        on_empty: Callable[[], None],
        *,
        pooled: bool = False,
    ) -> None:
        """`idle_tasks` gives the known tasks while nothing is in hand, else None."""
        self._url = url
        self._pooled = pooled
        self._worker_id = worker_id
        self._queues = queues
        self._idle_tasks = idle_tasks
        self._on_empty = on_empty
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begins to ask."""
        threading.Thread(target=self._run, name="drainer", daemon=True).start()

    def stop(self) -> None:
        """Asks no more."""
        self._stopped.set()

    def _run(self) -> None:
        persist(self._serve, self._stopped, log, "cannot tell whether anything is left")

    def _serve(self) -> None:
        name = f"pgtask drainer {self._worker_id}"
        with connect(self._url, application_name=name, pooled=self._pooled) as connection:
            while not self._stopped.wait(_EVERY):
                tasks = self._idle_tasks()
                if tasks is not None and not ownership.anything_left(connection, self._worker_id, tasks, self._queues):
                    self._stopped.set()
                    self._on_empty()
