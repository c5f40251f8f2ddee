"""A worker as a child process, for commands that bring their own: it is ended in order and never outlives its parent.

Started by path, as `python -I -S child.py PARENT COMMAND…`, this file is what stands between parent and worker for an
instant, so it imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PATIENCE = 10.0


class WorkerProcess:
    """A running `pgtask worker`, in a session of its own: a Ctrl-C reaches the parent alone, which then decides."""

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        """`arguments` are the command's; `environment` (this process's) and `directory` (here) say where it runs."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
        worker = [sys.executable, "-m", "pgtask", "worker", "--log-format", "text", *arguments]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(os.getpid()), *worker],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=environment,
            cwd=directory,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def log(self, lines: int = 10) -> str:
        """The last lines that it wrote."""
        # Not by seek and read: the worker writes at the same position of the same file.
        written = os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size, 0)
        return "\n".join(written.decode(errors="replace").splitlines()[-lines:])

    def stop(self, patience: float = _PATIENCE) -> None:
        """Has it shut down; jobs that still run after `patience` seconds are given back. May be repeated."""
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.running:
                self._process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(patience)
        self._log.close()


def _become(parent: int, command: list[str]) -> None:
    """Turns this process into the worker, to be told to stop when the parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:
        os.execv(command[0], command)


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
