"""enqueue: one job a transaction, a thousand at once, and long lists by COPY, beside the same rows by plain SQL."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pgtask.benchmark import floor
from pgtask.benchmark.app import noop
from pgtask.benchmark.bench import Bench, Side
from pgtask.benchmark.figures import Figure, Floor, Target
from pgtask.engine.app import PgTask
from pgtask.engine.task import Task

_BATCH = 1000
_LIST = 50_000
"""Long enough to go by COPY, which small sizes must stay, too."""
_COPY_SPEED = 100_000


def measure(bench: Bench) -> list[Figure]:
    """Single jobs, thousands and COPY."""
    with PgTask(bench.url) as app:
        task = app.task(name=noop.name)(noop.function)

        def many(size: int) -> Callable[[int], None]:
            payloads = [{"n": n} for n in range(size)]

            def enqueue(times: int) -> None:
                for _ in range(times):
                    task.enqueue_many(payloads)

            return enqueue

        batches, lists = bench.count(50, 5), bench.count(5, 1)
        return [
            _measure(
                bench,
                ("one", "enqueue, one per transaction", lambda times: _singly(task, times)),
                (1, bench.count(3000, 500), floor.INSERT_ONE),
                (Target(0.5),),
            ),
            _measure(
                bench,
                ("many", f"enqueue_many, {_BATCH:,} at once", many(_BATCH)),
                (_BATCH, batches, floor.INSERT_MANY),
                (Target(0.6),),
            ),
            _measure(
                bench,
                ("copy", f"enqueue_many, {_LIST:,} by COPY", many(_LIST)),
                (_LIST, lists, floor.INSERT_MANY),
                (Target(_COPY_SPEED, absolute=True),),
            ),
        ]


def _singly(task: Task[Any], times: int) -> None:
    for n in range(times):
        task.enqueue(n=n)


def _measure(
    bench: Bench,
    what: tuple[str, str, Callable[[int], None]],
    sizes: tuple[int, int, str],
    targets: tuple[Target, ...],
) -> Figure:
    name, title, enqueue = what
    size, times, script = sizes

    def ours() -> float:
        bench.empty()
        enqueue(1)
        began = time.perf_counter()
        enqueue(times)
        return size * times / (time.perf_counter() - began)

    def theirs() -> float:
        assert bench.pgbench is not None
        bench.empty()
        return size * bench.pgbench.run(bench.url, script, transactions=times, variables={"count": size})

    sides: list[tuple[str, Side]] = [("Python", ours)]
    if bench.pgbench is not None:
        sides.append(("floor", theirs))
    samples, *others = bench.alternate(title, *sides)
    bench.empty()
    return Figure(
        name=f"enqueue.{name}",
        title=title,
        unit="jobs/s",
        samples=samples,
        floor=Floor("the same rows by pgbench", others[0]) if others else None,
        targets=targets,
    )
