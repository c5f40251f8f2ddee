"""wal: bytes of WAL and processor time of one job, from enqueue to history."""

from __future__ import annotations

import time

from pgtask.benchmark import processes
from pgtask.benchmark.app import noop
from pgtask.benchmark.bench import Bench
from pgtask.benchmark.figures import Figure, Target
from pgtask.database import measuring
from pgtask.database.measuring import Stretch
from pgtask.engine.app import PgTask
from pgtask.engine.child import WorkerProcess

_BATCH = 1000


def measure(bench: Bench) -> list[Figure]:
    """Per job, enqueued by thousands and done by a worker that was idle before."""
    wal, worker_cpu, server_cpu = [], [], []
    for run in range(bench.runs):
        bench.say(f"WAL and CPU per job: run {run + 1} of {bench.runs}")
        bench.empty()
        bench.settle()
        with PgTask(bench.url) as app, bench.worker() as worker:
            _warm_up(bench, worker)
            written, ours, theirs = _one_run(bench, app, worker)
        wal.append(written / bench.jobs)
        worker_cpu.append(ours / bench.jobs * 1e6)
        if theirs is not None:
            server_cpu.append(theirs / bench.jobs * 1e6)
    figures = [
        Figure(
            name="wal",
            title="WAL per job, enqueue to history",
            unit="B",
            samples=wal,
            targets=(Target(1400, at_most=True, absolute=True),),
        ),
        Figure(name="cpu.worker", title="CPU per job, worker", unit="µs", samples=worker_cpu),
    ]
    if len(server_cpu) == bench.runs:
        figures.append(
            Figure(name="cpu.server", title="CPU per job, server, all in all", unit="µs", samples=server_cpu)
        )
    return figures


def _warm_up(bench: Bench, worker: WorkerProcess) -> None:
    """Has the worker up and its connections used, and what that wrote behind us."""
    bench.await_end(worker, measuring.fill_jobs(bench.connection, "noop", 100))
    time.sleep(0.5)


def _one_run(bench: Bench, app: PgTask, worker: WorkerProcess) -> tuple[int, float, float | None]:
    """Bytes of WAL, and seconds of the worker's and of the server's processors (None: it runs elsewhere)."""
    task = app.task(name=noop.name)(noop.function)
    task.enqueue(n=0).wait(60)
    ours = processes.tree(worker.pid)
    theirs = processes.local_servers(measuring.backends(bench.connection))
    before = measuring.wal_position(bench.connection), processes.cpu_seconds(ours), processes.cpu_seconds(theirs)
    ids: list[int] = []
    for start in range(0, bench.jobs, _BATCH):
        made = task.enqueue_many([{"n": n} for n in range(start, min(start + _BATCH, bench.jobs))])
        ids += (made[0].id, made[-1].id)
    bench.await_end(worker, Stretch(min(ids), max(ids)))
    return (
        measuring.wal_position(bench.connection) - before[0],
        processes.cpu_seconds(ours) - before[1],
        processes.cpu_seconds(theirs) - before[2] if theirs else None,
    )
