"""All operations on a connection."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pgtask.database import bulk, dead_letters, editing, enqueuing, fleet, jobs, listing, queues, schedules, tasks
from pgtask.database.administration import DatabaseAdministration
from pgtask.database.connection import Connection
from pgtask.database.overview import OverviewReader
from pgtask.database.statistics import read_statistics
from pgtask.model.answer import Answer
from pgtask.model.dead_letter import DeadLetterCount, DeadLetterFilter, DeadLetterGroup, DeadLetterPage, Position
from pgtask.model.enqueued import EnqueuedByName
from pgtask.model.explanation import Reason
from pgtask.model.fleet import TaskRecord, WorkerJobs, WorkerRecord
from pgtask.model.job import JobRecord
from pgtask.model.job_filter import JobFilter, Sort
from pgtask.model.listing import JobCount, JobDetails, JobPage
from pgtask.model.operations import Act, Operations
from pgtask.model.overview import Overview
from pgtask.model.payload import encode
from pgtask.model.queue import PausedQueue, QueueRecord
from pgtask.model.rate import Rate
from pgtask.model.schedule import PausedSchedule, Schedule, ScheduleRecord, TickRecord
from pgtask.model.statistics import Statistics
from pgtask.model.status import JobStatus

_FIRST_LOOK, _LONGEST_PAUSE = 0.02, 0.5
"""Seconds between looks at an awaited job: they double from the first to the second."""


class DatabaseOperations(DatabaseAdministration):
    """`pgtask.model.operations.Operations` on a connection, in the name of `user`."""

    def __init__(self, connection: Connection, user: str | None) -> None:
        self.connection = connection
        self._user = user
        self._overviews = OverviewReader()

    def enqueue(self, task: str, payload: Mapping[str, Any], **options: Any) -> EnqueuedByName:
        return enqueuing.enqueue_by_name(self.connection, task, encode(payload), **options)

    def may_read_jobs(self) -> bool:
        return jobs.may_read(self.connection)

    def read_job(self, job_id: int) -> JobRecord:
        return jobs.read(self.connection, job_id)

    def await_job(self, job_id: int, timeout: float | None) -> JobRecord:
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_LOOK
        while True:
            job = self.read_job(job_id)
            now = time.monotonic()
            if JobStatus(job.status).final or (deadline is not None and now >= deadline):
                return job
            time.sleep(pause if deadline is None else min(pause, deadline - now))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def list_jobs(
        self,
        wanted: JobFilter,
        *,
        sort: Sort = Sort.NEWEST,
        before: int | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> JobPage:
        return listing.list_jobs(self.connection, wanted, sort=sort, before=before, cursor=cursor, limit=limit)

    def show_job(self, job_id: int) -> JobDetails:
        return listing.show_job(self.connection, job_id)

    def explain_job(self, job_id: int) -> list[Reason]:
        return listing.explain(self.connection, job_id)

    def edit_job(self, job_id: int, changes: Mapping[str, Any]) -> JobRecord:
        return editing.edit_job(self.connection, job_id, dict(changes))

    def run_job_now(self, job_id: int) -> JobRecord:
        return editing.run_job_now(self.connection, job_id)

    def count_jobs(self, wanted: JobFilter) -> JobCount:
        return listing.count_jobs(self.connection, wanted)

    def job_batches(self, wanted: JobFilter, newest: int) -> Iterator[list[int]]:
        return listing.batches(self.connection, wanted, newest)

    def cancel_jobs(self, ids: Sequence[int]) -> list[Answer]:
        return bulk.cancel_jobs(self.connection, ids)

    def retry_jobs(self, ids: Sequence[int]) -> list[Answer]:
        return bulk.retry_jobs(self.connection, ids)

    def delete_jobs(self, ids: Sequence[int]) -> list[Answer]:
        return bulk.delete_jobs(self.connection, ids)

    def list_dead_letters(
        self, wanted: DeadLetterFilter, *, before: Position | None = None, limit: int = 50
    ) -> DeadLetterPage:
        return dead_letters.list_dead_letters(self.connection, wanted, before=before, limit=limit)

    def count_dead_letters(self, wanted: DeadLetterFilter) -> DeadLetterCount:
        return dead_letters.count_dead_letters(self.connection, wanted)

    def dead_letter_batches(self, wanted: DeadLetterFilter, latest: Position) -> Iterator[list[int]]:
        return dead_letters.batches(self.connection, wanted, latest)

    def group_dead_letters(self, wanted: DeadLetterFilter) -> list[DeadLetterGroup]:
        return dead_letters.group_dead_letters(self.connection, wanted)

    def paced_retry(self, rate: Rate) -> Act:
        return partial(bulk.Pace(rate), self.connection)

    def resolve_jobs(self, ids: Sequence[int], note: str | None) -> list[Answer]:
        return dead_letters.resolve_jobs(self.connection, ids, note=note, resolved_by=self._user)

    def unresolve_jobs(self, ids: Sequence[int]) -> list[Answer]:
        return dead_letters.unresolve_jobs(self.connection, ids)

    def delete_dead_letters(self, ids: Sequence[int]) -> list[Answer]:
        return dead_letters.delete_jobs(self.connection, ids)

    def list_queues(self) -> list[QueueRecord]:
        return queues.list_queues(self.connection)

    def known_queues(self) -> list[str]:
        return queues.known_queues(self.connection)

    def read_queue(self, name: str) -> QueueRecord:
        return queues.read_queue(self.connection, name)

    def create_queue(self, name: str, changes: Mapping[str, Any]) -> None:
        queues.create_queue(self.connection, name, changes)

    def set_queue(self, name: str, changes: Mapping[str, Any]) -> None:
        queues.set_queue(self.connection, name, changes)

    def pause_queues(self, names: Iterable[str]) -> list[PausedQueue]:
        return queues.pause_queues(self.connection, names, self._user)

    def resume_queues(self, names: Iterable[str]) -> set[str]:
        return queues.resume_queues(self.connection, names)

    def delete_queue(self, name: str) -> None:
        queues.delete_queue(self.connection, name)

    def list_schedules(self) -> list[ScheduleRecord]:
        return schedules.list_schedules(self.connection)

    def known_schedules(self) -> list[str]:
        return schedules.known_schedules(self.connection)

    def read_schedule(self, name: str) -> ScheduleRecord:
        return schedules.read_schedule(self.connection, name)

    def list_ticks(self, schedule: ScheduleRecord, limit: int) -> list[TickRecord]:
        return schedules.list_ticks(self.connection, schedule.id, limit)

    def create_schedule(self, schedule: Schedule) -> None:
        schedules.create_schedule(self.connection, schedule)

    def set_schedule(self, name: str, changes: Mapping[str, Any]) -> None:
        schedules.set_schedule(self.connection, name, changes)

    def pause_schedules(self, names: Iterable[str]) -> list[PausedSchedule]:
        return schedules.pause_schedules(self.connection, names, self._user)

    def resume_schedules(self, names: Iterable[str]) -> set[str]:
        return schedules.resume_schedules(self.connection, names)

    def run_schedule(self, name: str) -> int:
        return schedules.run_schedule(self.connection, name)

    def delete_schedule(self, name: str) -> None:
        schedules.delete_schedule(self.connection, name)

    def list_workers(self, *, ended_within: float | None) -> list[WorkerRecord]:
        return fleet.list_workers(self.connection, ended_within=ended_within)

    def show_worker(self, worker_id: int) -> WorkerJobs:
        worker = fleet.read_worker(self.connection, worker_id)
        return WorkerJobs(worker, [] if worker.dead_at else listing.running_on(self.connection, worker_id))

    def stop_workers(self, worker_ids: Iterable[int]) -> set[int]:
        return fleet.stop_workers(self.connection, worker_ids)

    def list_tasks(self) -> list[TaskRecord]:
        return fleet.list_tasks(self.connection)

    def read_task(self, name: str) -> TaskRecord:
        return tasks.read_task(self.connection, name)

    def open_circuit(self, name: str, hold: float | None, reason: str | None) -> None:
        tasks.open_circuit(self.connection, name, hold, reason, self._user)

    def close_circuit(self, name: str) -> bool:
        return tasks.close_circuit(self.connection, name, self._user)

    def set_rate(self, name: str, rate: Rate | None) -> None:
        tasks.set_rate(self.connection, name, rate, self._user)

    def inherit_rate(self, name: str) -> None:
        tasks.inherit_rate(self.connection, name)

    def read_statistics(self, window: float, queue: str | None = None) -> Statistics:
        return read_statistics(self.connection, window, queue)

    def read_overview(self) -> Overview:
        return self._overviews.read(self.connection)


if TYPE_CHECKING:

    def _is_complete(operations: DatabaseOperations) -> Operations:
        return operations
