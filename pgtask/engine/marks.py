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

_ENTRY = struct.Struct("=qi")
FREE, HELD, STARTED = 0, 1, 2


class Mark(NamedTuple):
    """A job in hand; `started` says whether its handler was called and its end is not yet acknowledged."""

    id: int
    attempt: int
    started: bool


class Marks:
    """A table of `capacity` entries over a memory file.

    A state byte per entry comes first, so that a slot marks its job started with one assignment.
    """

    def __init__(self, descriptor: int, capacity: int) -> None:
        self.capacity = capacity
        self._memory = mmap.mmap(descriptor, self.size(capacity))
        self._free = list(range(capacity - 1, -1, -1))

    @staticmethod
    def size(capacity: int) -> int:
        """Bytes that a table of `capacity` entries takes."""
        return capacity + capacity * _ENTRY.size

    @classmethod
    def create(cls, capacity: int) -> tuple[int, Marks]:
        """A new table and the descriptor of its memory file."""
        descriptor = _memory_file()
        os.ftruncate(descriptor, cls.size(capacity))
        return descriptor, cls(descriptor, capacity)

    @property
    def room(self) -> int:
        """How many more jobs fit."""
        return len(self._free)

    def hold(self, id: int, attempt: int) -> int:
        """Notes a job as held and returns its entry's number."""
        entry = self._free.pop()
        _ENTRY.pack_into(self._memory, self.capacity + entry * _ENTRY.size, id, attempt)
        self._memory[entry] = HELD
        return entry

    def start(self, entry: int) -> None:
        """Notes that the handler of an entry's job is about to be called."""
        self._memory[entry] = STARTED

    def release(self, entry: int) -> None:
        """Forgets an entry: its job's end is acknowledged."""
        self._memory[entry] = FREE
        self._free.append(entry)

    def read(self) -> list[Mark]:
        """All jobs in hand, as seen from any process."""
        states = self._memory[: self.capacity]
        marks = []
        for entry, state in enumerate(states):
            if state != FREE:
                id, attempt = _ENTRY.unpack_from(self._memory, self.capacity + entry * _ENTRY.size)
                marks.append(Mark(id, attempt, state == STARTED))
        return marks

    def close(self) -> None:
        """Unmaps the memory."""
        self._memory.close()


def _memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("pgtask-marks", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
