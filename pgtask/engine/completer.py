"""Handing in how attempts ended, in batches, until the database has acknowledged each.

Slots put ended attempts here from any thread; the exchange takes them out, sends them and reports back. Nothing is
forgotten before its acknowledgement, however long the database is away.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any

from pgtask.database.connection import refusal
from pgtask.database.outcomes import Completions, Endings
from pgtask.database.work import Exchanged, WorkConnection
from pgtask.engine.attempt import COMMITTED, SUPERSEDED, Attempt
from pgtask.engine.marks import Counts
from pgtask.engine.prefetch import Prefetch
from pgtask.engine.tally import Tally
from pgtask.engine.task import Task

BATCH = 100
MAX_BATCH = 1000
FLUSH_AFTER = 0.02

# Of two attempts at one job, which this executor can hold after it lost the first, the newer one counts.
_ORDER = attrgetter("id", "attempt")
_UNSUCCESSFUL = frozenset({"failed", "timeout"})
_SETTLED = frozenset({"completed", COMMITTED, SUPERSEDED})

log = logging.getLogger("pgtask.completer")


class Completer:
    """The ended attempts that are not yet acknowledged."""

    def __init__(
        self,
        prefetch: Prefetch,
        release: Callable[[int], None],
        tasks: Mapping[str, Task[Any]] | None = None,
        count: Callable[[Counts], None] = lambda _: None,
    ) -> None:
        """`release` is called with the mark of each attempt that is done with, acknowledged or refused.

        `count` is called with how many were acknowledged.
        """
        self.tally = Tally(name for name, task in (tasks or {}).items() if task.defaults.pace.breaker)
        self._prefetch = prefetch
        self._release = release
        self._count = count
        self._ended: deque[Attempt] = deque()
        self._sent: list[Attempt] = []
        self.superseded = 0

    def add(self, attempt: Attempt) -> None:
        """Takes an ended attempt; from any thread."""
        self._ended.append(attempt)

    def __len__(self) -> int:
        return len(self._ended) + len(self._sent)

    def pending(self) -> list[tuple[int, int]]:
        """The (job id, attempt) pairs not yet acknowledged."""
        return [attempt.key for attempt in (*self._sent, *self._ended)]

    def take(self) -> list[Attempt]:
        """The next batch, which stays with the completer until `settle`, `resend` or `send_singly`."""
        if not self._sent:
            count = min(len(self._ended), MAX_BATCH)
            self._sent = [self._ended.popleft() for _ in range(count)]
            self._learn(self._sent)
            self.tally.count(self._sent)
        return self._sent

    def _learn(self, batch: list[Attempt]) -> None:
        totals: dict[str, list[float]] = {}
        for attempt in batch:
            if attempt.started_at is not None:
                entry = totals.get(attempt.task)
                if entry is None:
                    entry = totals[attempt.task] = [0.0, 0]
                entry[0] += attempt.ended_at - attempt.started_at
                entry[1] += 1
        for task, (seconds, count) in totals.items():
            self._prefetch.observe(task, seconds, int(count))

    @staticmethod
    def batches(attempts: Iterable[Attempt]) -> tuple[Completions | None, Endings | None]:
        """The arrays to send for a batch: those that completed and the rest, both by ascending ids.

        Transactional attempts that are committed or superseded have nothing left to send.
        """
        now = time.monotonic()
        ordered = sorted(attempts, key=_ORDER)
        done = [attempt for attempt in ordered if attempt.outcome == "completed"]
        ends = [attempt for attempt in ordered if attempt.outcome not in _SETTLED] if len(done) < len(ordered) else []
        return (_completions(done, now) if done else None), (_endings(ends, now) if ends else None)

    @staticmethod
    def limited(attempts: Iterable[Attempt]) -> list[tuple[int, int]]:
        """The (job id, attempt) pairs that count against limits, by ascending ids."""
        return sorted(attempt.key for attempt in attempts if attempt.limited)

    def settle(self, exchanged: Exchanged) -> None:
        """The batch was committed; what the database did not take was no longer ours."""
        batch, self._sent = self._sent, []
        accepted = len(exchanged.completed) + len(exchanged.ended)
        release = self._release
        for attempt in batch:
            release(attempt.mark)
        if batch:
            self._count(_counts(batch, exchanged))
        if accepted < len(batch):
            refused = [
                attempt
                for attempt in batch
                if attempt.id not in exchanged.completed and attempt.id not in exchanged.ended
            ]
            self._report(refused)

    def _report(self, refused: list[Attempt]) -> None:
        for attempt in refused:
            if attempt.outcome == "released" and attempt.started_at is None:
                # Given back before, by an exchange whose answer was lost; it left no trace to be recognised by.
                continue
            if attempt.outcome == COMMITTED:
                continue
            self.superseded += 1
            log.warning(
                "superseded: job %d attempt %d is no longer this worker's; its outcome (%s) was refused",
                attempt.id,
                attempt.attempt,
                "completed" if attempt.outcome == SUPERSEDED else attempt.outcome,
                extra={"job_id": attempt.id, "attempt": attempt.attempt, "task": attempt.task},
            )

    def resend(self, connection: WorkConnection) -> None:
        """After a lost answer: keeps what did not arrive to be sent again.

        What did arrive is forgotten; sent again it would be taken for superseded.
        """
        recorded = connection.recorded([attempt.key for attempt in self._sent]) if self._sent else set()
        kept = []
        for attempt in self._sent:
            if attempt.key in recorded:
                self._release(attempt.mark)
            else:
                kept.append(attempt)
        self._sent = kept

    def send_singly(self, connection: WorkConnection, tasks: list[str]) -> None:
        """After the database refused the batch for its data: sends each alone, what is refused again as a failure."""
        batch, self._sent = self._sent, []
        for position, attempt in enumerate(batch):
            # Whatever a lost connection interrupts here is still ours to send.
            self._sent = batch[position:]
            self._send_one(connection, attempt, tasks)
        self._sent = []

    def _send_one(self, connection: WorkConnection, attempt: Attempt, tasks: list[str]) -> None:
        try:
            exchanged = self._exchange_one(connection, attempt, tasks)
        except Exception as error:
            reason = refusal(error)
            if reason is None:
                raise
            attempt.outcome = "failed"
            attempt.result = None
            attempt.error_type = "ResultRefused"
            attempt.error = f"PostgreSQL refused what the handler gave: {reason}"
            attempt.traceback = None
            exchanged = self._exchange_one(connection, attempt, tasks)
        self._release(attempt.mark)
        self._count(_counts([attempt], exchanged))
        if not exchanged.completed and not exchanged.ended:
            self._report([attempt])

    def _exchange_one(self, connection: WorkConnection, attempt: Attempt, tasks: list[str]) -> Exchanged:
        report = self.tally.report([attempt])
        try:
            return connection.exchange(
                *self.batches([attempt]), None, None, tasks, limited=self.limited([attempt]), report=report
            )
        except Exception:
            if report is not None:
                self.tally.restore(report)
            raise


def _counts(batch: list[Attempt], exchanged: Exchanged) -> Counts:
    completed = len(exchanged.completed)
    if completed == len(batch):
        return Counts(completed, 0)
    committed = sum(attempt.outcome == COMMITTED for attempt in batch)
    failed = sum(attempt.outcome in _UNSUCCESSFUL and attempt.id in exchanged.ended for attempt in batch)
    return Counts(completed + committed, failed)


def _completions(attempts: list[Attempt], now: float) -> Completions:
    # A list at a time, as every job pays for what is done here.
    done = Completions(
        ids=[attempt.id for attempt in attempts],
        attempts=[attempt.attempt for attempt in attempts],
        started=[now - (attempt.started_at or now) for attempt in attempts],
        ended=[now - attempt.ended_at for attempt in attempts],
        results=[attempt.result for attempt in attempts],
    )
    if attempts[0].cpu_seconds is not None:
        done.cpu_seconds = [attempt.cpu_seconds for attempt in attempts]
        done.peak_rss_bytes = [attempt.peak_rss_bytes for attempt in attempts]
    return done


def _endings(attempts: list[Attempt], now: float) -> Endings:
    return Endings(
        ids=[attempt.id for attempt in attempts],
        attempts=[attempt.attempt for attempt in attempts],
        started=[None if attempt.started_at is None else now - attempt.started_at for attempt in attempts],
        ended=[now - attempt.ended_at for attempt in attempts],
        outcomes=[attempt.outcome for attempt in attempts],
        finals=[attempt.final for attempt in attempts],
        delays=[attempt.delay for attempt in attempts],
        advised=[attempt.advised for attempt in attempts],
        error_types=[attempt.error_type for attempt in attempts],
        errors=[attempt.error for attempt in attempts],
        tracebacks=[attempt.traceback for attempt in attempts],
        cpu_seconds=[attempt.cpu_seconds for attempt in attempts],
        peak_rss_bytes=[attempt.peak_rss_bytes for attempt in attempts],
    )
