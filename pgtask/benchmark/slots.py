"""slots: a thousand jobs that wait for a second, on a thousand slots of one executor; at best that takes a second."""

from __future__ import annotations

from pgtask.benchmark.app import COROUTINES, PLAIN
from pgtask.benchmark.bench import Bench
from pgtask.benchmark.figures import Figure, Floor

SLOTS = 1000


def measure(bench: Bench) -> list[Figure]:
    """In threads and as coroutines."""
    return [
        _measure(bench, "threads", "1 s waits on 1,000 threads", PLAIN),
        _measure(bench, "coroutines", "1 s waits as 1,000 coroutines", COROUTINES),
    ]


def _measure(bench: Bench, name: str, title: str, app: str) -> Figure:
    def once() -> float:
        bench.empty()
        return bench.drain(bench.fill("nap", SLOTS), app=app, slots=SLOTS).rate

    (samples,) = bench.alternate(title, ("worker", once))
    return Figure(
        name=f"slots.{name}",
        title=title,
        unit="jobs/s",
        samples=samples,
        floor=Floor("all at once", [float(SLOTS)] * len(samples)),
    )
