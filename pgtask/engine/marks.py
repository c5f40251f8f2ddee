"""The table of jobs in hand, in memory shared by an executor and its supervisor.

The executor notes each job it holds and whether its handler has started; the supervisor reads the table at each
heartbeat and, after the executor died, to know what was under way. It is an anonymous memory file: no disk, and
it outlives the process that wrote it.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from typing import NamedTuple

_JOB = struct.Struct("=qid")
_COUNTS = struct.Struct("=qq")
_INSTANT = struct.calcsize("d")
FREE, HELD, RUNNING, ENDED = 0, 1, 2, 3


class Mark(NamedTuple):
    """A job in hand. `started_at` is of the monotonic clock, which all processes share; `timeout` is in seconds or 0.

    Ended means that its handler has returned, but its end is not yet acknowledged.
    """

    id: int
    attempt: int
    state: int
    started_at: float
    timeout: float

    @property
    def running(self) -> bool:
        """Whether its handler was called and has not returned."""
        return self.state == RUNNING

    @property
    def started(self) -> bool:
        """Whether its handler was called."""
        return self.state in (RUNNING, ENDED)


class Counts(NamedTuple):
    """Attempts whose ends were acknowledged."""

    completed: int = 0
    unsuccessful: int = 0
    """Failed or overran their timeout, tried again or not."""

    def plus(self, other: Counts) -> Counts:
        """Both taken together."""
        return Counts(self.completed + other.completed, self.unsuccessful + other.unsuccessful)


class Marks:
    """A table of `capacity` entries over a memory file: the instants of their starts, their states, then their jobs.

    Behind them stands how many attempts have ended.

    A slot notes what becomes of its job by assignments, which cost it least.
    """

    def __init__(self, descriptor: int, capacity: int) -> None:
        self.capacity = capacity
        self._memory = mmap.mmap(descriptor, self.size(capacity))
        whole, self._jobs = memoryview(self._memory), capacity * (_INSTANT + 1)
        self._starts = whole[: capacity * _INSTANT].cast("d")
        self._states = whole[capacity * _INSTANT : self._jobs]
        whole.release()
        self._free = list(range(capacity - 1, -1, -1))

    @staticmethod
    def size(capacity: int) -> int:
        """Bytes that a table of `capacity` entries takes."""
        return capacity * (_INSTANT + 1 + _JOB.size) + _COUNTS.size

    @classmethod
    def create(cls, capacity: int) -> tuple[int, Marks]:
        """A new table and the descriptor of its memory file."""
        descriptor = memory_file("pgtask-marks")
        os.ftruncate(descriptor, cls.size(capacity))
        return descriptor, cls(descriptor, capacity)

    @property
    def room(self) -> int:
        """How many more jobs fit."""
        return len(self._free)

    def hold(self, id: int, attempt: int, timeout: float | None = None) -> int:
        """Notes a job as held and returns its entry's number."""
        entry = self._free.pop()
        _JOB.pack_into(self._memory, self._jobs + entry * _JOB.size, id, attempt, timeout or 0.0)
        self._states[entry] = HELD
        return entry

    def start(self, entry: int, instant: float) -> None:
        """Notes that the handler of an entry's job is about to be called."""
        self._starts[entry] = instant
        self._states[entry] = RUNNING

    def end(self, entry: int) -> None:
        """Notes that the handler of an entry's job has returned."""
        self._states[entry] = ENDED

    def release(self, entry: int) -> None:
        """Forgets an entry: its job's end is acknowledged."""
        self._states[entry] = FREE
        self._free.append(entry)

    def count(self, more: Counts) -> None:
        """Notes that more attempts have ended."""
        _COUNTS.pack_into(self._memory, len(self._memory) - _COUNTS.size, *self.counts.plus(more))

    @property
    def counts(self) -> Counts:
        """Attempts that have ended so far, as seen from any process."""
        return Counts(*_COUNTS.unpack_from(self._memory, len(self._memory) - _COUNTS.size))

    def read(self) -> list[Mark]:
        """All jobs in hand, as seen from any process."""
        marks = []
        for entry, state in enumerate(bytes(self._states)):
            if state != FREE:
                id, attempt, timeout = _JOB.unpack_from(self._memory, self._jobs + entry * _JOB.size)
                marks.append(Mark(id, attempt, state, 0.0 if state == HELD else self._starts[entry], timeout))
        return marks

    def close(self) -> None:
        """Unmaps the memory."""
        self._starts.release()
        self._states.release()
        self._memory.close()


def memory_file(name: str) -> int:
    """The descriptor of a file that is on no disk and has no path."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
