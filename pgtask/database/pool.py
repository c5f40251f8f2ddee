"""The connections of a service that enqueues: opened when first needed, shared by its threads."""

from __future__ import annotations

import asyncio
import random
import select
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolTimeout

from pgtask.database.connection import lost, session_arguments, translate_errors, unreachable
from pgtask.database.pooled import PooledConnection, PooledCursor
from pgtask.model.errors import DatabaseUnavailableError

MAX_SIZE = 10
PATIENCE = 10.0
_LONGEST_PAUSE = 1.0
_RECONNECT = 5.0


class Pool:
    """Lends autocommit connections, to threads and to asyncio code."""

    def __init__(
        self,
        url: str,
        *,
        pooled: bool = False,
        name: str = "pgtask client",
        max_size: int = MAX_SIZE,
        patience: float = PATIENCE,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`pooled`: a transaction pooler is in between, so nothing is prepared.

        `name` is what PostgreSQL shows of the connections, `patience` how many seconds one is waited for. With
        `settings`, PostgreSQL's, threads' connections have them, and notice soon that the network is gone.
        """
        self.url = url
        self._pooled = pooled
        self._settings = settings
        self._arguments: dict[str, Any] = {"autocommit": True, "application_name": name}
        if pooled:
            self._arguments["prepare_threshold"] = None
        self._max_size = max_size
        self._patience = patience
        self._lock = threading.Lock()
        self._pool: ConnectionPool | None = None
        self._loops: dict[asyncio.AbstractEventLoop, LoopPool] = {}

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection for the block. Raises DatabaseUnavailableError, SchemaError, NotAllowedError."""
        with self._lock:
            if self._pool is None:
                self._pool = self._opened()
        with translate_errors(self.url):
            try:
                with self._pool.connection() as connection:
                    yield connection
            except PoolTimeout as error:
                raise DatabaseUnavailableError(unreachable(self.url, error)) from error

    def _opened(self) -> ConnectionPool:
        kind: type[psycopg.Connection[Any]] = psycopg.Connection
        arguments = self._arguments
        if self._settings:
            arguments = session_arguments(self.url, {} if self._pooled else self._settings) | arguments
            if self._pooled:
                kind, arguments = PooledConnection, arguments | {"cursor_factory": PooledCursor}
        return ConnectionPool(
            self.url,
            connection_class=kind,
            configure=self._configure,
            kwargs=arguments,
            min_size=1,
            max_size=self._max_size,
            timeout=self._patience,
            # Given up soon: who asks next then tries at once, and waits for no ever longer pause.
            reconnect_timeout=_RECONNECT,
            check=_check,
            open=True,
            name="pgtask",
        )

    def _configure(self, connection: psycopg.Connection[Any]) -> None:
        if isinstance(connection, PooledConnection):
            connection.settings = self._settings or {}

    @asynccontextmanager
    async def connection_async(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection of the running event loop for the block.

        Raises DatabaseUnavailableError, SchemaError, NotAllowedError.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            for other in [other for other in self._loops if other.is_closed()]:
                self._loops.pop(other).abandon()
            own = self._loops.setdefault(loop, LoopPool(self.url, self._arguments))
        with translate_errors(self.url):
            async with own.connection() as connection:
                yield connection

    def close(self) -> None:
        """Closes the threads' connections, and those of event loops that have ended."""
        with self._lock:
            pool, self._pool = self._pool, None
            ended = [self._loops.pop(loop) for loop in list(self._loops) if loop.is_closed()]
        for connections in ended:
            connections.abandon()
        if pool is not None:
            pool.close()

    async def close_async(self) -> None:
        """Closes the connections of the running event loop."""
        with self._lock:
            own = self._loops.pop(asyncio.get_running_loop(), None)
        if own is not None:
            own.abandon()


class LoopPool:
    """The connections of one event loop.

    It has no task of its own: one that is connecting when asyncio.run() cancels it at the end would hold that up for
    ever, as psycopg's AsyncConnectionPool does.
    """

    def __init__(self, url: str, arguments: dict[str, Any]) -> None:
        """`arguments` are psycopg's, beside the URL."""
        self._url = url
        self._arguments = arguments
        self._idle: list[psycopg.AsyncConnection[Any]] = []
        self._places = asyncio.Semaphore(MAX_SIZE)

    def __del__(self) -> None:
        self.abandon()

    def abandon(self) -> None:
        """Closes the idle connections; from any thread."""
        while self._idle:
            connection = self._idle.pop()
            connection.pgconn.finish()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection for the block. Raises DatabaseUnavailableError."""
        deadline = time.monotonic() + PATIENCE
        try:
            async with asyncio.timeout(PATIENCE):
                await self._places.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailableError(f"All {MAX_SIZE} connections were in use for {PATIENCE:g} s.") from error
        try:
            connection = self._reuse() or await self._connect(deadline)
            try:
                yield connection
            finally:
                if connection.info.transaction_status == TransactionStatus.IDLE:
                    self._idle.append(connection)
                else:
                    await connection.close()
        finally:
            self._places.release()

    def _reuse(self) -> psycopg.AsyncConnection[Any] | None:
        while self._idle:
            connection = self._idle.pop()
            if not has_news(connection):
                return connection
            connection.pgconn.finish()
        return None

    async def _connect(self, deadline: float) -> psycopg.AsyncConnection[Any]:
        pause = 0.05
        while True:
            try:
                return await psycopg.AsyncConnection.connect(self._url, **self._arguments)
            except psycopg.OperationalError as error:
                if not lost(error) or time.monotonic() + pause > deadline:
                    raise
            await asyncio.sleep(random.uniform(0, pause))
            pause = min(pause * 2, _LONGEST_PAUSE)


def has_news(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Whether a server that should be silent has something to say: that the connection is at its end."""
    # An idle server says nothing; if the socket can be read, it said goodbye. Looking costs microseconds, a query a
    # round trip. Not select(), which fails in a process with over a thousand descriptors.
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


def _check(connection: psycopg.Connection[Any]) -> None:
    if has_news(connection):
        ConnectionPool.check_connection(connection)
