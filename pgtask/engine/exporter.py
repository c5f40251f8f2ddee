"""A worker's own metrics for Prometheus, from what the supervisor knows without asking the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pgtask.engine.heartbeat import Heartbeat
from pgtask.engine.team import Team
from pgtask.model.errors import ConfigurationError
from pgtask.model.place import Place

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class Exporter:
    """Answers scrapes until closed."""

    def __init__(self, server: Any = None, thread: threading.Thread | None = None) -> None:
        """`server` None answers nobody."""
        self._server = server
        self._thread = thread

    @classmethod
    def opened(cls, place: Place | None, worker_id: int, team: Team, heartbeat: Heartbeat) -> Exporter:
        """Answers at an address and port, None for nowhere. Raises ConfigurationError where that is impossible."""
        if place is None:
            return cls()
        from prometheus_client import CollectorRegistry, start_http_server

        registry = CollectorRegistry()
        registry.register(_Collector(worker_id, team, heartbeat))
        try:
            return cls(*start_http_server(place.port, place.host, registry))
        except OSError as error:
            raise ConfigurationError(f"Cannot show metrics at {place} ({error.strerror or error}).") from error

    def close(self) -> None:
        """Answers no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Collector:
    def __init__(self, worker_id: int, team: Team, heartbeat: Heartbeat) -> None:
        self._who = [str(worker_id)]
        self._team = team
        self._heartbeat = heartbeat
        self._began = time.monotonic()

    def collect(self) -> Iterator[Metric]:
        """The metrics as they stand."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        team, heartbeat = self._team, self._heartbeat
        counts, marks, now = team.counts(), team.held(), time.monotonic()
        jobs = CounterMetricFamily("pgtask_worker_jobs", "Attempts that ended here.", labels=["worker", "outcome"])
        jobs.add_metric([*self._who, "completed"], counts.completed)
        jobs.add_metric([*self._who, "unsuccessful"], counts.unsuccessful)
        yield jobs
        cpu, rss = heartbeat.usage
        gauges = {
            "pgtask_worker_running": ("Jobs that run here.", sum(mark.running for mark in marks)),
            "pgtask_worker_held": ("Jobs that were claimed and have not ended.", len(marks)),
            "pgtask_worker_executors": ("Processes that run jobs.", len(team.executors)),
            "pgtask_worker_slots": ("Jobs that run at once, at most.", sum(e.load.slots for e in list(team.executors))),
            "pgtask_worker_quiet": ("Whether it takes no more jobs.", float(team.is_quiet)),
            "pgtask_worker_cpu_percent": ("Percent of one core that it uses.", cpu),
            "pgtask_worker_rss_bytes": ("Memory of all its processes.", rss),
            "pgtask_worker_uptime_seconds": ("How long it has been up.", now - self._began),
        }
        if heartbeat.beaten_at is not None:
            age = now - heartbeat.beaten_at
            gauges["pgtask_worker_heartbeat_age_seconds"] = ("Since the database last answered a heartbeat.", age)
        for name, (words, value) in gauges.items():
            gauge = GaugeMetricFamily(name, words, labels=["worker"])
            gauge.add_metric(self._who, value)
            yield gauge
