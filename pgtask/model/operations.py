"""What can be done with jobs, queues, schedules, workers and the rest, whichever way leads to them.

`pgtask.database.operations` does it on a connection, `pgtask.client` over REST. Commands know neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from pgtask.model.administration import Administration
from pgtask.model.answer import Answer
from pgtask.model.dead_letter import DeadLetterCount, DeadLetterFilter, DeadLetterGroup, DeadLetterPage, Position
from pgtask.model.enqueued import EnqueuedByName
from pgtask.model.explanation import Reason
from pgtask.model.fleet import TaskRecord, WorkerJobs, WorkerRecord
from pgtask.model.job import JobRecord
from pgtask.model.job_filter import JobFilter, Sort
from pgtask.model.listing import JobCount, JobDetails, JobPage
from pgtask.model.overview import Overview
from pgtask.model.queue import PausedQueue, QueueRecord
from pgtask.model.rate import Rate
from pgtask.model.schedule import PausedSchedule, Schedule, ScheduleRecord, TickRecord
from pgtask.model.statistics import Statistics

Act = Callable[[Sequence[int]], list[Answer]]
"""Does something to the jobs with these ids, each answered for itself, in their order."""

MOST_IDS = 1000
"""Ids that one call takes at most over REST."""


class JobOperations(Protocol):
    """Enqueueing, finding and changing jobs."""

    def enqueue(
        self,
        task: str,
        payload: Mapping[str, Any],
        *,
        queue: str | None = None,
        priority: int | None = None,
        delay: float | None = None,
        scheduled_at: datetime | None = None,
        unique_key: str | None = None,
        max_retries: int | None = None,
        timeout: float | None = None,
        tags: tuple[str, ...] = (),
        unique_by: tuple[str, ...] | None = None,
        unique_scope: str | None = None,
        unique_window: float | None = None,
        on_conflict: str | None = None,
        max_wait: float | None = None,
        concurrency_key: str | None = None,
        expires: float | None = None,
    ) -> EnqueuedByName:
        """Enqueues a job; what is None comes from its task. Durations are seconds.

        Raises PayloadError, QueueFull, and UniqueConflictError where `on_conflict` is "error".
        """

    def may_read_jobs(self) -> bool:
        """Whether the caller may read jobs; one who only enqueues may not."""

    def read_job(self, job_id: int) -> JobRecord:
        """One job. Raises JobNotFoundError."""

    def await_job(self, job_id: int, timeout: float | None) -> JobRecord:
        """The job when it has ended, or as it is after `timeout` seconds. Raises JobNotFoundError."""

    def list_jobs(
        self,
        wanted: JobFilter,
        *,
        sort: Sort = Sort.NEWEST,
        before: int | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> JobPage:
        """The first `limit` jobs that match: after a cursor or, newest first, of those with ids below `before`."""

    def show_job(self, job_id: int) -> JobDetails:
        """All there is about a job. Raises JobNotFoundError."""

    def explain_job(self, job_id: int) -> list[Reason]:
        """Why a job waits, runs or has ended as it did; never empty, whatever the id."""

    def edit_job(self, job_id: int, changes: Mapping[str, Any]) -> JobRecord:
        """Changes a job that waits; `payload` is the text of a JSON object. Raises JobNotFoundError, JobStateError."""

    def run_job_now(self, job_id: int) -> JobRecord:
        """Makes a job that waits due now. Raises JobNotFoundError, JobStateError."""

    def count_jobs(self, wanted: JobFilter) -> JobCount:
        """How many jobs match, as far as they are counted."""

    def job_batches(self, wanted: JobFilter, newest: int) -> Iterator[list[int]]:
        """The ids of the jobs that match, newest first from `newest` on, batch by batch."""

    def cancel_jobs(self, ids: Sequence[int]) -> list[Answer]:
        """Cancels jobs: `cancelled`, `requested` (it runs and was asked to stop), or the final status it had."""

    def retry_jobs(self, ids: Sequence[int]) -> list[Answer]:
        """Puts ended jobs back: `pending`; `completed`, `active` or `held` where it could not."""

    def delete_jobs(self, ids: Sequence[int]) -> list[Answer]:
        """Deletes jobs with their runs and logs: `deleted`, or `running` for one that was left alone."""


class DeadLetterOperations(Protocol):
    """Jobs that failed for good."""

    def list_dead_letters(
        self, wanted: DeadLetterFilter, *, before: Position | None = None, limit: int = 50
    ) -> DeadLetterPage:
        """The `limit` dead letters that match and failed last, of those before a position."""

    def count_dead_letters(self, wanted: DeadLetterFilter) -> DeadLetterCount:
        """How many dead letters match, as far as they are counted."""

    def dead_letter_batches(self, wanted: DeadLetterFilter, latest: Position) -> Iterator[list[int]]:
        """The ids of the dead letters that match, from the oldest to `latest`, batch by batch."""

    def group_dead_letters(self, wanted: DeadLetterFilter) -> list[DeadLetterGroup]:
        """The dead letters that match by task and type of error, most first."""

    def paced_retry(self, rate: Rate) -> Act:
        """A `retry_jobs` whose jobs, in however many calls they come, become due one by one at a rate."""

    def resolve_jobs(self, ids: Sequence[int], note: str | None) -> list[Answer]:
        """Marks dead letters as dealt with: `resolved`; `completed`, `cancelled` or `active` for one that is none."""

    def unresolve_jobs(self, ids: Sequence[int]) -> list[Answer]:
        """Takes resolutions back: `unresolved`, or the status of a job that has none."""

    def delete_dead_letters(self, ids: Sequence[int]) -> list[Answer]:
        """Deletes dead letters: `deleted`; `completed`, `cancelled` or `active` for one that is none."""


class QueueOperations(Protocol):
    """Queues: their settings, pausing them."""

    def list_queues(self) -> list[QueueRecord]:
        """All queues, by priority and name."""

    def known_queues(self) -> list[str]:
        """The names of all queues."""

    def read_queue(self, name: str) -> QueueRecord:
        """One queue. Raises QueueNotFoundError."""

    def create_queue(self, name: str, changes: Mapping[str, Any]) -> None:
        """Stores a queue. Raises QueueStateError when it exists, ConfigurationError for a value that cannot be."""

    def set_queue(self, name: str, changes: Mapping[str, Any]) -> None:
        """Changes settings of a queue; None means inherit or no limit, and `rate_limit` is a Rate.

        Raises QueueNotFoundError, ConfigurationError.
        """

    def pause_queues(self, names: Iterable[str]) -> list[PausedQueue]:
        """Pauses queues. Raises QueueNotFoundError."""

    def resume_queues(self, names: Iterable[str]) -> set[str]:
        """Resumes queues and returns those that were paused. Raises QueueNotFoundError."""

    def delete_queue(self, name: str) -> None:
        """Deletes what is stored of a queue. Raises QueueNotFoundError, QueueStateError."""


class ScheduleOperations(Protocol):
    """Recurring jobs."""

    def list_schedules(self) -> list[ScheduleRecord]:
        """All schedules, by name."""

    def known_schedules(self) -> list[str]:
        """The names of all schedules."""

    def read_schedule(self, name: str) -> ScheduleRecord:
        """One schedule. Raises ScheduleNotFoundError."""

    def list_ticks(self, schedule: ScheduleRecord, limit: int) -> list[TickRecord]:
        """The latest ticks of a schedule, newest first."""

    def create_schedule(self, schedule: Schedule) -> None:
        """Makes a schedule. Raises ScheduleError, ScheduleStateError when its name is taken."""

    def set_schedule(self, name: str, changes: Mapping[str, Any]) -> None:
        """Changes fields of a schedule, None meaning inherit. Raises ScheduleNotFoundError, ScheduleError."""

    def pause_schedules(self, names: Iterable[str]) -> list[PausedSchedule]:
        """Pauses schedules. Raises ScheduleNotFoundError."""

    def resume_schedules(self, names: Iterable[str]) -> set[str]:
        """Resumes schedules and returns those that were paused. Raises ScheduleNotFoundError."""

    def run_schedule(self, name: str) -> int:
        """Enqueues a job of a schedule now and returns its id. Raises ScheduleNotFoundError."""

    def delete_schedule(self, name: str) -> None:
        """Deletes a schedule. Raises ScheduleNotFoundError, ScheduleStateError while code declares it."""


class FleetOperations(Protocol):
    """Workers, tasks, and how things stand."""

    def list_workers(self, *, ended_within: float | None) -> list[WorkerRecord]:
        """Live workers, then those that ended within so many seconds (None: all that are kept)."""

    def show_worker(self, worker_id: int) -> WorkerJobs:
        """One worker and the jobs that it runs. Raises WorkerNotFoundError."""

    def stop_workers(self, worker_ids: Iterable[int]) -> set[int]:
        """Asks workers to shut down; returns those that live."""

    def list_tasks(self) -> list[TaskRecord]:
        """All tasks that workers have registered, by name."""

    def read_task(self, name: str) -> TaskRecord:
        """One task. Raises TaskNotFoundError."""

    def open_circuit(self, name: str, hold: float | None, reason: str | None) -> None:
        """Holds a task's jobs for so many seconds, or (None) until it is closed. Raises TaskNotFoundError."""

    def close_circuit(self, name: str) -> bool:
        """Lets a task's jobs start again; returns whether they could not. Raises TaskNotFoundError."""

    def set_rate(self, name: str, rate: Rate | None) -> None:
        """Sets a task's rate by hand, None for no limit. Raises TaskNotFoundError."""

    def inherit_rate(self, name: str) -> None:
        """Gives a task the rate again that its code declares. Raises TaskNotFoundError."""

    def read_statistics(self, window: float, queue: str | None = None) -> Statistics:
        """What came of the attempts of the last `window` seconds, of one queue or of all."""

    def read_overview(self) -> Overview:
        """How things stand."""


class Operations(
    JobOperations,
    DeadLetterOperations,
    QueueOperations,
    ScheduleOperations,
    FleetOperations,
    Administration,
    Protocol,
):
    """All of it."""
