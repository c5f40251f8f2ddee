"""What a worker shows to Prometheus, and tells with its heartbeat."""

from __future__ import annotations

import os
import signal
import socket
import urllib.request
from typing import Any

import psycopg

from tests.acceptance.fleet import Make
from tests.rows import insert, number
from tests.support import eventually

Connection = psycopg.Connection[Any]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def scrape(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_a_worker_shows_what_it_does(make_worker: Make, connection: Connection) -> None:
    """Counts go on when an executor is replaced, and the heartbeat tells the same to the database."""
    port = free_port()
    worker = make_worker(lease=3.0, metrics_port=["127.0.0.1", port])
    insert(connection, "quick", {"value": 1}, count=30)
    insert(connection, "fail", {"times": 1}, count=5, max_retries=0)
    who = f'worker="{number(connection, "SELECT max(id) FROM pgtask.workers")}"'
    completed = f'pgtask_worker_jobs_total{{outcome="completed",{who}}}'
    unsuccessful = f'pgtask_worker_jobs_total{{outcome="unsuccessful",{who}}}'

    eventually(lambda: scrape(port).get(completed) == 30 and scrape(port)[unsuccessful] == 5)
    found = scrape(port)
    assert found[f"pgtask_worker_executors{{{who}}}"] == 1
    assert found[f"pgtask_worker_rss_bytes{{{who}}}"] > 10_000_000
    assert found[f"pgtask_worker_heartbeat_age_seconds{{{who}}}"] >= 0

    [executor] = worker.executors()
    os.kill(executor.pid, signal.SIGKILL)
    insert(connection, "quick", {"value": 1}, count=10)
    eventually(lambda: scrape(port)[completed] == 40)
    eventually(
        lambda: number(connection, "SELECT count(*) FROM pgtask.workers WHERE completed = 40 AND unsuccessful = 5") == 1
    )
    assert number(connection, "SELECT count(*) FROM pgtask.worker_minutes WHERE beats > 0 AND slots >= beats") >= 1
