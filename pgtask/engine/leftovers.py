"""Processes that jobs have started and left behind.

A process of ours that is made a subreaper inherits what its descendants orphan, however they have detached themselves,
so that nothing escapes unseen. Only Linux has this; elsewhere leaving one's process group is enough to get away.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE = 1.0
_TICK = 0.01


def inherit_orphans() -> None:
    """Makes this process the parent of whatever its descendants orphan."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def any_children() -> bool:
    """Whether this process has any child, dead ones included; costs next to nothing."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def reap(spared: Collection[int]) -> None:
    """Reaps dead children but those spared, whose parent will ask for them."""
    with contextlib.suppress(ChildProcessError):
        while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and dead.si_pid not in spared:
            os.waitpid(dead.si_pid, os.WNOHANG)


def children() -> set[int]:
    """The ids of all processes below this one."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


def end_children(spared: Collection[int] = ()) -> list[str]:
    """Kills and reaps all processes below this one but those spared and what is below them; returns their names."""
    ended: dict[int, str] = {}
    deadline = time.monotonic() + _PATIENCE
    while left := _below(spared):
        for process in left:
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE:
                    ended.setdefault(process.pid, process.name())
                    process.send_signal(signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)
        if time.monotonic() > deadline:
            break
        time.sleep(_TICK)
    return sorted(ended.values())


def _below(spared: Collection[int]) -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        if child.pid not in spared:
            found.append(child)
            with contextlib.suppress(psutil.Error):
                found += child.children(recursive=True)
    return found
