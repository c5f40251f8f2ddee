"""Connections through a pooler that lends a server session for one transaction at a time.

A session keeps nothing there from one transaction to the next. So nothing is prepared, listened to or locked for
longer, and what a session is told once elsewhere is told here at the head of each transaction, in the same round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import psycopg
from psycopg import sql
from psycopg.abc import Params
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import Row

from pgtask.database import statements

_SETTLE_IN = statements.load("settle_in")
_SET_LOCALLY = sql.SQL(statements.load("set_locally").decode())


class PooledConnection(psycopg.Connection[Any]):
    """Each transaction begins with `settings`, then with what `guard` executes."""

    settings: Mapping[str, str] = {}
    guard: Callable[[], object] | None = None

    def opens_transaction(self) -> bool:
        """Whether the next statement begins a transaction that is to have a head."""
        return (
            bool(self.settings or self.guard)
            and self.autocommit
            and self.info.pipeline_status == PipelineStatus.OFF
            and self.info.transaction_status == TransactionStatus.IDLE
        )

    @contextmanager
    def pipeline(self) -> Iterator[psycopg.Pipeline]:
        """A pipeline, whose statements are one transaction unless it is synchronised within."""
        opens = self.opens_transaction()
        with super().pipeline() as pipeline:
            if opens:
                if self.settings:
                    names, values = list(self.settings), list(self.settings.values())
                    self.execute(_SETTLE_IN, {"names": names, "values": values})
                self._keep_guard()
            yield pipeline

    @contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[psycopg.Transaction]:
        """A transaction, or a savepoint within one."""
        opens = self.opens_transaction()
        with super().transaction(savepoint_name, force_rollback) as transaction:
            if opens:
                for name, value in self.settings.items():
                    self.execute(_SET_LOCALLY.format(name=sql.Identifier(name), value=sql.Literal(value)))
                self._keep_guard()
            yield transaction

    def _keep_guard(self) -> None:
        if self.guard is not None:
            self.guard()


class PooledCursor(psycopg.Cursor[Row]):
    """A statement outside of a transaction gets one of its own, with a head."""

    def execute(
        self,
        query: Any,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool | None = None,
    ) -> Self:
        """Executes a statement."""
        connection = self.connection
        if not (isinstance(connection, PooledConnection) and connection.opens_transaction()):
            return super().execute(query, params, prepare=prepare, binary=binary)
        with connection.pipeline():
            return super().execute(query, params, prepare=prepare, binary=binary)
