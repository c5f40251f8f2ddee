"""drain: how fast a worker does jobs that do nothing, with full history, on a table filled before."""

from __future__ import annotations

from pgtask.benchmark import floor
from pgtask.benchmark.app import COROUTINES, PLAIN
from pgtask.benchmark.bench import Bench, Side
from pgtask.benchmark.figures import Figure, Floor, Target

_FULL_SPEED = 40_000
"""Jobs a second that one executor should reach on a quiet machine; asked only of full sizes."""

_ISOLATED = 1_000


def measure(bench: Bench) -> list[Figure]:
    """A process for each job, threads with one executor and with two, coroutines with one."""
    absolute = () if bench.quick else (Target(_FULL_SPEED, absolute=True),)
    return [
        _measure_isolated(bench),
        _measure(bench, "threads_1", "def handlers, 1 executor", PLAIN, 1, (Target(0.6), *absolute)),
        _measure(bench, "threads_2", "def handlers, 2 executors", PLAIN, 2, (Target(0.6),)),
        _measure(bench, "coroutines_1", "coroutines, 1 executor", COROUTINES, 1, (Target(0.45),)),
    ]


def base(bench: Bench, app: str = PLAIN, executors: int = 1, queues: int = 1) -> float:
    """Jobs a second of one drain, from an otherwise empty database."""
    bench.empty()
    stretch = bench.fill("noop", bench.jobs, queues)
    return bench.drain(stretch, app=app, executors=executors).rate


def _measure_isolated(bench: Bench) -> Figure:
    def ours() -> float:
        bench.empty()
        stretch = bench.fill("noop", bench.jobs // 5)
        return bench.drain(stretch, executors=2, isolation="process").rate

    title = "drain, one job at a time in each of 2 executors"
    (samples,) = bench.alternate(title, ("worker", ours))
    targets = () if bench.quick else (Target(_ISOLATED, absolute=True),)
    return Figure(name="drain.isolated_2", title=title, unit="jobs/s", samples=samples, targets=targets)


def _measure(bench: Bench, name: str, title: str, app: str, executors: int, targets: tuple[Target, ...]) -> Figure:
    sides: list[tuple[str, Side]] = [("worker", lambda: base(bench, app, executors))]
    if bench.pgbench is not None:
        sides.append(("floor", lambda: floor.drain(bench, executors)))
    samples, *others = bench.alternate(f"drain, {title}", *sides)
    return Figure(
        name=f"drain.{name}",
        title=f"drain, {title}",
        unit="jobs/s",
        samples=samples,
        floor=Floor("claim and complete by pgbench", others[0]) if others else None,
        targets=targets,
    )
