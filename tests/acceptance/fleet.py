"""Workers as real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.scene import VARIABLE, Scene
from tests.support import eventually

REPOSITORY = Path(__file__).resolve().parents[2]
DRIVER = Path(__file__).with_name("driver.py")
PATIENCE = 30.0

Make = Callable[..., "Worker"]


class Worker:
    """A worker: its supervisor's process, and what it has logged."""

    def __init__(self, database: str, scene: Scene, log: Path, **options: Any) -> None:
        """`options` are those of WorkerOptions; without any it runs tests/acceptance/apps/basic.py."""
        values = {
            "database_url": database,
            "app": "tests.acceptance.apps.basic",
            "lease": 3.0,
            "grace": 5.0,
            "log_format": "json",
            **options,
        }
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(DRIVER), json.dumps(values)],
                cwd=REPOSITORY,
                env={**os.environ, VARIABLE: str(scene.directory), "PYTHONPATH": str(REPOSITORY)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._known = psutil.Process(self.process.pid)

    # What it says

    def messages(self) -> list[str]:
        """The log messages so far, in their order."""
        found = []
        for line in self.log.read_text().splitlines():
            try:
                found.append(json.loads(line)["message"])
            except ValueError:
                found.append(line)
        return found

    def said(self, pattern: str) -> list[re.Match[str]]:
        """Where the messages match a pattern."""
        return [match for message in self.messages() if (match := re.search(pattern, message))]

    def ready(self, times: int = 1) -> int:
        """Waits until it has become ready for the so-many-th time; returns its identity."""

        def identity() -> int | None:
            assert self.process.poll() is None, f"the worker ended with {self.process.returncode}: {self.messages()}"
            found = self.said(r"^worker (\d+) ready")
            return int(found[times - 1][1]) if len(found) >= times else None

        return eventually(identity, PATIENCE) or 0

    # Its processes

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self.process.pid

    def executors(self) -> list[psutil.Process]:
        """The executors that live."""
        return [child for child in self._known.children() if _is_executor(child)]

    def freeze(self) -> None:
        """Stops all its processes where they are."""
        for process in [*self.executors(), self._known]:
            process.suspend()

    # Its end

    def signal(self, number: int) -> None:
        """Sends a signal to the supervisor."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Ends the supervisor at once, and nobody else."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Asks it to shut down; returns its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Waits for its end; returns its exit code."""
        return self.process.wait(PATIENCE)

    def clear_away(self) -> None:
        """Ends all its processes, however they are."""
        executors = self.executors() if self.process.poll() is None else []
        self.process.kill()
        self.process.wait()
        for process in executors:
            if process.is_running():
                process.kill()


def _is_executor(process: psutil.Process) -> bool:
    try:
        return any("pgtask.engine" in part for part in process.cmdline())
    except psutil.Error:
        return False


def alive(process: psutil.Process) -> bool:
    """Whether a process still runs; one that has ended but was not waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
