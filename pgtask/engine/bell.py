"""Waking a thread that sleeps for the database: a pipe that its own process and the supervisor can both ring."""

from __future__ import annotations

import contextlib
import os
import select

NEWS, OTHER = b"n", b"o"


class Bell:
    """A pipe's two ends. Any thread or process that has the write end may ring; one thread waits."""

    def __init__(self, read: int, write: int) -> None:
        self.read = read
        self.write = write
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        self._poll = select.poll()
        self._poll.register(read, select.POLLIN)

    @classmethod
    def create(cls) -> Bell:
        """A new bell, whose ends are not inherited by programs that are started."""
        return cls(*os.pipe())

    def ring(self, tone: bytes) -> None:
        """Wakes the waiting thread, now or when it next waits, with one byte that tells why."""
        # A pipe so full that this fails holds wake-ups enough.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self.write, tone)

    def wait(self, seconds: float | None) -> bytes:
        """Waits until the bell rings, at most so many seconds; returns all tones rung, none when it did not ring."""
        # Rounded up: waking a little early would only mean to wait again.
        if self._poll.poll(None if seconds is None else int(seconds * 1000) + 1):
            with contextlib.suppress(BlockingIOError):
                return os.read(self.read, 4096)
        return b""

    def close(self) -> None:
        """Closes both ends."""
        os.close(self.read)
        os.close(self.write)
