"""trigger: what the wake-up trigger costs busy producers, who insert while no worker is asleep."""

from __future__ import annotations

from pgtask.benchmark import floor
from pgtask.benchmark.bench import Bench, NotHereError
from pgtask.benchmark.figures import Figure, Floor, Target
from pgtask.database import measuring

CLIENTS = 32


def measure(bench: Bench) -> list[Figure]:
    """Single inserts by 32 clients, with the trigger and without it."""
    pgbench = bench.pgbench
    if pgbench is None:
        raise NotHereError("it takes pgbench, and there is none here")
    # So many that the first one in each session, which compiles the trigger, does not count.
    transactions = bench.count(1000, 200)

    def inserts(state: str) -> float:
        bench.empty()
        measuring.execute(bench.connection, f"ALTER TABLE pgtask.jobs {state} TRIGGER jobs_notify")
        try:
            return pgbench.run(bench.url, floor.INSERT_ONE, transactions=transactions, clients=CLIENTS)
        finally:
            measuring.execute(bench.connection, "ALTER TABLE pgtask.jobs ENABLE TRIGGER jobs_notify")

    title = f"{CLIENTS} clients insert, with trigger"
    enabled, disabled = bench.alternate(
        title, ("with it", lambda: inserts("ENABLE")), ("without it", lambda: inserts("DISABLE"))
    )
    bench.empty()
    return [
        Figure(
            name="trigger",
            title=title,
            unit="jobs/s",
            samples=enabled,
            floor=Floor("without the trigger", disabled),
            targets=(Target(0.85),),
        )
    ]
