"""File locks that the kernel drops when their last holder is gone, however it died."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgtask.model.errors import EmbeddedServerError

POLL_SECONDS = 0.01


def try_acquire(path: Path, *, shared: bool = False) -> int | None:
    """Lock `path`, made if missing; None while someone else holds it.

    The lock lasts until the returned descriptor and all its copies are closed. Programs that this
    process runs do not get one unless it is passed to them. Raises OSError when `path` cannot be
    opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        # Someone may have removed the directory and made it anew since the file was opened.
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def acquire(path: Path, deadline: float, *, shared: bool = False) -> int:
    """Lock `path` as `try_acquire` does, waiting until `deadline` on the monotonic clock.

    Raises EmbeddedServerError when it passes.
    """
    while (descriptor := try_acquire(path, shared=shared)) is None:
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"Gave up waiting for {path}: another process is still starting or stopping the "
                "embedded PostgreSQL. Try again, or end that process."
            )
        time.sleep(POLL_SECONDS)
    return descriptor


@contextmanager
def held(path: Path, deadline: float) -> Iterator[None]:
    """Hold the lock on `path` alone for the length of a with block; raises as `acquire` does."""
    descriptor = acquire(path, deadline)
    try:
        yield
    finally:
        os.close(descriptor)
