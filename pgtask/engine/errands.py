"""Bulk operations, worked off beside everything else in a thread and on a connection of its own."""

from __future__ import annotations

import logging
import threading

from pgtask.database.bulk_operations import work_off
from pgtask.database.connection import connect
from pgtask.engine.persistence import persist

_LOOK_EVERY = 1.0

log = logging.getLogger("pgtask.errands")


class Errands:
    """Looks once a second for something to do while it is allowed to, and does it chunk after chunk."""

    def __init__(self, url: str, name: str, *, pooled: bool = False) -> None:
        """`name` is what PostgreSQL shows of its connection."""
        self._url = url
        self._name = name
        self._pooled = pooled
        self._stopped = threading.Event()
        self._allowed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="errands", daemon=True)

    def start(self) -> None:
        """Begins, once it is allowed to."""
        self._thread.start()

    def allow(self, on: bool) -> None:
        """Lets it work, or rest: of many who could, one is enough."""
        if on:
            self._allowed.set()
        else:
            self._allowed.clear()

    def stop(self) -> None:
        """Ends after the chunk under way."""
        self._stopped.set()
        self._allowed.set()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        self._allowed.wait()
        persist(self._serve, self._stopped, log, "bulk operations missed")

    def _serve(self) -> None:
        with connect(self._url, application_name=self._name, pooled=self._pooled) as connection:
            while not self._stopped.is_set():
                self._allowed.wait()
                if self._stopped.is_set() or not work_off(connection):
                    self._stopped.wait(_LOOK_EVERY)
