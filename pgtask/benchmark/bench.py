"""What all measurements share: a database of their own, their sizes, and workers on it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pgtask.benchmark.app import PLAIN
from pgtask.benchmark.pgbench import Pgbench
from pgtask.database import measuring
from pgtask.database.connection import Connection
from pgtask.database.measuring import Stretch
from pgtask.engine.child import WorkerProcess
from pgtask.model.errors import PgTaskError

LOOK_EVERY = 0.01
PATIENCE = 120.0
"""Seconds without progress after which a measurement is given up."""

Side = Callable[[], float]


class BenchError(PgTaskError):
    """What was measured went wrong, so its figures mean nothing."""


class NotHereError(PgTaskError):
    """This cannot be measured here; the others can."""


@dataclass(frozen=True, slots=True)
class Drained:
    """How fast jobs were done: jobs a second, and seconds from the worker's start to the first job's."""

    rate: float
    until_first: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The database, migrated and its measurements' own, and how much to measure. `say` tells what is under way."""

    url: str
    connection: Connection
    directory: Path
    """An empty directory for workers to run in, where no settings lie."""
    pgbench: Pgbench | None
    """None where there is no such program; then there are no floors by it."""
    runs: int
    jobs: int
    quick: bool
    say: Callable[[str], None]

    @property
    def many(self) -> int:
        """A number of jobs beyond what caches and batches even out."""
        return 10 * self.jobs

    def count(self, full: int, quick: int) -> int:
        """A size that does not go by the number of jobs."""
        return quick if self.quick else full

    def empty(self) -> None:
        """Leaves no job, no history, and no trace of a worker that was asleep, for which inserts would notify."""
        measuring.execute(self.connection, "TRUNCATE pgtask.jobs, pgtask.runs")
        measuring.execute(self.connection, "SELECT setval('pgtask.idle_until', 0)")

    def fill(self, task: str, count: int, queues: int = 1, keys: int = 0) -> Stretch:
        """Enqueues so many jobs in one go, and leaves nothing for an autovacuum to do while the clock runs."""
        stretch = measuring.fill_jobs(self.connection, task, count, queues, keys)
        self.settle()
        return stretch

    def settle(self) -> None:
        """Brings the planner's statistics up to date, and hint bits."""
        measuring.execute(self.connection, "VACUUM (ANALYZE) pgtask.jobs, pgtask.runs")

    def alternate(self, what: str, *sides: tuple[str, Side]) -> list[list[float]]:
        """Samples of each side, taken in turns; who is first changes from run to run."""
        samples: list[list[float]] = [[] for _ in sides]
        for run in range(self.runs):
            for turn in range(len(sides)):
                side = (run + turn) % len(sides)
                label, measure = sides[side]
                self.say(f"{what}: {label}, run {run + 1} of {self.runs}")
                samples[side].append(measure())
        return samples

    @contextmanager
    def worker(
        self, *, app: str = PLAIN, executors: int = 1, slots: int = 10, isolation: str = "thread"
    ) -> Iterator[WorkerProcess]:
        """A worker, just started, while the block runs."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PGTASK_")}
        worker = WorkerProcess(
            *("--app", app, "--processes", str(executors), "--log-level", "warning"),
            *(("--isolation", "process") if isolation == "process" else ("--concurrency", str(slots))),
            environment=kept | {"PGTASK_DATABASE_URL": self.url},
            directory=self.directory,
        )
        try:
            yield worker
        finally:
            worker.stop()

    def await_end(self, worker: WorkerProcess, stretch: Stretch) -> float:
        """Waits until these jobs have ended and returns the database's time then, in seconds since 1970."""
        rest, progress_at = stretch, time.monotonic()
        while True:
            first, instant = measuring.first_live(self.connection, rest)
            if first is None:
                return instant.timestamp()
            now = time.monotonic()
            if first != rest.first:
                rest, progress_at = Stretch(first, stretch.last), now
            if not worker.running or now - progress_at > PATIENCE:
                state = "does nothing" if worker.running else "has ended"
                raise BenchError(f"The worker {state}. The last that it said: {worker.log(3) or 'nothing'}")
            time.sleep(LOOK_EVERY)

    def drain(
        self, stretch: Stretch, *, app: str = PLAIN, executors: int = 1, slots: int = 10, isolation: str = "thread"
    ) -> Drained:
        """Starts a worker on these jobs and takes the time until the last completion is committed."""
        _, began = measuring.first_live(self.connection, stretch)
        with self.worker(app=app, executors=executors, slots=slots, isolation=isolation) as worker:
            end = self.await_end(worker, stretch)
        return Drained(self.rate(stretch, end), self._first_start(stretch) - began.timestamp())

    def rate(self, stretch: Stretch, end: float) -> float:
        """Jobs a second from the first start to `end`, as `await_end` gave it.

        Raises BenchError unless each job completed at its first attempt.
        """
        return stretch.size / (end - self._first_start(stretch))

    def _first_start(self, stretch: Stretch) -> float:
        done = measuring.completed(self.connection, stretch)
        if done.started_at is None or (done.completed, done.runs) != (stretch.size, stretch.size):
            raise BenchError(f"Of {stretch.size} jobs {done.completed} completed, in {done.runs} attempts.")
        return done.started_at.timestamp()
