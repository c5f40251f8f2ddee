"""burst, snapshot, queues, history, backlog, held: the drain under conditions that slow queues down.

Each beside one without it, all with plain functions and one executor.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pgtask.benchmark import drain
from pgtask.benchmark.bench import Bench
from pgtask.benchmark.figures import Figure, Floor, Target
from pgtask.database import measuring
from pgtask.database.measuring import Stretch

QUEUES = 1000
_FALL_ASLEEP = 1.0


def burst(bench: Bench) -> list[Figure]:
    """Arriving all at once at a worker that was idle, whose plans were made while the table was empty."""

    def at_once() -> float:
        bench.empty()
        bench.settle()
        with bench.worker() as worker:
            bench.await_end(worker, measuring.fill_jobs(bench.connection, "noop", 100))
            time.sleep(_FALL_ASLEEP)
            stretch = measuring.fill_jobs(bench.connection, "noop", bench.jobs)
            return bench.rate(stretch, bench.await_end(worker, stretch))

    return [_compare(bench, "burst", "drain of a burst, from idle", at_once, Target(0.8))]


def snapshot(bench: Bench) -> list[Figure]:
    """Under a transaction that stays open, so that dead rows pile up."""

    def held() -> float:
        bench.empty()
        with measuring.held_snapshot(bench.url):
            return bench.drain(bench.fill("noop", bench.jobs)).rate

    return [_compare(bench, "snapshot", "drain under an open snapshot", held, Target(0.8))]


def queues(bench: Bench) -> list[Figure]:
    """With the jobs spread over a thousand queues."""
    spread = min(QUEUES, bench.jobs)
    title = f"drain of {spread:,} queues"
    return [_compare(bench, "queues", title, lambda: drain.base(bench, queues=spread), Target(0.6))]


def history(bench: Bench) -> list[Figure]:
    """With many runs in the history."""

    def after() -> float:
        bench.empty()
        measuring.fill_history(bench.connection, "noop", bench.many)
        return bench.drain(bench.fill("noop", bench.jobs)).rate

    return [_compare(bench, "history", f"drain after {_number(bench.many)} finished", after, Target(0.9))]


def backlog(bench: Bench) -> list[Figure]:
    """The first of many pending jobs."""

    def first() -> float:
        bench.empty()
        everything = bench.fill("noop", bench.many)
        return bench.drain(Stretch(everything.first, everything.first + bench.jobs - 1)).rate

    return [_compare(bench, "backlog", f"drain of {_number(bench.many)} pending", first, Target(0.65))]


def held(bench: Bench) -> list[Figure]:
    """Behind many jobs of a task that no worker knows, in the same lane; and how long it takes to get past them."""
    waits: list[float] = []

    def behind() -> float:
        bench.empty()
        measuring.fill_jobs(bench.connection, "unknown", bench.many)
        drained = bench.drain(bench.fill("noop", bench.jobs))
        waits.append(drained.until_first)
        return drained.rate

    number = _number(bench.many)
    return [
        _compare(bench, "held", f"drain behind {number} unknown", behind, None),
        Figure(name="held.wait", title=f"first job behind {number} unknown", unit="s", samples=waits),
    ]


def _compare(bench: Bench, name: str, title: str, condition: Callable[[], float], target: Target | None) -> Figure:
    samples, base = bench.alternate(title, ("with", condition), ("without", lambda: drain.base(bench)))
    bench.empty()
    return Figure(
        name=name,
        title=title,
        unit="jobs/s",
        samples=samples,
        floor=Floor("drain without it", base),
        targets=() if target is None else (target,),
    )


def _number(count: int) -> str:
    return f"{count / 1e6:g} M" if count >= 1_000_000 else f"{count:,}"
