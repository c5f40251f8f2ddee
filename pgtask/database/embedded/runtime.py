"""The short private directory that holds a server's socket.

The path of a unix socket is limited to about a hundred bytes, so it cannot lie in the home.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from pgtask.database.embedded import postmaster
from pgtask.model.errors import EmbeddedServerError

SOCKET_PATH_BYTES = 103  # the smallest limit among the systems we support (macOS; Linux has 107)
POLL_SECONDS = 0.01


def socket_directory(data_dir: Path, uid: int, gid: int, deadline: float) -> Path:
    """A directory, open to `uid` alone, for the socket of the server on `data_dir`.

    It is the same at every start, so that connections can be made again at the same URL. To call
    under ``server.lock``. Raises EmbeddedServerError when there is no place for it.
    """
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    refused = []
    for base in _bases(uid):
        directory = base / f"pgtask-{uid}-{digest}"
        try:
            _make(directory, uid, gid)
        except OSError as error:
            refused.append(f"{directory}: {error.strerror}")
            continue
        _clear(directory, deadline)
        return directory
    raise EmbeddedServerError(
        f"No place for the server's socket ({'; '.join(refused)}). Remove that directory, or set "
        "XDG_RUNTIME_DIR to a short path of your own."
    )


def _bases(uid: int) -> Iterator[Path]:
    # XDG_RUNTIME_DIR comes second: it is emptied when the user logs out, and workers run on.
    yield Path("/tmp")  # noqa: S108 (what is in there is checked)
    named = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    room = SOCKET_PATH_BYTES - len(f"/pgtask-{uid}-{'x' * 12}/{postmaster.SOCKET_NAME}")
    if named.is_absolute() and len(os.fsencode(named)) <= room:
        with contextlib.suppress(FileNotFoundError):
            if named.stat().st_uid == uid:
                yield named


def _make(directory: Path, uid: int, gid: int) -> None:
    """Make `directory`, or check that the one there is ours: anyone may make one in /tmp."""
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    ours = found.st_uid in {uid, os.geteuid()}
    if not stat.S_ISDIR(found.st_mode) or not ours or found.st_mode & 0o077:
        raise PermissionError(0, "not a private directory of the server's user")
    if found.st_uid != uid:
        os.chown(directory, uid, gid, follow_symlinks=False)


def _clear(directory: Path, deadline: float) -> None:
    """Remove what an earlier server left, once it is gone.

    Nobody holds ``server.lock``, so a server that still answers is one whose home was removed; its
    keeper is about to notice.
    """
    while postmaster.answers(directory):
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"A PostgreSQL that pgtask does not know uses {directory}. Stop it and try again."
            )
        time.sleep(POLL_SECONDS)
    for name in (postmaster.SOCKET_NAME, f"{postmaster.SOCKET_NAME}.lock"):
        (directory / name).unlink(missing_ok=True)
