"""All measurements, by the names that `pgtask bench --only` takes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pgtask.benchmark import (
    api,
    conditions,
    drain,
    enqueue,
    heartbeats,
    latency,
    limits,
    rss,
    slots,
    trigger,
    wal,
)
from pgtask.benchmark.bench import Bench, NotHereError
from pgtask.benchmark.figures import Figure
from pgtask.benchmark.pgbench import Pgbench
from pgtask.benchmark.report import Report
from pgtask.database import measuring, migrations, scratch

MEASUREMENTS: Mapping[str, Callable[[Bench], list[Figure]]] = {
    "drain": drain.measure,
    "enqueue": enqueue.measure,
    "latency": latency.measure,
    "trigger": trigger.measure,
    "burst": conditions.burst,
    "snapshot": conditions.snapshot,
    "queues": conditions.queues,
    "history": conditions.history,
    "backlog": conditions.backlog,
    "held": conditions.held,
    "limits": limits.measure,
    "wal": wal.measure,
    "rss": rss.measure,
    "slots": slots.measure,
    "heartbeats": heartbeats.measure,
    "api": api.measure,
}

JOBS, QUICK_JOBS = 100_000, 5_000
RUNS, QUICK_RUNS = 3, 1


def run(
    url: str,
    names: Sequence[str],
    report: Report,
    on_start: Callable[[str], None],
    say: Callable[[str], None],
) -> None:
    """Measures on a database made for it on the server of `url` and dropped in the end.

    Figures go to `report` as they come, so that an interruption leaves those that are done. `on_start` gets the name of
    each measurement, `say` what is under way in it. Raises PgTaskError.
    """
    pgbench = Pgbench.find()
    with (
        scratch.database(url, f"pgtask_bench_{os.getpid()}") as own,
        tempfile.TemporaryDirectory(prefix="pgtask-bench-") as directory,
    ):
        migrations.migrate(own)
        with measuring.session(own) as connection:
            report.server = measuring.server_settings(connection)
            report.pgbench = None if pgbench is None else pgbench.version
            bench = Bench(
                url=own,
                connection=connection,
                directory=Path(directory),
                pgbench=pgbench,
                runs=report.runs,
                jobs=report.jobs,
                quick=report.quick,
                say=say,
            )
            for name in names:
                on_start(name)
                try:
                    report.figures += MEASUREMENTS[name](bench)
                except NotHereError as reason:
                    report.left_out[name] = str(reason)
