"""The connection of transactional handlers: what they do on it is committed with their job's completion, or never."""

from __future__ import annotations

import contextlib
from enum import Enum
from functools import cache
from typing import Any

import psycopg
from psycopg import pq, sql
from psycopg.pq import ConnStatus, PipelineStatus, TransactionStatus

from pgtask.database import connection as connections
from pgtask.database import statements
from pgtask.model.errors import DatabaseUnavailableError, TransactionError

_MARK = sql.SQL(statements.load("mark_transaction").decode())
_READ_MARK = statements.load("read_transaction_mark")
_RESET_ROLE = statements.load("reset_role")
_COMPLETE = statements.load("complete_jobs")
_DISCARD = statements.load("discard_session")
_END_BACKEND = statements.load("end_backend")
_LOCK = statements.load("lock_jobs")
_FIND_COMPLETED = statements.load("find_completed_attempt")

_CANCEL_WITHIN = 5.0


class JobConnection(psycopg.Connection[Any]):
    """A psycopg connection inside the transaction of an attempt; nested blocks of `transaction()` are savepoints."""

    def commit(self) -> None:
        """Refused: the transaction is committed when the handler returns."""
        raise TransactionError(
            "ctx.connection cannot be committed by hand: its transaction commits with the job when the handler returns."
        )

    def rollback(self) -> None:
        """Refused: the transaction is rolled back when the handler raises."""
        raise TransactionError(
            "ctx.connection cannot be rolled back by hand: raise an error, or use `with ctx.connection.transaction():` "
            "for what may be undone."
        )

    def close(self) -> None:
        """Refused: the worker uses the connection again."""
        raise TransactionError("ctx.connection is not the handler's to close: leave it open, also by `with`.")


class Left(Enum):
    """The state in which a handler has left its transaction."""

    OPEN = "open"
    ABORTED = "aborted"
    ENDED = "ended"
    BUSY = "busy"
    LOST = "lost"


class HandlerConnection:
    """A connection that handlers get one after the other, each with a transaction of its own.

    Every method raises psycopg errors as they come, and `broken` tells whether the connection is of further use.
    """

    def __init__(self, url: str, worker_id: int, executor: int) -> None:
        """Raises DatabaseUnavailableError also for a standby, where nothing can be written."""
        self._name = transaction_name(worker_id, executor)
        self._identity = {"worker_id": worker_id}
        self._own = connections.connect(url, application_name=self._name, statement_timeout=None)
        # The handler's side of the connection prepares statements under the same names.
        self._own.prepare_threshold = None
        self._given: JobConnection | None = None
        self._mark = ""
        if self._own.info.parameter_status("in_hot_standby") == "on":
            self._own.close()
            raise DatabaseUnavailableError("The PostgreSQL server is a standby.")
        self.pid = self._own.info.backend_pid

    @property
    def broken(self) -> bool:
        """Whether the server or the network has ended it."""
        return self._own.pgconn.status != ConnStatus.OK

    def begin(self, id: int, attempt: int) -> JobConnection:
        """Begins an attempt's transaction and returns the handler's own view of the connection."""
        self._own.autocommit = False
        self._mark = f"{id}/{attempt}"
        with self._own.pipeline():
            self._own.execute(_MARK.format(mark=sql.Literal(self._mark)))
        # A new one each time: adapters, row factories and the like are not handed on either.
        self._given = JobConnection(self._own.pgconn)
        return self._given

    def cancel(self) -> None:
        """Cancels the statement under way, if any; from any thread."""
        with contextlib.suppress(psycopg.Error):
            self._own.cancel_safe(timeout=_CANCEL_WITHIN)

    def take_back(self) -> Left:
        """Takes the connection out of the handler's hands and tells how it was left."""
        assert self._given is not None
        given, self._given = self._given, None
        # Whoever has kept it finds it closed.
        given.pgconn = _closed()
        pgconn = self._own.pgconn
        if pgconn.status != ConnStatus.OK:
            return Left.LOST
        if pgconn.pipeline_status != PipelineStatus.OFF:
            return Left.BUSY
        return _LEFT.get(TransactionStatus(pgconn.transaction_status), Left.BUSY)

    def complete(self, id: int, attempt: int, started: float, result: str | None) -> bool:
        """Appends the guarded completion; False when the job is no longer this worker's.

        `started` is the age of the attempt in seconds. Raises TransactionError when the transaction is another one
        than was begun.
        """
        arguments = {"ids": [id], "attempts": [attempt], "started": [started], "ended": [0.0], "results": [result]}
        arguments |= {"cpu_seconds": None, "peak_rss_bytes": None}
        with self._own.pipeline():
            self._own.execute(_RESET_ROLE)
            mark = self._own.execute(_READ_MARK)
            completed = self._own.execute(_COMPLETE, arguments | self._identity)
        if mark.fetchall() != [(self._mark,)]:
            raise TransactionError(ENDED_BY_HAND)
        return bool(completed.fetchall())

    def commit(self) -> None:
        """Commits."""
        self._own.commit()

    def roll_back(self) -> None:
        """Rolls back."""
        self._own.rollback()

    def reset(self) -> None:
        """Clears the session for the next handler."""
        self._own.autocommit = True
        self._own.execute(_DISCARD)

    def completed(self, id: int, attempt: int, pid: int) -> bool:
        """Whether an attempt completed on a connection that was lost, whose server process was `pid`; for certain.

        The job's row stays locked until that process has committed or rolled back.
        """
        self._own.autocommit = True
        self._own.execute(_END_BACKEND, {"pid": pid, "application_name": self._name})
        self._own.execute(_LOCK, {"ids": [id]})
        found = self._own.execute(_FIND_COMPLETED, {"id": id, "attempt": attempt} | self._identity)
        return bool(found.fetchall())

    def close(self) -> None:
        """Closes the connection; what is open in it is rolled back."""
        self._own.close()


ENDED_BY_HAND = (
    "The handler ended the transaction of ctx.connection by hand (COMMIT, ROLLBACK or PREPARE). What it committed "
    "stands, the job is not completed."
)

_LEFT = {
    TransactionStatus.INTRANS: Left.OPEN,
    TransactionStatus.INERROR: Left.ABORTED,
    TransactionStatus.IDLE: Left.ENDED,
    TransactionStatus.UNKNOWN: Left.LOST,
}


@cache
def _closed() -> pq.abc.PGconn:
    # libpq makes no closed connection, but one that leads nowhere.
    nowhere = pq.PGconn.connect_start(b"host=/nonexistent")
    nowhere.finish()
    return nowhere


def transaction_name(worker_id: int, executor: int) -> str:
    """The application_name of the connections that an executor lends to transactional handlers."""
    return f"pgtask transaction {worker_id}.{executor}"
