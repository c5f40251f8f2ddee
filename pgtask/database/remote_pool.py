"""The connections on which a server works for workers over HTTP: few, with the settings of an executor's own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.pq import TransactionStatus

from pgtask.database.pool import has_news
from pgtask.database.reading import in_words_of
from pgtask.database.remote import RemoteConnection
from pgtask.model.errors import DatabaseUnavailableError

PATIENCE = 3.0


class RemotePool:
    """Lends connections, each to one thread; opened when first needed."""

    def __init__(self, url: str, *, pooled: bool = False, most: int = 4) -> None:
        """`most` are open at once."""
        self.url = url
        self.pooled = pooled
        self._places = threading.BoundedSemaphore(most)
        self._most = most
        self._idle: list[RemoteConnection] = []
        self._closed = False

    @contextmanager
    def connection(self, worker_id: int) -> Iterator[RemoteConnection]:
        """A connection that works for this worker during the block. Raises DatabaseUnavailableError, SchemaError."""
        if not self._places.acquire(timeout=PATIENCE):
            raise DatabaseUnavailableError(f"All {self._most} connections for workers were in use for {PATIENCE:g} s.")
        try:
            with in_words_of(self.url):
                connection = self._reuse() or RemoteConnection(self.url, pooled=self.pooled)
                connection.act_for(worker_id)
                try:
                    yield connection
                finally:
                    self._take_back(connection)
        finally:
            self._places.release()

    def _reuse(self) -> RemoteConnection | None:
        with contextlib.suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if not has_news(connection.raw):
                    return connection
                connection.close()
        return None

    def _take_back(self, connection: RemoteConnection) -> None:
        if connection.raw.info.transaction_status == TransactionStatus.IDLE and not self._closed:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Closes the idle connections, and those in use once they are done with."""
        self._closed = True
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()
