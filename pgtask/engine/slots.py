"""The places where jobs run: threads for plain functions, an event loop for coroutines, one count for both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pgtask.engine.attempt import Attempt
from pgtask.engine.eventloop import EventLoop
from pgtask.engine.handler import Handlers
from pgtask.engine.marks import Marks
from pgtask.engine.permits import Permits
from pgtask.engine.solitude import Solitude
from pgtask.engine.task import Task
from pgtask.engine.threads import Threads


class Slots:
    """An executor's slots and the attempts in them or waiting for them."""

    def __init__(
        self,
        tasks: Mapping[str, Task[Any]],
        handlers: Handlers,
        marks: Marks,
        count: int,
        on_end: Callable[[Attempt], None],
        on_watch: Callable[[], None],
        solitude: Solitude | None = None,
    ) -> None:
        self._coroutines = {name for name, task in tasks.items() if task.is_coroutine}
        self._count = count
        self._on_end = on_end
        self._marks = marks
        self._solitude = solitude
        self.ended = 0
        self._held: dict[int, Attempt] = {}
        # With one kind of task only, the number of its places is the limit by itself.
        mixed = self._coroutines and len(self._coroutines) < len(tasks)
        self._permits = permits = Permits(count) if mixed else None
        self.threads = Threads(handlers, marks, count, permits, self._ended, on_watch)
        self.loop = EventLoop(handlers, marks, count, permits, self._ended) if self._coroutines else None

    @property
    def unfinished(self) -> int:
        """Attempts handed in that have not ended."""
        return len(self._held)

    @property
    def limited(self) -> int:
        """How many of them were claimed within limits."""
        return sum(attempt.limited for attempt in list(self._held.values()))

    def submit(self, attempts: list[Attempt], again: bool = False) -> None:
        """Takes attempts for the slots, in this order; `again` for some that were withdrawn."""
        if not again:
            self._held.update((attempt.mark, attempt) for attempt in attempts)
        coroutines = self._coroutines
        if not coroutines:
            self.threads.submit(attempts, len(self._held))
            return
        assert self.loop is not None
        plain = [attempt for attempt in attempts if attempt.task not in coroutines]
        if plain:
            self.threads.submit(plain, len(self._held))
        if len(plain) < len(attempts):
            self.loop.submit([attempt for attempt in attempts if attempt.task in coroutines])

    def resize(self, count: int) -> None:
        """Runs so many attempts at once from now on. Those that run go on to their end. In the thread that submits."""
        change, self._count = count - self._count, count
        if self._permits is not None:
            self._permits.change(change)
        self.threads.resize(count, len(self._held))
        if self.loop is not None:
            self.loop.resize(change)

    def _ended(self, attempt: Attempt) -> None:
        self._held.pop(attempt.mark, None)
        if self._solitude is not None:
            self._solitude.ended(attempt)
        self._marks.end(attempt.mark)
        self.ended += 1
        self._on_end(attempt)

    def forget(self, attempt: Attempt) -> None:
        """An attempt that was withdrawn will not come back."""
        self._held.pop(attempt.mark, None)

    def idle(self) -> bool:
        """Whether nothing waits for a slot."""
        return self.threads.idle() and (self.loop is None or self.loop.idle())

    def backed_up(self) -> bool:
        """Whether something waits for a slot."""
        return not self.idle()

    def withdraw(self) -> list[Attempt]:
        """Takes back all attempts that have not begun, in their order."""
        taken = self.threads.withdraw()
        return taken if self.loop is None else taken + self.loop.withdraw()

    def running(self) -> list[Attempt]:
        """The attempts that run now."""
        running = self.threads.running()
        return running if self.loop is None else running + self.loop.running()

    def cancel(self, id: int, number: int) -> None:
        """Asks the attempt, if it is here and has not ended, to stop; one that waits for its slot will not begin.

        Once only, though each heartbeat repeats the request: a handler that cleans up must not be interrupted again.
        """
        for attempt in list(self._held.values()):
            if attempt.key == (id, number):
                if attempt.cancelled:
                    return
                attempt.cancelled = True
                if self.loop is not None and attempt.task in self._coroutines:
                    self.loop.cancel(attempt)
                else:
                    self.threads.cancel(attempt)
                return
