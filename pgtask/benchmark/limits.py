"""limits: how fast a worker does jobs that do nothing while limits hold, and whether they hold."""

from __future__ import annotations

from pgtask.benchmark.bench import Bench
from pgtask.benchmark.figures import Figure, Target
from pgtask.database import measuring

EXECUTORS, SLOTS = 2, 100
AT_ONCE = 120
"""Fewer than the executors have slots."""
KEYS = 1000

_SPEED = 5_000
"""Jobs a second that should be reached within limits; asked only of full sizes."""


def measure(bench: Bench) -> list[Figure]:
    """In a queue with max_workers, and with a thousand concurrency keys of which each may run one job at a time."""
    return [
        *_measure(bench, "queue", f"drain, max_workers {AT_ONCE}", 0),
        *_measure(bench, "keys", f"drain of {KEYS:,} keys, one at a time each", KEYS),
    ]


def _measure(bench: Bench, name: str, title: str, keys: int) -> list[Figure]:
    exceeded: list[float] = []

    def ours() -> float:
        bench.empty()
        measuring.execute(bench.connection, "TRUNCATE pgtask.limits, pgtask.limit_holds")
        if not keys:
            measuring.limit_queue(bench.connection, "default", AT_ONCE)
        try:
            stretch = bench.fill("noop", bench.jobs // 5, keys=keys)
            rate = bench.drain(stretch, executors=EXECUTORS, slots=SLOTS).rate
        finally:
            measuring.limit_queue(bench.connection, "default", None)
        running, of_key = measuring.most_at_once(bench.connection)
        exceeded.append(max(0, of_key - 1 if keys else running - AT_ONCE))
        return rate

    (samples,) = bench.alternate(title, ("worker", ours))
    targets = () if bench.quick else (Target(_SPEED, absolute=True),)
    return [
        Figure(name=f"limits.{name}", title=title, unit="jobs/s", samples=samples, targets=targets),
        Figure(
            name=f"limits.{name}.exceeded",
            title=f"{title}: exceeded by",
            unit="jobs",
            samples=exceeded,
            targets=(Target(0, at_most=True, absolute=True),),
        ),
    ]
