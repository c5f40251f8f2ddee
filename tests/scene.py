"""What the handlers of test applications and the tests share: a ledger of starts and ends, and gates to wait at.

Both lie in a directory, outside of the database and of the workers, so that no fault that a test makes can touch them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

VARIABLE = "PGTASK_TEST_SCENE"
_PATIENCE = 60.0
_LOOK_EVERY = 0.005


class Entry(NamedTuple):
    """A line of the ledger: what a handler said, of which attempt of which job, in which process."""

    what: str
    id: int
    attempt: int
    pid: int


class Scene:
    """The directory of one test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._known: list[Entry] = []
        self._read = 0

    @classmethod
    def here(cls) -> Scene:
        """The scene that the process was started in."""
        return cls(Path(os.environ[VARIABLE]))

    def note(self, what: str, id: int, attempt: int) -> None:
        """Writes a line of the ledger, whole or not at all."""
        line = json.dumps([what, id, attempt, os.getpid()]) + "\n"
        descriptor = os.open(self.directory / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def all_entries(self) -> list[Entry]:
        """The lines of the ledger, in their order."""
        # It only grows, so each line is read once: tests ask often, beside the workers that they watch.
        with contextlib.suppress(FileNotFoundError), (self.directory / "ledger").open("rb") as ledger:
            ledger.seek(self._read)
            new = ledger.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._known += [Entry(*json.loads(line)) for line in whole.splitlines()]
            self._read += len(whole)
        return list(self._known)

    def entries(self, what: str = "start") -> list[Entry]:
        """The lines of one kind, in their order."""
        return [entry for entry in self.all_entries() if entry.what == what]

    def started(self) -> set[int]:
        """The ids of the jobs whose handlers have begun."""
        return {entry.id for entry in self.entries()}

    def open(self, gate: str) -> None:
        """Lets those pass who wait at a gate or will come to it."""
        (self.directory / f"gate-{gate}").touch()

    def is_open(self, gate: str) -> bool:
        """Whether a gate has been opened."""
        return (self.directory / f"gate-{gate}").exists()

    def pass_through(self, gate: str) -> None:
        """Waits at a gate. Gives up after a minute, so that nothing outlives a test that failed."""
        deadline = time.monotonic() + _PATIENCE
        while not self.is_open(gate):
            if time.monotonic() > deadline:
                raise TimeoutError(gate)
            time.sleep(_LOOK_EVERY)

    async def pass_through_async(self, gate: str) -> None:
        """`pass_through` for coroutines."""
        async with asyncio.timeout(_PATIENCE):
            while not self.is_open(gate):  # noqa: ASYNC110 - a gate is a file, which nobody announces
                await asyncio.sleep(_LOOK_EVERY)
