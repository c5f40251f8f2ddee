"""Transactional attempts: each gets a connection, and its effects are committed with its completion or not at all."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping

from pgtask.database.connection import lost, one_line, refusal
from pgtask.database.transaction import ENDED_BY_HAND, HandlerConnection, JobConnection, Left
from pgtask.engine import classify
from pgtask.engine.attempt import COMMITTED, SUPERSEDED, Attempt
from pgtask.model.errors import TransactionError
from pgtask.model.retry import RetryRules
from pgtask.model.verdict import JobCancelled

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_LOG_EVERY = 10.0
# A job whose connection is lost again and again, perhaps by its own doing, must not spin.
_TRY_AGAIN_AFTER = 1.0
_CANCEL_AGAIN = 0.5

_FAULTS = {
    Left.ABORTED: "The handler returned with its transaction aborted: a statement on ctx.connection had failed. Let "
    "the error out, or use `with ctx.connection.transaction():` around what may fail.",
    Left.ENDED: ENDED_BY_HAND,
    Left.BUSY: "The handler returned while ctx.connection was still in use: by a pipeline, COPY, stream or thread.",
}

log = logging.getLogger("pgtask.transactions")


class UnderWay:
    """A transactional attempt that runs."""

    def __init__(self, connection: HandlerConnection, given: JobConnection) -> None:
        self.connection = connection
        self.given = given
        self.interrupted = False
        self._lock = threading.Lock()
        self._over = threading.Event()

    def interrupt(self) -> None:
        """Cancels the statement under way, and any that the handler begins after it, until the handler has ended."""
        while not self._over.is_set():
            with self._lock:
                if not self._over.is_set():
                    self.interrupted = True
                    self.connection.cancel()
            self._over.wait(_CANCEL_AGAIN)

    def finish(self) -> None:
        """The handler has ended: no statement is cancelled any more."""
        self._over.set()
        with self._lock:
            pass


class Transactions:
    """The connections of an executor's transactional attempts, opened as they are needed and kept."""

    def __init__(self, connect: Callable[[], HandlerConnection], tasks: Mapping[str, RetryRules | None]) -> None:
        """`tasks` are the transactional tasks with their rules."""
        self._connect = connect
        self._idle: list[HandlerConnection] = []
        self._under_way: dict[Attempt, UnderWay] = {}
        self._stopped = threading.Event()
        self._away_logged = float("-inf")
        self.tasks = tasks

    def connection(self, attempt: Attempt) -> JobConnection:
        """The connection that a running attempt may use. Raises TransactionError when it has none."""
        under_way = self._under_way.get(attempt)
        if under_way is None:
            raise TransactionError(
                f"ctx.connection is there while a transactional task runs: declare {attempt.task} with "
                "@task(transactional=True), and do not use it after the handler has ended."
            )
        return under_way.given

    def stop(self) -> None:
        """Attempts that still wait for a connection are given back."""
        self._stopped.set()

    def begin(self, attempt: Attempt) -> bool:
        """Begins an attempt's transaction, however long the database is away; False when it was ended meanwhile."""
        pause = _FIRST_PAUSE
        while not attempt.cancelled and not self._stopped.is_set():
            try:
                self._under_way[attempt] = self._begin(attempt)
                return True
            except Exception as error:
                self._complain(error)
                self._stopped.wait(random.uniform(0, pause))
                pause = min(pause * 2, _LONGEST_PAUSE)
        attempt.ended_at = time.monotonic()
        if attempt.cancelled:
            classify.raised(attempt, JobCancelled("the job was cancelled"))
        else:
            attempt.outcome = "released"
        return False

    def _begin(self, attempt: Attempt) -> UnderWay:
        while True:
            try:
                connection, kept = self._idle.pop(), True
            except IndexError:
                connection, kept = self._connect(), False
            try:
                return UnderWay(connection, connection.begin(*attempt.key))
            except Exception:
                connection.close()
                # One that was kept may have died with a server that is back by now.
                if not kept:
                    raise

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._away_logged > _LOG_EVERY:
            self._away_logged = now
            log.warning("no connection for a transaction (%s); trying again", one_line(error), exc_info=not lost(error))

    def interrupt(self, attempt: Attempt) -> None:
        """Cancels what a running attempt's connection is at; its handler is told otherwise."""
        under_way = self._under_way.get(attempt)
        if under_way is not None:
            # Not in the thread that calls: the server may take seconds to answer.
            threading.Thread(target=under_way.interrupt, name="pgtask-cancel", daemon=True).start()

    def end(self, attempt: Attempt) -> None:
        """Commits a completed attempt with its completion, and rolls any other back.

        The outcome may change by that: `committed` and `superseded` have nothing left to be handed in.
        """
        under_way = self._under_way.pop(attempt)
        under_way.finish()
        connection = under_way.connection
        left = connection.take_back()
        clean = False
        try:
            if left is Left.LOST:
                self._lost(attempt)
            elif attempt.outcome == "completed":
                clean = self._complete(attempt, connection, left)
            else:
                clean = self._roll_back(attempt, connection, left)
        finally:
            self._put_away(connection, clean=clean and not under_way.interrupted)
        attempt.ended_at = time.monotonic()

    def _complete(self, attempt: Attempt, connection: HandlerConnection, left: Left) -> bool:
        if left is not Left.OPEN:
            self._fail(attempt, TransactionError(_FAULTS[left]))
            return False
        assert attempt.started_at is not None
        age = time.monotonic() - attempt.started_at
        try:
            if connection.complete(*attempt.key, age, attempt.result):
                connection.commit()
                attempt.outcome = COMMITTED
            else:
                connection.roll_back()
                attempt.outcome = SUPERSEDED
            return True
        except Exception as error:
            if connection.broken or (lost(error) and getattr(error, "sqlstate", None) != "25006"):
                self._find_out(attempt, connection.pid)
            elif attempt.outcome == "completed":
                # An answer that refuses the COMMIT, too, says for certain that nothing was committed.
                self._fail(attempt, error)
            return False

    def _roll_back(self, attempt: Attempt, connection: HandlerConnection, left: Left) -> bool:
        if left is Left.BUSY:
            return False
        try:
            connection.roll_back()
            return True
        except Exception:
            self._lost(attempt)
            return False

    def _lost(self, attempt: Attempt) -> None:
        """The handler's connection is gone: unless the handler has said otherwise, that is why it ended."""
        if attempt.outcome == "completed" or (attempt.outcome == "failed" and attempt.traceback is not None):
            reason = f": {attempt.error}" if attempt.error else ""
            self._give_back(attempt, f"The connection of its transaction was lost{reason}")

    def _find_out(self, attempt: Attempt, pid: int) -> None:
        """The answer to the completion or its COMMIT was lost: asks until it is known whether it happened."""
        pause, completed = _FIRST_PAUSE, None
        while completed is None:
            try:
                connection = self._connect()
                try:
                    completed = connection.completed(*attempt.key, pid)
                finally:
                    connection.close()
            except Exception as error:
                self._complain(error)
                time.sleep(random.uniform(0, pause))
                pause = min(pause * 2, _LONGEST_PAUSE)
        if completed:
            attempt.outcome = COMMITTED
        else:
            self._give_back(attempt, "The connection of its transaction was lost before it was committed.")

    @staticmethod
    def _give_back(attempt: Attempt, reason: str) -> None:
        attempt.outcome = "released"
        attempt.final = False
        attempt.delay = _TRY_AGAIN_AFTER
        attempt.result = attempt.traceback = None
        attempt.error_type, attempt.error = "ConnectionLost", reason

    def _fail(self, attempt: Attempt, error: Exception) -> None:
        reason = refusal(error)
        account = None if reason is None else f"PostgreSQL refused the job's transaction: {reason}"
        classify.raised(attempt, error, self.tasks[attempt.task], account=account)
        attempt.traceback = None
        # It would do the same again, and what it has committed a second time.
        attempt.final = attempt.final or str(error) == ENDED_BY_HAND

    def _put_away(self, connection: HandlerConnection, *, clean: bool) -> None:
        if clean:
            try:
                connection.reset()
            except Exception as error:
                log.debug("a connection was not clean (%s)", one_line(error))
            else:
                self._idle.append(connection)
                return
        connection.close()
