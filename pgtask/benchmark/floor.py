"""The floor: our own statements run by pgbench, without a worker."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from pgtask.benchmark.bench import Bench
from pgtask.database import measuring, ownership, statements
from pgtask.engine.prefetch import MAX_CLAIM

INSERT_ONE = "INSERT INTO pgtask.jobs (task, payload) VALUES ('noop', '{\"n\": 1}');\n"
INSERT_MANY = (
    "INSERT INTO pgtask.jobs (task, payload) "
    "SELECT 'noop', jsonb_build_object('n', n) FROM generate_series(1, :count) AS n;\n"
)
_LEASE = 3600.0

# What one claim hands to the completion after it, and to the next claim.
_HANDED_ON = """
SELECT array_agg(id ORDER BY id) AS ids, array_agg(attempt ORDER BY id) AS attempts, array_agg(0.0) AS ages,
       ARRAY[max(scheduled_at)] AS after_times, ARRAY[max(id)] AS after_ids
  FROM claimed
"""


def drain(bench: Bench, clients: int) -> float:
    """Jobs a second that our claim and our completion do with so many clients, in batches like an executor's."""
    assert bench.pgbench is not None
    batch = min(MAX_CLAIM, bench.jobs // clients)
    rounds = bench.jobs // clients // batch
    bench.empty()
    stretch = bench.fill("noop", rounds * clients * batch)
    script = _claim_script() + _completion_script()
    with lease(bench) as worker_id:
        variables = {
            "queues": "{default}",
            "priorities": "{1}",
            "after_times": "{1970-01-01}",
            "after_ids": "{0}",
            "tasks": "{noop}",
            "limit": batch,
            "worker_id": worker_id,
            "executor": 1,
        }
        rate = bench.pgbench.run(bench.url, script, transactions=rounds, clients=clients, variables=variables)
    done = measuring.completed(bench.connection, stretch)
    assert done.completed == stretch.size, "the floor must do all the work"
    return rate * batch


@contextmanager
def lease(bench: Bench) -> Iterator[int]:
    """A worker's id with a live lease, without which nothing can be claimed."""
    worker_id = ownership.register(
        bench.connection,
        name="floor",
        host=socket.gethostname(),
        pid=os.getpid(),
        version="",
        queues=None,
        executors=1,
        slots=1,
        lease=_LEASE,
    )
    yield worker_id
    ownership.end_worker(bench.connection, worker_id)


def _claim_script() -> str:
    return f"WITH claimed AS (\n{_as_script('claim_jobs')}\n){_HANDED_ON.rstrip()} \\gset\n"


def _completion_script() -> str:
    script = _as_script("complete_jobs")
    for name, value in (("started", ":ages"), ("ended", ":ages"), ("results", "NULL")):
        script = re.sub(rf":{name}\b", value, script)
    return script + ";\n"


def _as_script(name: str) -> str:
    """One of our statements with pgbench's variables in the place of the driver's placeholders."""
    text = re.sub(r"--.*", "", statements.load(name).decode())
    return re.sub(r"%\((\w+)\)s", r":\1", text).strip().rstrip(";")
