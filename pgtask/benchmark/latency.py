"""latency: from a single INSERT to the start of its job, with a worker that is idle and with one that is not."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing, nullcontext

from pgtask.benchmark import floor
from pgtask.benchmark.bench import Bench
from pgtask.benchmark.figures import Figure, Floor, Target
from pgtask.database import jobs, measuring
from pgtask.database.claims import START, ClaimRequest, Position
from pgtask.database.measuring import Stretch
from pgtask.database.work import WorkConnection
from pgtask.model.job import NewJob
from pgtask.model.percentile import percentile

Targets = Mapping[str, tuple[Target, ...]]

LOAD = 1000
"""Jobs a second that others insert meanwhile."""
_SETTLE = 2.0
_PAYLOAD = '{"n": 1}'
_PAUSES = (0.02, 0.05)
_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_TARGETS: Targets = {
    # Two durable commits are most of it, so what a disk needs for them is left to the floor.
    "p50": (Target(1.25, at_most=True),),
    "p99": (Target(10, at_most=True, absolute=True),),
}


def measure(bench: Bench) -> list[Figure]:
    """Percentiles of the pickup latency, idle and under load."""
    least: list[list[float]] = []
    idle: list[list[float]] = []
    loaded: list[list[float]] = []
    for run in range(bench.runs):
        where = f"run {run + 1} of {bench.runs}"
        bench.say(f"pickup: floor, {where}")
        least.append(_inserted_and_claimed(bench))
        bench.say(f"pickup: idle worker, {where}")
        idle.append(_pickups(bench, nullcontext()))
        if bench.pgbench is not None:
            bench.say(f"pickup: busy worker, {where}")
            loaded.append(_pickups(bench, bench.pgbench.load(bench.url, floor.INSERT_ONE, rate=LOAD)))
    figures = _figures("idle", "pickup, idle worker", idle, _TARGETS, least)
    if loaded:
        figures += _figures("load", f"pickup at {LOAD:,} jobs/s", loaded, {}, None)
    return figures


def _figures(
    name: str, title: str, runs: list[list[float]], targets: Targets, least: list[list[float]] | None
) -> list[Figure]:
    def milliseconds(runs: list[list[float]], share: float) -> list[float]:
        return [percentile(times, share) * 1000 for times in runs]

    return [
        Figure(
            name=f"latency.{name}.{word}",
            title=f"{title}, {word}",
            unit="ms",
            samples=milliseconds(runs, share),
            floor=None if least is None else Floor("INSERT and claim, one session each", milliseconds(least, share)),
            targets=targets.get(word, ()),
        )
        for word, share in _SHARES.items()
    ]


def _inserted_and_claimed(bench: Bench) -> list[float]:
    """The same pauses and statements without a worker: seconds from before an INSERT to after the claim of its job."""
    bench.empty()
    times = []
    with floor.lease(bench) as worker_id, closing(WorkConnection(bench.url, worker_id, 1)) as work:
        after = START
        for _ in range(bench.count(200, 50)):
            time.sleep(random.uniform(*_PAUSES))
            began = time.perf_counter()
            jobs.enqueue(bench.connection, NewJob(task="noop"), _PAYLOAD)
            claim = ClaimRequest(["default"], [1], [after.time], [after.id], 1)
            ((id, *_, scheduled_at, _),) = work.exchange(None, None, None, claim, ["noop"]).claimed
            times.append(time.perf_counter() - began)
            after = Position(scheduled_at, id)
    return times


def _pickups(bench: Bench, load: AbstractContextManager[None]) -> list[float]:
    """Inserts single jobs with pauses; the seconds from each one's creation to its start."""
    bench.empty()
    with bench.worker() as worker, load:
        bench.await_end(worker, measuring.fill_jobs(bench.connection, "noop", 1))
        time.sleep(_SETTLE)
        ids = []
        for _ in range(bench.count(200, 50)):
            ids.append(jobs.enqueue(bench.connection, NewJob(task="noop"), _PAYLOAD).id)
            time.sleep(random.uniform(*_PAUSES))
        for id in ids:
            bench.await_end(worker, Stretch(id, id))
    return measuring.pickup_times(bench.connection, ids)
