"""Inline mode: enqueue runs the handler at once, in the caller's thread and without a database.

What holds jobs back in a fleet is none of its business: limits, rates, circuits and retry budgets are ignored.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

from pgtask.engine.app import PgTask
from pgtask.engine.attempt import Attempt
from pgtask.engine.handler import Handlers
from pgtask.engine.job import Job
from pgtask.model.errors import JobNotFoundError, JobStateError, PayloadError
from pgtask.model.job import JobRecord, NewJob
from pgtask.model.payload import decode_many
from pgtask.model.run import LogLine
from pgtask.model.status import JobStatus
from pgtask.testing import attempts, policy
from pgtask.testing.attempts import Ran, ran_of

# The default of the setting max_payload_bytes.
_MAX_PAYLOAD = 1024 * 1024
_REPLACED = (
    "enqueue_encoded",
    "enqueue_many_encoded",
    "enqueue_encoded_async",
    "job",
    "read_job",
    "cancel_job",
    "retry_job",
)

_active: WeakKeyDictionary[PgTask, Inline] = WeakKeyDictionary()


@contextmanager
def inline(app: PgTask) -> Iterator[Inline]:
    """Inline mode for the tasks of an application while the block runs."""
    mode = Inline(app)
    before = _active.get(app)
    shadowed = {name: vars(app)[name] for name in _REPLACED if name in vars(app)}
    for name in _REPLACED:
        setattr(app, name, getattr(mode, name))
    _active[app] = mode
    try:
        yield mode
    finally:
        for name in _REPLACED:
            delattr(app, name)
        vars(app).update(shadowed)
        del _active[app]
        if before is not None:
            _active[app] = before


def active(app: Any) -> Inline | None:
    """The inline mode that an application is in, None when it enqueues into a database."""
    return _active.get(app)


class Inline:
    """The jobs of an application in inline mode, and the attempts that were run.

    A job that is due runs inside the enqueuing call. One with a delay, one to be retried and one that snoozed waits,
    visible in `jobs`, until `run_waiting`. Signatures, encoding, verdicts and errors are judged as by a worker.
    Timeouts, isolation and queue settings are not applied, nor does a job belong to a transaction
    (`options(connection=…)`).
    """

    def __init__(self, app: PgTask) -> None:
        self.app = app
        self.ran: list[Ran] = []
        self.logs: defaultdict[int, list[LogLine]] = defaultdict(list)
        self._jobs: dict[int, JobRecord] = {}
        self._payloads: dict[int, str] = {}
        self._running: dict[int, Attempt] = {}
        self._ids = itertools.count(1)

    @property
    def jobs(self) -> list[JobRecord]:
        """All jobs as they stand, in the order in which they were enqueued."""
        return list(self._jobs.values())

    @property
    def waiting(self) -> list[JobRecord]:
        """The jobs that have not ended: delayed, snoozed or to be retried."""
        return [job for job in self._jobs.values() if not JobStatus(job.status).final and job.id not in self._running]

    def run_waiting(self) -> list[Ran]:
        """Runs the next attempt of each waiting job, due or not, the earliest first; returns what ran."""
        begun = len(self.ran)
        for job in sorted(self.waiting, key=lambda job: (job.scheduled_at, job.id)):
            # One before it may have cancelled it.
            if not JobStatus(self._jobs[job.id].status).final:
                self._run(job.id)
        return self.ran[begun:]

    # What stands in for the application's own

    def enqueue_encoded(self, job: NewJob, payload: str, connection: Any = None) -> Job:  # noqa: ARG002
        """Makes the job and runs it if it is due."""
        id, created = self._insert(job, payload)
        if created and self._due(id):
            self._run(id)
        return _InlineJob(self.app, id, created=created)

    def enqueue_many_encoded(self, job: NewJob, payloads: list[str], connection: Any = None) -> list[Job]:  # noqa: ARG002
        """Makes all the jobs, then runs them in order if they are due."""
        ids = [self._insert(job, payload)[0] for payload in payloads]
        for id in ids:
            if self._due(id):
                self._run(id)
        return [_InlineJob(self.app, id) for id in ids]

    async def enqueue_encoded_async(self, job: NewJob, payload: str, connection: Any = None) -> Job:  # noqa: ARG002
        """`enqueue_encoded` in the running event loop."""
        id, created = self._insert(job, payload)
        if created and self._due(id):
            attempt = self._begin(id)
            try:
                await attempts.run_async(self.app.tasks[attempt.task], self._handlers(), attempt)
            finally:
                self._end(id, attempt)
        return _InlineJob(self.app, id, created=created)

    def job(self, id: int) -> Job:
        """The job with this id. Raises JobNotFoundError."""
        return _InlineJob(self.app, id).refresh()

    def read_job(self, id: int) -> JobRecord:
        """The job as it stands. Raises JobNotFoundError."""
        if id not in self._jobs:
            raise JobNotFoundError(id)
        return self._jobs[id]

    def cancel_job(self, id: int) -> str:
        """As `Job.cancel`."""
        job = self.read_job(id)
        if JobStatus(job.status).final:
            return job.status
        if id in self._running:
            self._running[id].cancelled = True
            self._jobs[id] = replace(job, cancel_requested_at=_now())
            return "requested"
        self._jobs[id] = replace(job, status="cancelled", outcome="cancelled", finished_at=_now())
        return "cancelled"

    def retry_job(self, id: int) -> None:
        """As `Job.retry`; the job then runs at once."""
        job = self.read_job(id)
        if job.status == JobStatus.COMPLETED:
            raise JobStateError(f"Job {id} is completed. To run it again, enqueue a new job.")
        if not JobStatus(job.status).final:
            raise JobStateError(f"Job {id} has not ended, so there is nothing to retry.")
        holder = self._holder(job.unique_key)
        if holder is not None:
            raise JobStateError(f"job {id} cannot be retried: job {holder} holds its unique key {job.unique_key}")
        self._jobs[id] = replace(
            job,
            status="pending",
            retry_count=0,
            crash_count=0,
            outcome=None,
            finished_at=None,
            cancel_requested_at=None,
        )
        self._run(id)

    # How a job goes through it

    def _insert(self, job: NewJob, payload: str) -> tuple[int, bool]:
        if len(payload) > _MAX_PAYLOAD:
            raise PayloadError(
                f"The payload has {len(payload)} bytes; the limit is {_MAX_PAYLOAD} (setting max_payload_bytes). "
                "Store the data elsewhere and pass a reference to it."
            )
        holder = self._holder(job.unique_key)
        if holder is not None:
            return holder, False
        id, now = next(self._ids), _now()
        due = job.scheduled_at or now + timedelta(seconds=job.delay or 0)
        values: dict[str, Any] = dict.fromkeys(field.name for field in fields(JobRecord))
        values |= {name: value for name, value in asdict(job).items() if name in values}
        values |= {
            "id": id,
            "payload": decode_many([payload])[0],
            "status": "scheduled" if due > now else "pending",
            "attempt": 0,
            "retry_count": 0,
            "crash_count": 0,
            "tags": list(job.tags) or None,
            "created_at": now,
            "scheduled_at": due,
        }
        self._jobs[id] = JobRecord(**values)
        self._payloads[id] = payload
        return id, True

    def _holder(self, unique_key: str | None) -> int | None:
        live = (job for job in self._jobs.values() if not JobStatus(job.status).final)
        return next((job.id for job in live if unique_key is not None and job.unique_key == unique_key), None)

    def _due(self, id: int) -> bool:
        return self._jobs[id].scheduled_at <= _now() and not JobStatus(self._jobs[id].status).final

    def _handlers(self) -> Handlers:
        return attempts.handlers_of(self.app.tasks, self._on_progress, self._on_log)

    def _run(self, id: int) -> None:
        attempt = self._begin(id)
        try:
            attempts.run(self.app.tasks[attempt.task], self._handlers(), attempt)
        finally:
            self._end(id, attempt)

    def _begin(self, id: int) -> Attempt:
        now = _now()
        job = replace(self._jobs[id], status="running", attempt=self._jobs[id].attempt + 1, started_at=now)
        self._jobs[id] = job
        # Each attempt gets a payload of its own, whatever the one before did to it.
        payload = decode_many([self._payloads[id]])[0]
        timeout = job.timeout or self.app.tasks[job.task].defaults.timeout
        attempt = Attempt(
            id, job.attempt, job.task, job.queue, job.priority, payload, timeout, job.retry_count, time.monotonic()
        )
        self._running[id] = attempt
        return attempt

    def _end(self, id: int, attempt: Attempt) -> None:
        del self._running[id]
        job, task, now = self._jobs[id], self.app.tasks[attempt.task], _now()
        retries = job.retry_count + policy.charge(attempt)
        result = None if attempt.result is None else decode_many([attempt.result])[0]
        status = policy.final_status(job, task, attempt)
        if status is not None:
            job = replace(
                job,
                status=status.value,
                outcome=attempt.outcome,
                result=result,
                finished_at=now,
                error_type=attempt.error_type,
                error=attempt.error,
                traceback=attempt.traceback,
            )
        else:
            due = job.scheduled_at
            if attempt.outcome != "released":
                due = now + timedelta(seconds=policy.delay(job, task, attempt))
            waits = "retrying" if retries else "scheduled" if due > now else "pending"
            job = replace(job, status=waits, scheduled_at=due, started_at=None)
        self._jobs[id] = replace(job, retry_count=retries)
        self.ran.append(ran_of(attempt, self._jobs[id].status))

    def _on_progress(self, attempt: Attempt, percent: int, message: str | None) -> None:
        self._jobs[attempt.id] = replace(self._jobs[attempt.id], progress=percent, progress_message=message)

    def _on_log(self, attempt: Attempt, instant: float, line: int, level: str, message: str) -> None:  # noqa: ARG002
        self.logs[attempt.id].append(
            LogLine(attempt=attempt.attempt, line=line, logged_at=_now(), level=level, message=message)
        )


class _InlineJob(Job):
    """A job for which waiting makes no sense: nothing else would bring it further."""

    def wait(self, timeout: float | None = None) -> Any:
        if not self.refresh().status.final:
            raise TimeoutError(
                f"Job {self.id} is {self.status} and stays so: in inline mode nothing runs in the background. "
                "Run its next attempt with run_waiting()."
            )
        return super().wait(timeout)

    async def wait_async(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as its base
        return self.wait(timeout)


def _now() -> datetime:
    return datetime.now(UTC)
