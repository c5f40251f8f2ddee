"""Outside the API: /health, /ready and /metrics, for whatever keeps the server running and watches it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator

from flask import Flask, Response, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import GaugeMetricFamily, Metric

from pgtask.database import metering
from pgtask.database.pool import Pool
from pgtask.database.readiness import conditions
from pgtask.database.reading import in_words_of
from pgtask.model.metrics import Measured
from pgtask.model.token import Scope
from pgtask.observability.prometheus import metrics_of
from pgtask.version import __version__

from .problems import RETRY_AFTER
from .requests import asked, require_all_queues

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder in which the server's processes share what they count; prometheus-client's own variable."""
STARTED_AT = "PGTASK_SERVER_STARTED_AT"
"""Seconds since the epoch when the first process of this server began."""

FRESH = 1.0
"""Seconds that a reading of the database serves those who ask meanwhile."""

# Whatever else clients come up with counts as one: each value of a label is a series for ever.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Probes:
    """Answers them, and counts requests."""

    def __init__(self, app: Flask, pool: Pool, *, open_metrics: bool = False) -> None:
        """Adds the routes; `pool` leads to the database. Metrics are for holders of a token, unless they are open."""
        self._pool = pool
        self._lock = threading.Lock()
        self._measured: tuple[float, Measured] | None = None
        self._began = float(os.environ.get(STARTED_AT, time.time()))
        self._counted = CollectorRegistry()
        labels = ("method", "route", "status")
        registry = None if MULTIPROCESS in os.environ else self._counted
        self._requests = Counter("pgtask_http_requests", "Requests answered.", labels, registry=registry)
        self._latency = Histogram(
            "pgtask_http_request_duration_seconds",
            "Time taken.",
            labels[:2],
            registry=registry,
            buckets=_BUCKETS,
        )
        if registry is None:
            multiprocess.MultiProcessCollector(self._counted)  # type: ignore[no-untyped-call]
        app.add_url_rule("/health", "health", self.health, methods=["GET"])
        app.add_url_rule("/ready", "ready", self.ready, methods=["GET"])
        app.add_url_rule("/metrics", "metrics", self.metrics, methods=["GET"])
        app.config["PGTASK_OPEN"] |= {"health", "ready", *(("metrics",) if open_metrics else ())}
        app.config["PGTASK_SCOPES"]["metrics"] = Scope.READ
        app.extensions["pgtask.probes"] = self

    def observe(self, status: int, seconds: float) -> None:
        """Counts the request at hand."""
        route = request.url_rule.rule if request.url_rule else "none"
        method = request.method if request.method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._latency.labels(method, route).observe(seconds)

    def health(self) -> Response:
        """Whether this process answers; never asks the database."""
        return _json({"status": "ok", "version": __version__}, 200)

    def ready(self) -> Response:
        """Whether requests can be served, and if not, why."""
        found = conditions(self._pool)
        fine = all(condition.detail is None for condition in found)
        content = {
            "status": "ready" if fine else "not ready",
            "checks": [{"name": name, "ok": detail is None, "detail": detail} for name, detail in found],
        }
        response = _json(content, 200 if fine else 503)
        if not fine:
            response.headers["Retry-After"] = str(RETRY_AFTER)
        return response

    def metrics(self) -> Response:
        """All metrics, as text for Prometheus. They name all queues."""
        if asked().principal is not None:
            require_all_queues()
        registry = CollectorRegistry()
        registry.register(_Reading(self._measure(), time.time() - self._began))
        return Response(generate_latest(registry) + generate_latest(self._counted), content_type=CONTENT_TYPE_LATEST)

    def forget(self) -> None:
        """Reads the database anew for whoever asks next."""
        with self._lock:
            self._measured = None

    def _measure(self) -> Measured:
        # One at a time: who comes meanwhile gets the same reading.
        with self._lock:
            if self._measured is None or time.monotonic() - self._measured[0] > FRESH:
                with self._pool.connection() as connection, in_words_of(self._pool.url):
                    self._measured = (time.monotonic(), metering.measure(connection))
            return self._measured[1]


class _Reading:
    """A collector of what was read just now."""

    def __init__(self, measured: Measured, uptime: float) -> None:
        self._measured = measured
        self._uptime = uptime

    def collect(self) -> Iterator[Metric]:
        yield from metrics_of(self._measured)
        yield GaugeMetricFamily("pgtask_system_uptime_seconds", "How long this server has been up.", self._uptime)


def _json(content: object, status: int) -> Response:
    return Response(json.dumps(content), status, content_type="application/json")
