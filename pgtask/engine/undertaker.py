"""Frees the jobs of this worker's dead executors, as soon as the database can be reached."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from pgtask.database import ownership
from pgtask.database.connection import STATEMENT_TIMEOUT, Connection, connect, lost, one_line
from pgtask.engine.burial import Burial

_PATIENCE_AT_END = 5.0
_LONGEST_PAUSE = 5.0

log = logging.getLogger("pgtask.undertaker")


class Undertaker:
    """A thread that works off deaths in order, started with the first."""

    def __init__(self, url: str, worker_id: int) -> None:
        self._url = url
        self._worker_id = worker_id
        self._tasks: SimpleQueue[Callable[[Connection], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="undertaker", daemon=True)

    def bury(self, executor: int, application_name: str, burial: Burial) -> None:
        """Has an executor's attempts ended and its other jobs freed."""
        self._enqueue(lambda connection: self._bury(connection, executor, application_name, burial))

    def finish(self, *, end_worker: bool) -> None:
        """Works off what is left, then ends the worker's lease; gives up after a few seconds: rescue will see to it."""
        if end_worker:
            self._enqueue(lambda connection: ownership.end_worker(connection, self._worker_id))
        self._tasks.put(None)
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_AT_END)

    def _enqueue(self, task: Callable[[Connection], None]) -> None:
        self._tasks.put(task)
        if not self._thread.ident:
            self._thread.start()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            pause = 0.1
            while True:
                try:
                    with connect(self._url, application_name=f"pgtask undertaker {self._worker_id}") as connection:
                        task(connection)
                    break
                except Exception as error:
                    log.warning(
                        "a dead executor's jobs are not freed yet (%s)", one_line(error), exc_info=not lost(error)
                    )
                    time.sleep(random.uniform(0, pause))
                    pause = min(pause * 2, _LONGEST_PAUSE)

    def _bury(self, connection: Connection, executor: int, application_name: str, burial: Burial) -> None:
        # Its server process may still be about to commit a claim or a completion.
        deadline = time.monotonic() + STATEMENT_TIMEOUT
        while ownership.end_backends(connection, application_name) and time.monotonic() < deadline:
            time.sleep(0.01)
        if burial.endings is not None:
            ownership.end(connection, self._worker_id, executor, burial.endings)
        freed = ownership.free(
            connection,
            [self._worker_id],
            executor,
            started=burial.started,
            outcome=burial.outcome,
            error=burial.error,
            suspects=burial.suspects,
        )
        if freed:
            log.info("%d jobs of executor %d were given back", len(freed), executor)
