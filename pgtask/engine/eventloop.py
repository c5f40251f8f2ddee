"""The event loop that runs coroutine functions, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
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
from pgtask.model.verdict import JobCancelled, JobTimeout
from pgtask.observability.logging import current_attempt

_BATCH = 100


class EventLoop:
    """Slots for coroutine functions: each running attempt is an asyncio task.

    With `permits`, which are shared with the threads, each holds one and a thread of its own hands out the attempts;
    that is slower than the loop's own count, but fair.
    """

    def __init__(
        self,
        handlers: Handlers,
        marks: Marks,
        slots: int,
        permits: Permits | None,
        on_end: Callable[[Attempt], None],
    ) -> None:
        """`on_end` is called in the loop's thread."""
        self._handlers = handlers
        self._marks = marks
        self._free = slots
        self._permits = permits
        self._on_end = on_end
        self._ready: SimpleQueue[Attempt] = SimpleQueue()
        self._arrivals: SimpleQueue[None] = SimpleQueue()
        self._running: dict[Attempt, asyncio.Task[None]] = {}
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._serve, name="pgtask-loop", daemon=True).start()
        if permits is not None:
            threading.Thread(target=self._feed, args=[permits], name="pgtask-loop-feed", daemon=True).start()

    def submit(self, attempts: list[Attempt]) -> None:
        """Queues attempts for the loop."""
        for attempt in attempts:
            self._ready.put(attempt)
            if self._permits is not None:
                self._arrivals.put(None)
        if self._permits is None:
            self._loop.call_soon_threadsafe(self._fill)

    def resize(self, change: int) -> None:
        """Runs so many more at once from now on, or fewer; those that run go on. Permits are changed by others."""
        if self._permits is None:
            self._loop.call_soon_threadsafe(self._change, change)

    def _change(self, change: int) -> None:
        self._free += change
        self._fill()

    def idle(self) -> bool:
        """Whether no attempt waits for a slot."""
        return self._ready.empty()

    def withdraw(self) -> list[Attempt]:
        """Takes back all attempts that have not begun."""
        taken = []
        try:
            while True:
                taken.append(self._ready.get_nowait())
        except Empty:
            return taken

    def running(self) -> list[Attempt]:
        """The attempts that run now."""
        return list(self._running)

    def cancel(self, attempt: Attempt) -> None:
        """Asks a running attempt to stop: its coroutine is cancelled."""
        attempt.cancelled = True
        self._loop.call_soon_threadsafe(self._cancel, attempt)

    def _cancel(self, attempt: Attempt) -> None:
        task = self._running.get(attempt)
        # A task that has not taken its first step would end without a word; it looks for itself.
        if task is not None and attempt.started_at is not None:
            task.cancel()

    def _serve(self) -> None:
        # A handler may stop the loop, and a task that it started may leave it by SystemExit; the others go on.
        while True:
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                self._loop.run_forever()

    def _fill(self) -> None:
        with contextlib.suppress(Empty):
            while self._free > 0:
                attempt = self._ready.get_nowait()
                self._free -= 1
                self._start(attempt)

    def _feed(self, shared: Permits) -> None:
        # One wake-up of the loop costs more than a job, so as many start with each as there are permits for.
        while True:
            self._arrivals.get()
            shared.take()
            permits, batch = 1, []
            # Empty: out of permits, or what had arrived was withdrawn or has started with an earlier batch.
            with contextlib.suppress(Empty):
                batch.append(self._ready.get_nowait())
                while len(batch) < _BATCH and not self._ready.empty():
                    shared.take_at_once()
                    permits += 1
                    batch.append(self._ready.get_nowait())
            for _ in range(permits - len(batch)):
                shared.give_back()
            if batch:
                self._loop.call_soon_threadsafe(self._start_all, batch)

    def _start_all(self, batch: list[Attempt]) -> None:
        for attempt in batch:
            self._start(attempt)

    def _start(self, attempt: Attempt) -> None:
        self._running[attempt] = self._loop.create_task(self._run(attempt))

    async def _run(self, attempt: Attempt) -> None:
        current_attempt.set(attempt)
        if attempt.cancelled:
            attempt.ended_at = time.monotonic()
            self._handlers.conclude(attempt, JobCancelled("the job was cancelled"))
            self._end(attempt)
            return
        attempt.started_at = started_at = time.monotonic()
        self._marks.start(attempt.mark, started_at)
        # Everything is caught in here: SystemExit and KeyboardInterrupt would otherwise end the loop for all.
        try:
            value = await self._call(attempt)
        except asyncio.CancelledError as error:
            attempt.ended_at = time.monotonic()
            if attempt.cancelled:
                self._handlers.conclude(attempt, JobCancelled("the job was cancelled"))
            else:
                self._handlers.conclude(attempt, error)
        except BaseException as error:
            attempt.ended_at = time.monotonic()
            self._handlers.conclude(attempt, error)
        else:
            attempt.ended_at = time.monotonic()
            classify.returned(attempt, value)
        self._end(attempt)

    def _end(self, attempt: Attempt) -> None:
        self._running.pop(attempt, None)
        self._on_end(attempt)
        if self._permits is None:
            self._free += 1
            self._fill()
        else:
            self._permits.give_back()

    async def _call(self, attempt: Attempt) -> Any:
        if attempt.timeout is None:
            return await self._handlers.call(attempt)
        limit = asyncio.timeout(attempt.timeout)
        trace = None
        try:
            async with limit:
                try:
                    return await self._handlers.call(attempt)
                except asyncio.CancelledError as error:
                    # It shows where the handler was, which the error made of it does not before Python 3.11.4.
                    trace = error.__traceback__
                    raise
        except TimeoutError:
            if limit.expired():
                raise JobTimeout("the attempt overran its timeout").with_traceback(trace) from None
            raise
