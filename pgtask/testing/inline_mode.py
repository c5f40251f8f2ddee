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
from pgtask.model.serialise import instant_as_text
from pgtask.model.status import JobStatus
from pgtask.testing import attempts, policy
from pgtask.testing.attempts import Ran, ran_of
from pgtask.testing.inline_job import InlineJob
from pgtask.testing.unique_keys import Key, Keys

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
    visible in `jobs`, until `run_waiting`, which cancels what was to start before. Signatures, encoding, verdicts and
    errors are judged as by a worker. Timeouts, isolation, limits and other settings of queues are not applied, nor does
    a job belong to a transaction (`options(connection=…)`).
    """

    def __init__(self, app: PgTask) -> None:
        self.app = app
        self.ran: list[Ran] = []
        self.logs: defaultdict[int, list[LogLine]] = defaultdict(list)
        self._jobs: dict[int, JobRecord] = {}
        self._payloads: dict[int, str] = {}
        self._running: dict[int, Attempt] = {}
        self._ids = itertools.count(1)
        self._keys = Keys(self._jobs, self._running)

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
            if not JobStatus(self._jobs[job.id].status).final and not self._expired(job.id):
                self._run(job.id)
        return self.ran[begun:]

    # What stands in for the application's own

    def enqueue_encoded(self, job: NewJob, payload: str, connection: Any = None) -> Job:  # noqa: ARG002
        """Makes the job and runs it if it is due."""
        id, answer = self._insert(job, payload)
        if answer != "held" and self._due(id):
            self._run(id)
        return InlineJob(self.app, id, created=answer == "created")

    def enqueue_many_encoded(self, job: NewJob, payloads: list[str], connection: Any = None) -> list[Job]:  # noqa: ARG002
        """Makes all the jobs, then runs them in order if they are due."""
        ids = [self._insert(job, payload)[0] for payload in payloads]
        for id in ids:
            if self._due(id):
                self._run(id)
        return [InlineJob(self.app, id) for id in ids]

    async def enqueue_encoded_async(self, job: NewJob, payload: str, connection: Any = None) -> Job:  # noqa: ARG002
        """`enqueue_encoded` in the running event loop."""
        id, answer = self._insert(job, payload)
        if answer != "held" and self._due(id):
            attempt = self._begin(id)
            try:
                await attempts.run_async(self.app.tasks[attempt.task], self._handlers(), attempt)
            finally:
                self._end(id, attempt)
        return InlineJob(self.app, id, created=answer == "created")

    def job(self, id: int) -> Job:
        """The job with this id. Raises JobNotFoundError."""
        return InlineJob(self.app, id).refresh()

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
        key = Key.held_by(job)
        holder = self._keys.holder(key)
        if holder not in (None, id):
            raise JobStateError(f"job {id} cannot be retried: job {holder} holds its unique key {job.unique_key}")
        self._keys.take(key, id)
        self._jobs[id] = replace(
            job,
            status="pending",
            retry_count=0,
            crash_count=0,
            outcome=None,
            finished_at=None,
            cancel_requested_at=None,
            start_by=None,
        )
        self._run(id)

    # How a job goes through it

    def _insert(self, job: NewJob, payload: str) -> tuple[int, str]:
        if len(payload) > _MAX_PAYLOAD:
            raise PayloadError(
                f"The payload has {len(payload)} bytes; the limit is {_MAX_PAYLOAD} (setting max_payload_bytes). "
                "Store the data elsewhere and pass a reference to it."
            )
        now = _now()
        due = job.scheduled_at or now + timedelta(seconds=job.delay or 0)
        key = Key.of(job, payload, now)
        holder = self._keys.holder(key)
        if holder is not None:
            self._jobs[holder], answer = self._keys.meet(holder, job, payload, due)
            if answer == "replaced":
                self._payloads[holder] = payload
            return holder, answer
        id = next(self._ids)
        values: dict[str, Any] = dict.fromkeys(field.name for field in fields(JobRecord))
        values |= {name: value for name, value in asdict(job).items() if name in values}
        values |= {
            "id": id,
            "payload": decode_many([payload])[0],
            "status": policy.waiting_status(0, due),
            "attempt": 0,
            "retry_count": 0,
            "crash_count": 0,
            "tags": list(job.tags) or None,
            "created_at": now,
            "scheduled_at": due,
            "unique_key": key.text,
            "unique_scope": key.scope,
            "unique_until": key.until,
            "start_by": job.start_by or (None if job.expires is None else now + timedelta(seconds=job.expires)),
        }
        self._jobs[id] = JobRecord(**values)
        self._payloads[id] = payload
        self._keys.take(key, id)
        return id, "created"

    def _due(self, id: int) -> bool:
        return self._jobs[id].scheduled_at <= _now() and not JobStatus(self._jobs[id].status).final

    def _expired(self, id: int) -> bool:
        """Whether the job was not started in time, and has ended with that."""
        job, now = self._jobs[id], _now()
        if job.start_by is None or job.start_by > now:
            return False
        error = f"It was not started by {instant_as_text(job.start_by.replace(microsecond=0))}"
        ended: dict[str, Any] = {"status": "cancelled", "outcome": "cancelled", "finished_at": now}
        self._jobs[id] = replace(job, **ended, error_type="Expired", error=error)
        return True

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
            job = replace(job, status=policy.waiting_status(retries, due), scheduled_at=due, started_at=None)
        self._jobs[id] = replace(job, retry_count=retries)
        self.ran.append(ran_of(attempt, self._jobs[id].status))

    def _on_progress(self, attempt: Attempt, percent: int, message: str | None) -> None:
        self._jobs[attempt.id] = replace(self._jobs[attempt.id], progress=percent, progress_message=message)

    def _on_log(self, attempt: Attempt, instant: float, line: int, level: str, message: str) -> None:  # noqa: ARG002
        self.logs[attempt.id].append(
            LogLine(attempt=attempt.attempt, line=line, logged_at=_now(), level=level, message=message)
        )


def _now() -> datetime:
    return datetime.now(UTC)
