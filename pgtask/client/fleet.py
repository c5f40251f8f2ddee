"""Workers, tasks and statistics over REST."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pgtask.client.listing import all_of
from pgtask.client.records import overview, record, statistics
from pgtask.client.transport import Transport, path_to
from pgtask.model.errors import WorkerNotFoundError
from pgtask.model.fleet import ENDED_WITHIN, TaskRecord, WorkerJobs, WorkerRecord
from pgtask.model.job import JobRecord
from pgtask.model.overview import Overview
from pgtask.model.rate import Rate
from pgtask.model.statistics import Statistics

_EVER = 1e9
"""Seconds: more than any worker is kept for."""


class FleetCalls:
    """Workers, tasks, and how things stand. See pgtask.model.operations."""

    _transport: Transport

    def list_workers(self, *, ended_within: float | None = ENDED_WITHIN) -> list[WorkerRecord]:
        """Live workers, then those that ended within so many seconds (None: all that are kept)."""
        within = _EVER if ended_within is None else ended_within
        return all_of(self._transport, "/workers", WorkerRecord, ended_within=within)

    def show_worker(self, worker_id: int) -> WorkerJobs:
        """One worker and the jobs that it runs. Raises WorkerNotFoundError."""
        found = self._transport.get(path_to("workers", worker_id))
        return WorkerJobs(record(WorkerRecord, found), [record(JobRecord, job) for job in found["jobs"]])

    def stop_workers(self, worker_ids: Iterable[int]) -> set[int]:
        """Asks workers to shut down; returns those that live."""
        live = set()
        for worker_id in sorted(set(worker_ids)):
            try:
                worker = record(WorkerRecord, self._transport.post(path_to("workers", worker_id, "stop")))
            except WorkerNotFoundError:
                continue
            if worker.dead_at is None:
                live.add(worker_id)
        return live

    def list_tasks(self) -> list[TaskRecord]:
        """All tasks that workers have registered, by name."""
        return all_of(self._transport, "/task-types", TaskRecord)

    def read_task(self, name: str) -> TaskRecord:
        """One task. Raises TaskNotFoundError."""
        return record(TaskRecord, self._transport.get(path_to("task-types", name)))

    def open_circuit(self, name: str, hold: float | None, reason: str | None) -> None:
        """Holds a task's jobs for so many seconds, or (None) until it is closed."""
        given: dict[str, Any] = {"hold": hold, "reason": reason}
        body = {name: value for name, value in given.items() if value is not None}
        self._transport.post(path_to("task-types", name, "open"), body)

    def close_circuit(self, name: str) -> bool:
        """Lets a task's jobs start again; returns whether they could not."""
        before = self.read_task(name)
        self._transport.post(path_to("task-types", name, "close"))
        return before.circuit != "closed"

    def set_rate(self, name: str, rate: Rate | None) -> None:
        """Sets a task's rate by hand, None for no limit."""
        body = {"rate_limit": None} if rate is None else {"rate_limit": str(rate), "rate_burst": rate.burst}
        self._transport.put(path_to("task-types", name, "rate-limit"), body)

    def inherit_rate(self, name: str) -> None:
        """Gives a task the rate again that its code declares."""
        self._transport.delete(path_to("task-types", name, "rate-limit"))

    def read_statistics(self, window: float, queue: str | None = None) -> Statistics:
        """What came of the attempts of the last `window` seconds, of one queue or of all."""
        return statistics(self._transport.get("/stats", {"window": window, "queue": queue}))

    def read_overview(self) -> Overview:
        """How things stand."""
        return overview(self._transport.get("/overview"))
