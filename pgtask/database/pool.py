"""The connections of a service that enqueues: opened when first needed, shared by its threads."""

from __future__ import annotations

import asyncio
import select
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from pgtask.database.connection import translate_errors, unreachable
from pgtask.model.errors import DatabaseUnavailableError

MAX_SIZE = 10
PATIENCE = 10.0
_ARGUMENTS: dict[str, Any] = {"autocommit": True, "application_name": "pgtask client"}


class Pool:
    """Lends autocommit connections, to threads and to asyncio code."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._pool: ConnectionPool | None = None
        self._async: tuple[asyncio.AbstractEventLoop, AsyncConnectionPool] | None = None

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection for the block. Raises DatabaseUnavailableError, SchemaError."""
        with self._lock:
            if self._pool is None:
                self._pool = ConnectionPool(
                    self._url,
                    kwargs=_ARGUMENTS,
                    min_size=1,
                    max_size=MAX_SIZE,
                    timeout=PATIENCE,
                    check=_check,
                    open=True,
                    name="pgtask",
                )
        with translate_errors(self._url):
            try:
                with self._pool.connection() as connection:
                    yield connection
            except PoolTimeout as error:
                raise DatabaseUnavailableError(unreachable(self._url, error)) from error

    @asynccontextmanager
    async def connection_async(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection of the running event loop for the block. Raises DatabaseUnavailableError, SchemaError."""
        loop = asyncio.get_running_loop()
        if self._async is None or self._async[0] is not loop:
            # A pool belongs to the loop it was opened on; a second asyncio.run() gets one of its own.
            pool = AsyncConnectionPool(
                self._url,
                kwargs=_ARGUMENTS,
                min_size=1,
                max_size=MAX_SIZE,
                timeout=PATIENCE,
                check=_check_async,
                open=False,
                name="pgtask-async",
            )
            self._async = (loop, pool)
            await pool.open()
        with translate_errors(self._url):
            try:
                async with self._async[1].connection() as connection:
                    yield connection
            except PoolTimeout as error:
                raise DatabaseUnavailableError(unreachable(self._url, error)) from error

    def close(self) -> None:
        """Closes the threads' connections."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    async def close_async(self) -> None:
        """Closes the connections of the running event loop."""
        held, self._async = self._async, None
        if held is not None:
            await held[1].close()


def _has_news(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    # An idle server says nothing; if the socket can be read, it said goodbye. Looking costs microseconds, a query a
    # round trip.
    return bool(select.select([connection.pgconn.socket], [], [], 0)[0])


def _check(connection: psycopg.Connection[Any]) -> None:
    if _has_news(connection):
        ConnectionPool.check_connection(connection)


async def _check_async(connection: psycopg.AsyncConnection[Any]) -> None:
    if _has_news(connection):
        await AsyncConnectionPool.check_connection(connection)
