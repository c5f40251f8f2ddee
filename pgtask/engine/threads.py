"""The threads that run plain functions, one per slot, started as they are needed."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from pgtask.engine import classify
from pgtask.engine.attempt import Attempt
from pgtask.engine.handler import Handlers
from pgtask.engine.marks import Marks
from pgtask.engine.permits import Permits
from pgtask.model.verdict import JobCancelled, JobInterrupted, JobTimeout
from pgtask.observability.logging import current

_raise_in_thread = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in_thread.argtypes = [ctypes.c_ulong, ctypes.py_object]
# A null pointer; the object None would be raised like any other.
_NOTHING = ctypes.py_object()


class Slot:
    """One thread's place: the attempt it runs, and the way to interrupt exactly that one."""

    __slots__ = ("attempt", "identity", "interrupted", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.attempt: Attempt | None = None
        self.interrupted = False
        self.identity = threading.get_ident()

    def interrupt(self, attempt: Attempt, error: type[JobInterrupted]) -> bool:
        """Raises `error` in the handler if it still runs this attempt. A call into C code notices when it returns.

        Once only: what the handler does about the first must not be cut off by a second.
        """
        with self.lock:
            if self.attempt is not attempt:
                return False
            if self.interrupted:
                return True
            self.interrupted = True
            _raise_in_thread(self.identity, ctypes.py_object(error))
            return True

    def leave(self) -> None:
        """Ends the attempt: after this nothing is raised on its account any more."""
        with self.lock:
            self.attempt = None
            if self.interrupted:
                self.interrupted = False
                # Sent but not yet delivered: withdrawn, or it would hit the next job.
                _raise_in_thread(self.identity, _NOTHING)


class Threads:
    """Slots for plain functions, fed from one queue; `permits`, if given, are shared with the event loop's slots."""

    def __init__(
        self,
        handlers: Handlers,
        marks: Marks,
        slots: int,
        permits: Permits | None,
        on_end: Callable[[Attempt], None],
        on_watch: Callable[[], None],
    ) -> None:
        """`on_end` is called in the slot's thread, `on_watch` when `stop_overdue` must be called from now on."""
        self._handlers = handlers
        self._transactions = handlers.transactions
        self._marks = marks
        self._limit = slots
        self._permits = permits
        self._on_end = on_end
        self._on_watch = on_watch
        self._watched = False
        self._ready: SimpleQueue[Attempt | None] = SimpleQueue()
        self._slots: list[Slot] = []
        self._lock = threading.Lock()
        # Threads that serve, without those that are dismissed: each of these ends when it gets a None.
        self._started = 0
        self._dismissed = 0

    def submit(self, attempts: list[Attempt], unfinished: int) -> None:
        """Queues attempts for the slots; `unfinished` of them in all are now in hand."""
        for attempt in attempts:
            self._ready.put(attempt)
        while self._started < min(self._limit, unfinished):
            self._started += 1
            threading.Thread(target=self._work, name=f"pgtask-slot-{self._started}", daemon=True).start()

    def resize(self, limit: int, unfinished: int) -> None:
        """From now on runs so many at once; those that run go on to their end. In the thread that submits, too."""
        self._limit = limit
        attempts, dismissals = self._empty()
        surplus = max(0, self._started + dismissals - limit)
        self._started += dismissals - surplus
        with self._lock:
            self._dismissed += surplus - dismissals
        # Before the attempts, which would otherwise still find too many threads.
        for _ in range(surplus):
            self._ready.put(None)
        self.submit(attempts, unfinished)

    def idle(self) -> bool:
        """Whether no attempt waits for a slot."""
        return self._ready.qsize() <= self._dismissed

    def withdraw(self) -> list[Attempt]:
        """Takes back all attempts that no slot has begun."""
        attempts, dismissals = self._empty()
        for _ in range(dismissals):
            self._ready.put(None)
        return attempts

    def _empty(self) -> tuple[list[Attempt], int]:
        """Empties the queue; returns its attempts, and how many dismissals were among them."""
        attempts, dismissals = [], 0
        try:
            while True:
                attempt = self._ready.get_nowait()
                if attempt is None:
                    dismissals += 1
                else:
                    attempts.append(attempt)
        except Empty:
            return attempts, dismissals

    def running(self) -> list[Attempt]:
        """The attempts that slots run now."""
        return [attempt for slot in self._slots if (attempt := slot.attempt) is not None]

    def cancel(self, attempt: Attempt) -> None:
        """Asks a running attempt to stop: through its context, or else by raising JobCancelled in it."""
        attempt.cancelled = True
        if self._handlers.wants_interrupt(attempt):
            for slot in self._slots:
                if self._interrupt(slot, attempt, JobCancelled):
                    return

    def _interrupt(self, slot: Slot, attempt: Attempt, error: type[JobInterrupted]) -> bool:
        if not slot.interrupt(attempt, error):
            return False
        if self._transactions is not None:
            self._transactions.interrupt(attempt)
        return True

    def stop_overdue(self) -> bool:
        """Raises JobTimeout in each attempt that has overrun its timeout; returns whether any needs watching further.

        Scanning the slots now and then beats a timer per job, which would outlive most of its jobs.
        """
        now = time.monotonic()
        watched = False
        self._watched = False
        for slot in self._slots:
            attempt = slot.attempt
            if attempt is None or attempt.timeout is None or attempt.started_at is None:
                continue
            watched = True
            if now - attempt.started_at > attempt.timeout and not slot.interrupted:
                self._interrupt(slot, attempt, JobTimeout)
        self._watched = watched or self._watched
        return self._watched

    def _work(self) -> None:
        slot = Slot()
        with self._lock:
            self._slots.append(slot)
        current.slot = slot
        while True:
            try:
                self._serve(slot)
                break
            except JobInterrupted:
                # Delivered between two attempts, in spite of the lock: nothing to stop any more.
                continue
        with self._lock:
            self._dismissed -= 1
            # A list of its own, as others may just be going through this one.
            self._slots = [other for other in self._slots if other is not slot]

    def _serve(self, slot: Slot) -> None:
        ready, permits, on_end = self._ready, self._permits, self._on_end
        # An application without transactional tasks does not pay for them.
        run = self._run if self._transactions is None else self._run_either
        while (attempt := ready.get()) is not None:
            if permits is None:
                run(slot, attempt)
            else:
                permits.take()
                run(slot, attempt)
                permits.give_back()
            on_end(attempt)

    def _run_either(self, slot: Slot, attempt: Attempt) -> None:
        transactions = self._transactions
        assert transactions is not None
        if attempt.task not in transactions.tasks:
            self._run(slot, attempt)
        elif transactions.begin(attempt):
            self._run(slot, attempt)
            # The slot has been left: nothing interrupts the commit.
            transactions.end(attempt)

    def _run(self, slot: Slot, attempt: Attempt) -> None:
        if attempt.cancelled:
            attempt.ended_at = time.monotonic()
            self._handlers.conclude(attempt, JobCancelled("the job was cancelled"))
            return
        attempt.started_at = started_at = time.monotonic()
        self._marks.start(attempt.mark, started_at)
        error: BaseException | None = None
        value: Any = None
        try:
            try:
                slot.attempt = attempt
                if attempt.timeout is not None and not self._watched:
                    self._watched = True
                    self._on_watch()
                if attempt.cancelled:
                    # Asked just now, when the slot did not yet say what it runs.
                    error = JobCancelled("the job was cancelled")
                else:
                    value = self._handlers.call(attempt)
            except BaseException as raised:
                error = raised
            slot.leave()
        except JobInterrupted as late:
            # Raised after the handler had ended but before the slot was left: what the handler did stands.
            slot.leave()
            if isinstance(error, JobInterrupted):
                error = late
        attempt.ended_at = time.monotonic()
        if error is None:
            classify.returned(attempt, value)
        else:
            self._handlers.conclude(attempt, error)
