"""Workers started as an operator starts them, with `pgtask worker`, and broken from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import psycopg

from tests.support import eventually

APPS = Path(__file__).parent / "apps"
PATIENCE = 30.0


class Start(NamedTuple):
    """One call of a handler."""

    job_id: int
    attempt: int
    pid: int


class Ledger:
    """What the handlers of apps/faults.py have written down."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open_gate(self, name: str = "gate") -> None:
        """Lets the jobs that hold end."""
        (self._folder / name).touch()

    def starts(self) -> list[Start]:
        """All calls of handlers."""
        path = self._folder / "ledger"
        lines = path.read_text().splitlines() if path.exists() else []
        return [Start(*map(int, line.split()[1:])) for line in lines if line.startswith("start ")]

    def twice(self) -> list[int]:
        """The ids of jobs whose handler was called more than once."""
        return [id for id, count in Counter(start.job_id for start in self.starts()).items() if count > 1]


class Worker:
    """A `pgtask worker` process, its executors and its log."""

    def __init__(
        self, url: str, folder: Path, number: int, *flags: str, app: str = "faults", **environment: str
    ) -> None:
        self.log = folder / f"operated-{number}.log"
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pgtask", "worker", "-A", app, "--log-format", "text", *flags],
                cwd=APPS,
                env=os.environ | {"PGTASK_DATABASE_URL": url, "FAULTS_FOLDER": str(folder)} | environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self, text: str) -> bool:
        """Whether the log has this text."""
        return text in self.log.read_text()

    def await_ready(self) -> Worker:
        """Waits until all executors serve."""
        eventually(lambda: self.said(" ready: ") or self._fail_if_dead(), PATIENCE)
        return self

    def _fail_if_dead(self) -> bool:
        assert self.process.poll() is None, f"the worker ended with {self.process.returncode}:\n{self.log.read_text()}"
        return False

    def executors(self) -> list[psutil.Process]:
        """The executor processes that live now."""
        children: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children()
        return [child for child in children if _lives(child)]

    def signal_all(self, number: signal.Signals) -> None:
        """Sends a signal to the supervisor and its executors."""
        for process in [psutil.Process(self.process.pid), *self.executors()]:
            process.send_signal(number)

    def id(self, connection: psycopg.Connection[Any]) -> int:
        """The newest identity of this worker in the database."""
        row = connection.execute(
            "SELECT id FROM pgtask.workers WHERE pid = %s ORDER BY id DESC LIMIT 1", [self.process.pid]
        ).fetchone()
        assert row is not None
        return int(row[0])

    def terminate(self) -> int:
        """Asks it to stop and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        """Ends whatever is left of it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.signal_all(signal.SIGCONT)
            self.signal_all(signal.SIGKILL)
        self.process.wait(PATIENCE)


class Fleet:
    """The workers of one test, which all end with it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.ledger = Ledger(folder)
        self.workers: list[Worker] = []

    def start(self, *flags: str, app: str = "faults", **environment: str) -> Worker:
        """Starts a worker and waits until it serves."""
        return self.launch(*flags, app=app, **environment).await_ready()

    def launch(self, *flags: str, app: str = "faults", **environment: str) -> Worker:
        """Starts a worker of an application in apps/, with variables in its environment."""
        worker = Worker(self.url, self.folder, len(self.workers) + 1, *flags, app=app, **environment)
        self.workers.append(worker)
        return worker


@contextlib.contextmanager
def fleet(url: str, folder: Path) -> Iterator[Fleet]:
    """A fleet for the block."""
    made = Fleet(url, folder)
    try:
        yield made
    finally:
        for worker in made.workers:
            worker.end()


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
