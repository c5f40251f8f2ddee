"""api: enqueueing over HTTP as fast as it goes, and how long requests take at a steady rate beside a long backlog."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext

from pgtask.benchmark import floor
from pgtask.benchmark.bench import Bench
from pgtask.benchmark.figures import Figure, Target
from pgtask.benchmark.http import Client, Server, as_body, server
from pgtask.database import measuring
from pgtask.model.percentile import percentile

CLIENTS, BATCH = 8, 1000
RATE = 50
"""Requests a second of those whose time is taken."""

LOAD = 100
"""Jobs a second that others insert and a worker does meanwhile."""

_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_POST = as_body({"task": "unknown", "payload": {"n": 1, "message": "hello"}})
_BULK = as_body({"task": "unknown", "payloads": [{"n": n} for n in range(BATCH)]})

Request = Callable[[Client], object]


def measure(bench: Bench) -> list[Figure]:
    """POST one and many, then percentiles at a rate."""
    with server(bench) as api:
        bench.empty()
        return [
            _speed(bench, api, "api.post", "POST /jobs", 1, bench.count(5000, 200), Target(1000, absolute=True)),
            _speed(
                bench, api, "api.bulk", "POST /jobs/bulk", BATCH, bench.count(100, 10), Target(20_000, absolute=True)
            ),
            *_paces(bench, api),
        ]


def _speed(bench: Bench, api: Server, name: str, title: str, size: int, requests: int, target: Target) -> Figure:
    path, body = ("/jobs", _POST) if size == 1 else ("/jobs/bulk", _BULK)

    def ours() -> float:
        bench.empty()
        _at_once(api, lambda client: client.send("POST", path, body), 5 * CLIENTS)
        began = time.perf_counter()
        _at_once(api, lambda client: client.send("POST", path, body), requests)
        return size * requests / (time.perf_counter() - began)

    what = title if size == 1 else f"{title}, {size:,} at once"
    (samples,) = bench.alternate(what, ("HTTP", ours))
    bench.empty()
    return Figure(name=name, title=what, unit="jobs/s", samples=samples, targets=(target,))


def _at_once(api: Server, request: Request, times: int) -> None:
    """So many requests by all clients together, each sending its next when it has its answer."""

    def work(share: int) -> None:
        with closing(api.connect()) as client:
            for _ in range(share):
                request(client)

    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(work, times // CLIENTS) for _ in range(CLIENTS)]:
            done.result()


def _paces(bench: Bench, api: Server) -> list[Figure]:
    bench.empty()
    measuring.fill_history(bench.connection, "noop", bench.many)
    stretch = bench.fill("unknown", 2 * bench.jobs)
    kinds: list[tuple[str, str, Request, float]] = [
        ("post", "POST /jobs", lambda client: client.send("POST", "/jobs", _POST), 20),
        ("detail", "GET /jobs/ID", lambda client: client.send("GET", f"/jobs/{stretch.first}"), 20),
        ("list", "GET /jobs?task=", lambda client: client.send("GET", "/jobs?task=unknown&status=pending"), 100),
    ]
    title = f"at {RATE}/s, {2 * bench.jobs:,} waiting, {bench.many:,} ended"
    figures = []
    with bench.worker() as worker:
        bench.await_end(worker, measuring.fill_jobs(bench.connection, "noop", 1))
        for name, what, request, bound in kinds:
            runs: list[list[float]] = []
            for run in range(bench.runs):
                bench.say(f"{what} {title}: run {run + 1} of {bench.runs}")
                with _load(bench):
                    runs.append(_times(api, request, bench.count(500, 50)))
            figures += _percentiles(f"api.{name}", f"{what} {title}", runs, bound)
    bench.empty()
    return figures


def _load(bench: Bench) -> AbstractContextManager[None]:
    if bench.pgbench is None:
        return nullcontext()
    return bench.pgbench.load(bench.url, floor.INSERT_ONE, rate=LOAD)


def _times(api: Server, request: Request, count: int) -> list[float]:
    """Seconds from when each request was to be sent to its answer, so that what waits for another counts as waiting."""
    clients = [api.connect() for _ in range(CLIENTS)]
    began = time.perf_counter() + 0.1

    def work(number: int) -> list[float]:
        times = []
        for position in range(number, count, CLIENTS):
            due = began + position / RATE
            time.sleep(max(0.0, due - time.perf_counter()))
            request(clients[number])
            times.append(time.perf_counter() - due)
        return times

    try:
        for client in clients:
            request(client)
        with ThreadPoolExecutor(CLIENTS) as pool:
            return [seconds for times in pool.map(work, range(CLIENTS)) for seconds in times]
    finally:
        for client in clients:
            client.close()


def _percentiles(name: str, title: str, runs: Sequence[list[float]], bound: float) -> list[Figure]:
    return [
        Figure(
            name=f"{name}.{word}",
            title=f"{title}, {word}",
            unit="ms",
            samples=[percentile(times, share) * 1000 for times in runs],
            targets=(Target(bound, at_most=True, absolute=True),) if word == "p95" else (),
        )
        for word, share in _SHARES.items()
    ]
