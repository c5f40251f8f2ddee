"""What PostgreSQL itself says about a server: its ``postmaster.pid`` and its socket."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from pgtask.model.errors import EmbeddedServerError

PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"
CONNECT_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Postmaster:
    """A server as its ``postmaster.pid`` describes it, which may be out of date."""

    pid: int
    socket_dir: Path
    ready: bool


def read(data_dir: Path) -> Postmaster | None:
    """The server that last wrote ``postmaster.pid`` in `data_dir`; None if there is none."""
    try:
        lines = os.fsdecode((data_dir / "postmaster.pid").read_bytes()).splitlines()
        # The lines: pid, data directory, start time, port, socket directory, listen address,
        # shared memory, state.
        return Postmaster(int(lines[0]), Path(lines[4]), lines[7].strip() == "ready")
    except (OSError, IndexError, ValueError):
        return None


def answers(socket_dir: Path) -> bool:
    """Whether a server accepts connections in `socket_dir`."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(CONNECT_TIMEOUT_SECONDS)
        try:
            connection.connect(str(socket_dir / SOCKET_NAME))
        except OSError:
            return False
    return True


def end_orphan(data_dir: Path) -> None:
    """Ask a server whose keeper has died to shut down, where the kernel has not done so."""
    orphan = read(data_dir)
    # The answer proves that the server lives, so that its process id is not another's.
    if orphan is not None and answers(orphan.socket_dir):
        with contextlib.suppress(ProcessLookupError):
            os.kill(orphan.pid, signal.SIGINT)


def remove_stale_pid_file(data_dir: Path) -> None:
    """Remove a ``postmaster.pid`` that outlived its server, as after a crash of the machine.

    PostgreSQL would refuse to start if any process had its process id by now, which in a container
    is likely. To call under ``server.lock``. Raises EmbeddedServerError when a server that is not
    ours runs on `data_dir`.
    """
    pid_file = data_dir / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except FileNotFoundError:
        return
    except ValueError:
        pid_file.unlink(missing_ok=True)
        return
    if not Path("/proc/self/cwd").is_dir():  # without /proc, PostgreSQL's own check has to do
        return
    try:
        runs = Path(f"/proc/{pid}/cwd").samefile(data_dir)
    except OSError:  # no such process, or one of another user
        runs = False
    if runs:
        raise EmbeddedServerError(
            f"Another PostgreSQL (process {pid}) that pgtask did not start runs on {data_dir}. "
            f"Stop it with: kill -INT {pid}"
        )
    pid_file.unlink(missing_ok=True)
