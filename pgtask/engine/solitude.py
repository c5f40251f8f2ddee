"""What is done around each attempt in an executor that runs one job at a time.

Nobody else is in the process, so what it prints, uses and leaves behind is the attempt's.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from pgtask.engine import leftovers
from pgtask.engine.attempt import Attempt
from pgtask.engine.context import MAX_LINE, MAX_LINES
from pgtask.model.payload import clean_text

MAX_OUTPUT = 64 * 1024
MAX_OUTPUT_LINES = 500
# Output that is not yet taken away lies in memory.
_LARGEST = 16 * 1024 * 1024
_STATUS, _CONTROL = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_PEAK = "VmHWM:"

log = logging.getLogger("pgtask.executor")


class Output:
    """Standard output and error as a file in memory, shared with the supervisor, who reads it after a crash."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def divert(self) -> TextIO:
        """Leads both there; returns what standard error was, for logs."""
        kept = os.fdopen(os.dup(2), "w", buffering=1)
        # What several processes write must follow each other, and start anew once it was taken away.
        fcntl.fcntl(self._descriptor, fcntl.F_SETFL, fcntl.fcntl(self._descriptor, fcntl.F_GETFL) | os.O_APPEND)
        for standard in (1, 2):
            os.dup2(self._descriptor, standard)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(line_buffering=True)
        return kept

    def take(self) -> tuple[bytes, int]:
        """What was written since the last call, its beginning at least, and how many bytes it was in all."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        size = os.fstat(self._descriptor).st_size
        if not size:
            return b"", 0
        data = os.pread(self._descriptor, MAX_OUTPUT, 0)
        os.ftruncate(self._descriptor, 0)
        return data, size

    def curb(self) -> None:
        """Throws away what a job that never stops writing has written."""
        if os.fstat(self._descriptor).st_size > _LARGEST:
            os.ftruncate(self._descriptor, 0)


class Solitude:
    """Measures each attempt, keeps its output with the job, and ends the processes that it leaves behind."""

    def __init__(self, output: Output, on_log: Callable[[Attempt, float, int, str, str], None]) -> None:
        self._output = output
        self._on_log = on_log
        self._cpu = self._cpu_seconds()
        leftovers.inherit_orphans()
        # What the application started when it was imported is its own.
        self._others = leftovers.children()
        self._forget_peak()

    def ended(self, attempt: Attempt) -> None:
        """The handler of an attempt has returned; nothing else runs."""
        cpu = self._cpu_seconds()
        attempt.cpu_seconds, self._cpu = cpu - self._cpu, cpu
        attempt.peak_rss_bytes = self._peak_rss_bytes()
        self._forget_peak()
        if leftovers.any_children():
            names = leftovers.end_children(self._others)
            if names:
                text = f"It left processes behind, which were ended: {', '.join(names)}"
                log.warning("job %d: %s", attempt.id, text)
                self._on_log(attempt, time.monotonic(), MAX_LINES + MAX_OUTPUT_LINES + 2, "warning", text)
        self._keep_output(attempt)

    def _keep_output(self, attempt: Attempt) -> None:
        data, size = self._output.take()
        if not size:
            return
        now = time.monotonic()
        lines = data.decode("utf-8", "replace").splitlines()
        for number, line in enumerate(lines[:MAX_OUTPUT_LINES], MAX_LINES + 1):
            self._on_log(attempt, now, number, "info", clean_text(line, MAX_LINE))
        if size > len(data) or len(lines) > MAX_OUTPUT_LINES:
            text = f"Of {size} bytes of output the first {MAX_OUTPUT_LINES} lines in {MAX_OUTPUT} bytes are kept."
            self._on_log(attempt, now, MAX_LINES + MAX_OUTPUT_LINES + 1, "warning", text)

    @staticmethod
    def _cpu_seconds() -> float:
        used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
        return sum(usage.ru_utime + usage.ru_stime for usage in used)

    @staticmethod
    def _peak_rss_bytes() -> int | None:
        with contextlib.suppress(OSError), _STATUS.open(encoding="ascii") as status:
            for line in status:
                if line.startswith(_PEAK):
                    return int(line.split()[1]) * 1024
        return None

    @staticmethod
    def _forget_peak() -> None:
        # Lets the kernel measure the peak anew; without that it would be the largest of all attempts.
        with contextlib.suppress(OSError):
            _CONTROL.write_text("5", encoding="ascii")


@contextlib.contextmanager
def memory_limit(limit: int) -> Iterator[None]:
    """Lets this process take `limit` more bytes of memory for the block; beyond that Python raises MemoryError.

    Only Linux counts and limits what was really asked for; elsewhere nothing is limited.
    """
    if sys.platform != "linux":
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _data_bytes() + limit
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    with _STATUS.open(encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:"))
