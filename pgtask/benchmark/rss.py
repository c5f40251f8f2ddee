"""rss: the memory of a worker that has nothing to do."""

from __future__ import annotations

import time

from pgtask.benchmark import processes
from pgtask.benchmark.bench import Bench
from pgtask.benchmark.figures import Figure, Target
from pgtask.engine.discovery import BUILT_IN

_SETTLE = 1.0


def measure(bench: Bench) -> list[Figure]:
    """Resident memory of an executor with the built-in tasks and of its supervisor, after one job."""
    executors, supervisors = [], []
    for run in range(bench.runs):
        bench.say(f"memory of an idle worker: run {run + 1} of {bench.runs}")
        bench.empty()
        stretch = bench.fill("echo", 1)
        with bench.worker(app=BUILT_IN) as worker:
            bench.await_end(worker, stretch)
            time.sleep(_SETTLE)
            (executor,) = processes.executors(worker.pid)
            executors.append(processes.memory(executor) / 1e6)
            supervisors.append(processes.memory(worker.pid) / 1e6)
    return [
        Figure(
            name="rss.executor",
            title="memory of an idle executor",
            unit="MB",
            samples=executors,
            targets=(Target(45, at_most=True, absolute=True),),
        ),
        Figure(name="rss.supervisor", title="memory of its supervisor", unit="MB", samples=supervisors),
    ]
