"""What an operator tells a worker by signals, collected for its main thread."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

HANDLED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGTSTP,
    signal.SIGCONT,
    signal.SIGUSR1,
)
ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


class Signals:
    """The signals received and not yet looked at; `read` becomes readable with each, and with each poke.

    `quiet` tells whether no more jobs are to be taken, which holds under whatever identity the worker goes on.
    """

    def __init__(self) -> None:
        self.read, self._write = os.pipe()
        os.set_blocking(self.read, False)
        os.set_blocking(self._write, False)
        self._received: list[int] = []
        self._endings: list[int] = []
        self.quiet = False

    def take(self) -> list[int]:
        """The signals received since the last call, in their order."""
        taken, self._received = self._received, []
        return taken

    @property
    def ending(self) -> bool:
        """Whether one that asks for the end has come."""
        return bool(self._endings)

    @property
    def hurried(self) -> bool:
        """Whether the end was asked for twice, or with QUIT."""
        return len(self._endings) > 1 or signal.SIGQUIT in self._endings

    def poke(self) -> None:
        """Wakes whoever waits; from any thread."""
        with contextlib.suppress(OSError):
            os.write(self._write, b"p")

    def clear(self) -> None:
        """Takes note of all that made `read` readable."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.read, 4096)

    def _note(self, number: int, _frame: object) -> None:
        self._received.append(number)
        if number in ENDING:
            self._endings.append(number)
        elif number in (signal.SIGTSTP, signal.SIGCONT):
            self.quiet = number == signal.SIGTSTP

    @contextlib.contextmanager
    def collected(self) -> Iterator[Signals]:
        """Collects for the block; only in the main thread."""
        before = {number: signal.signal(number, self._note) for number in HANDLED}
        old = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        try:
            yield self
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self.read)
            os.close(self._write)
