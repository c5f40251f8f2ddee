"""The pipe on which a keeper listens: proof that it lives, and the way to stop it.

A pipe needs no process id, which another process or another container may own by now.
"""

from __future__ import annotations

import os
from pathlib import Path


def keeper_listens(control: Path) -> bool:
    """Whether a keeper lives that means to keep its server running."""
    return _write(control, b"")


def ask_to_stop(control: Path) -> bool:
    """Ask the keeper to stop its server now; False when none listens."""
    return _write(control, b"stop")


def _write(control: Path, message: bytes) -> bool:
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        pipe = os.open(control, flags)  # refused unless someone has it open for reading
    except OSError:
        return False
    try:
        if message:
            os.write(pipe, message)
    except (BlockingIOError, BrokenPipeError):  # full of earlier requests, or just closed
        pass
    finally:
        os.close(pipe)
    return True
