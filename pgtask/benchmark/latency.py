"""latency: from a single INSERT to the start of its job, with a worker that is idle and with one that is not."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from pgtask.benchmark import floor
from pgtask.benchmark.bench import Bench
from pgtask.benchmark.figures import Figure, Target
from pgtask.database import jobs, measuring
from pgtask.database.measuring import Stretch
from pgtask.engine.child import WorkerProcess
from pgtask.model.job import NewJob
from pgtask.model.percentile import percentile

Targets = Mapping[str, tuple[Target, ...]]

LOAD = 1000
"""Jobs a second that others insert meanwhile."""
_SETTLE = 2.0
_PAUSES = (0.02, 0.05)
_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_TARGETS: Targets = {
    "p50": (Target(2, at_most=True, absolute=True),),
    "p99": (Target(10, at_most=True, absolute=True),),
}


def measure(bench: Bench) -> list[Figure]:
    """Percentiles of the pickup latency, idle and under load."""
    figures = _measure(bench, "idle", "pickup, idle worker", nullcontext(), _TARGETS)
    if bench.pgbench is not None:
        load = bench.pgbench.load(bench.url, floor.INSERT_ONE, rate=LOAD)
        figures += _measure(bench, "load", f"pickup at {LOAD:,} jobs/s", load, {})
    return figures


def _measure(
    bench: Bench,
    name: str,
    title: str,
    load: AbstractContextManager[None],
    targets: Targets,
) -> list[Figure]:
    bench.empty()
    with bench.worker() as worker, load:
        bench.say(f"{title}: waiting for the worker")
        _singles(bench, worker, 1)
        time.sleep(_SETTLE)
        runs = []
        for run in range(bench.runs):
            bench.say(f"{title}: run {run + 1} of {bench.runs}")
            runs.append(_singles(bench, worker, bench.count(200, 50)))
    return [
        Figure(
            name=f"latency.{name}.{word}",
            title=f"{title}, {word}",
            unit="ms",
            samples=[percentile(times, share) * 1000 for times in runs],
            targets=targets.get(word, ()),
        )
        for word, share in _SHARES.items()
    ]


def _singles(bench: Bench, worker: WorkerProcess, count: int) -> list[float]:
    """Inserts jobs with pauses and returns the seconds from each one's creation to its start."""
    ids = []
    for _ in range(count):
        ids.append(jobs.enqueue(bench.connection, NewJob(task="noop"), '{"n": 1}').id)
        time.sleep(random.uniform(*_PAUSES))
    for id in ids:
        bench.await_end(worker, Stretch(id, id))
    return measuring.pickup_times(bench.connection, ids)
