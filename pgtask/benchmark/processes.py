"""What processes of this machine use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time that these processes have used; nothing for those that are gone."""
    seconds = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            seconds += times.user + times.system
    return seconds


def memory(pid: int) -> int:
    """Bytes of memory that a process has resident."""
    return psutil.Process(pid).memory_info().rss


def executors(supervisor: int) -> list[int]:
    """The executors among the processes below a supervisor."""
    return [
        child.pid
        for child in psutil.Process(supervisor).children(recursive=True)
        if "pgtask.engine.executor" in child.cmdline()
    ]


def local_servers(pids: Iterable[int]) -> list[int]:
    """Those of a server's process ids that are PostgreSQL's on this machine; none when it runs elsewhere."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            if any("postgres" in part for part in psutil.Process(pid).cmdline()[:1]):
                found.append(pid)
    return found
