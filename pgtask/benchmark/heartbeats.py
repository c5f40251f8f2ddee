"""heartbeats: what a thousand workers cost the database by being alive, as a share of one core.

Their leases are real and renewed at the real rate, each with jobs in hand. They share a few connections: the server
does the same work, but for what more sessions cost by themselves.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle

from pgtask.benchmark import processes
from pgtask.benchmark.bench import Bench, BenchError, NotHereError
from pgtask.benchmark.figures import Figure
from pgtask.database import measuring, ownership
from pgtask.database.connection import LEASE_SETTINGS, STATEMENT_TIMEOUT, Connection

WORKERS = 1000
HELD = 10
_LEASE = 30.0
_UPKEEP_EVERY = 2.5
_CONNECTIONS = 20

Act = Callable[[Connection, int], None]


def measure(bench: Bench) -> list[Figure]:
    """Heartbeats, and what each worker looks after besides."""
    bench.empty()
    held = _register(bench)

    def beat(connection: Connection, id: int) -> None:
        answer = ownership.heartbeat(connection, id, held[id], running=HELD, cpu_percent=1.0, rss_bytes=1)
        if not answer.alive or answer.lost:
            raise BenchError(f"Worker {id} was declared dead or robbed of its jobs.")

    def look_after(connection: Connection, id: int) -> None:
        if ownership.lead(connection, "bench", id, _LEASE):
            ownership.bury_dead(connection, id)
            ownership.died_within(connection, STATEMENT_TIMEOUT + 2 * _UPKEEP_EVERY)

    # Each with what it does, how often, and the settings of its connection.
    kinds: list[tuple[str, float, Act, dict[str, str]]] = [
        ("heartbeats", _LEASE / 3, beat, LEASE_SETTINGS),
        ("upkeep", _UPKEEP_EVERY, look_after, {}),
    ]
    figures = []
    for name, interval, act, settings in kinds:
        samples = []
        for run in range(bench.runs):
            bench.say(f"{name} of {WORKERS:,} workers: run {run + 1} of {bench.runs}")
            for id in held:
                beat(bench.connection, id)
            samples.append(_share(bench, sorted(held), interval, act, settings))
        figures.append(Figure(name=name, title=f"{name} of {WORKERS:,} workers", unit="% of a core", samples=samples))
    for id in held:
        ownership.end_worker(bench.connection, id)
    bench.empty()
    return figures


def _register(bench: Bench) -> dict[int, list[tuple[int, int]]]:
    """A thousand leases, and the jobs that each holds."""
    ids = [
        ownership.register(
            bench.connection,
            name=f"bench-{number}",
            host=socket.gethostname(),
            pid=os.getpid(),
            version="",
            queues=None,
            executors=1,
            slots=HELD,
            lease=_LEASE,
        )
        for number in range(WORKERS)
    ]
    # As if they had lived for long: only such may look after others.
    measuring.execute(bench.connection, "UPDATE pgtask.workers SET live_since = live_since - interval '1 hour'")
    stretch = measuring.fill_jobs(bench.connection, "noop", WORKERS * HELD)
    return measuring.pretend_to_run(bench.connection, ids, stretch)


def _share(bench: Bench, ids: list[int], interval: float, act: Act, settings: dict[str, str]) -> float:
    """Per cent of a core that the server spends on `act` by each worker at each interval, evenly spread over it.

    Raises NotHereError when the server runs on another machine.
    """
    seconds = bench.count(10, 3)
    with ExitStack() as stack:
        connections = [stack.enter_context(measuring.session(bench.url, settings)) for _ in range(_CONNECTIONS)]
        for connection, id in zip(connections, ids, strict=False):
            act(connection, id)
        servers = processes.local_servers(measuring.backends(bench.connection))
        if not servers:
            raise NotHereError("the processor time of the server can be seen only on its own machine")
        before, began = processes.cpu_seconds(servers), time.monotonic()
        turns = cycle(zip(cycle(connections), ids, strict=False))
        for number, (connection, id) in enumerate(turns):
            due = began + number * interval / len(ids)
            time.sleep(max(0.0, due - time.monotonic()))
            if time.monotonic() - began > seconds:
                break
            act(connection, id)
        took = time.monotonic() - began
        return (processes.cpu_seconds(servers) - before) / took * 100
