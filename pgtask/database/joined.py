"""ctx.connection for libraries that want to commit and roll back themselves."""

from __future__ import annotations

from typing import Any

import psycopg

_OWN = frozenset({"_connection", "_block"})


class JoinedConnection:
    """Passes for a psycopg connection of its own, but its transactions are savepoints in that of another.

    What is committed on it is kept if the other commits; what is not is undone at `rollback` or `close`.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._block: psycopg.Transaction | None = None

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # psycopg's own functions look for the type.
        return type(self._connection)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN:
            super().__setattr__(name, value)
        else:
            setattr(self._connection, name, value)

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """A cursor; the first after a commit or rollback begins the next savepoint."""
        self._begin()
        return self._connection.cursor(*args, **kwargs)

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """As psycopg's."""
        self._begin()
        return self._connection.execute(*args, **kwargs)

    def transaction(self, *args: Any, **kwargs: Any) -> Any:
        """As psycopg's."""
        self._begin()
        return self._connection.transaction(*args, **kwargs)

    def commit(self) -> None:
        """Keeps what was done since the last commit or rollback, if the transaction around it commits."""
        if self._block is not None:
            block, self._block = self._block, None
            block.__exit__(None, None, None)

    def rollback(self) -> None:
        """Undoes what was done since the last commit or rollback."""
        if self._block is not None:
            block, self._block = self._block, None
            undo = psycopg.Rollback()
            block.__exit__(psycopg.Rollback, undo, None)

    def close(self) -> None:
        """Undoes what was not committed; the connection itself stays open."""
        self.rollback()

    def _begin(self) -> None:
        if self._block is None:
            block = psycopg.Transaction(self._connection)
            block.__enter__()
            self._block = block
