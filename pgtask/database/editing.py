"""Changing a job that waits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import scalar_row, tuple_row

from pgtask.database import jobs, statements
from pgtask.database.connection import Connection
from pgtask.database.enqueuing import REFUSALS, refused
from pgtask.database.jobs import SURELY_ACCEPTED, check_size
from pgtask.database.reading import in_words
from pgtask.model.errors import DeadlineError, JobStateError, QueueFull
from pgtask.model.job import JobRecord
from pgtask.model.status import JobStatus

_LOCK = statements.load("lock_jobs")
_EDIT = statements.load("edit_job")
_INSTANT = statements.load("current_instant")
_SIZE_EXCEEDED = statements.load("size_exceeded")

EDITABLE = ("queue", "priority", "scheduled_at", "payload", "tags", "max_retries", "timeout", "start_by")


def lock(connection: Connection, job_id: int) -> JobRecord:
    """A waiting job, which no worker can take before the caller's transaction ends.

    Raises JobNotFoundError; JobStateError for one that runs or has ended.
    """
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_LOCK, {"ids": [job_id]}).fetchone()
    job = jobs.read(connection, job_id)
    if row is None or JobStatus(job.status).final:
        raise JobStateError(f"Job {job_id} has ended, so it cannot be changed: it is {job.status}.")
    if job.status == JobStatus.RUNNING:
        raise JobStateError(f"Job {job_id} runs, so it cannot be changed.")
    return job


def edit(connection: Connection, job: JobRecord, changes: Mapping[str, Any]) -> JobRecord:
    """Changes a locked job and returns it as it is then.

    `changes` are columns of EDITABLE with their new values, `payload` as JSON text, and `delay`, in seconds from now,
    in place of `scheduled_at`. A unique key stays as it is, also one made from the payload.
    Raises PayloadError for a value that is refused, DeadlineError, QueueFull.
    """
    values = dict(changes)
    now = _now(connection)
    if values.get("delay") is not None:
        values["scheduled_at"] = now + timedelta(seconds=values["delay"])
    values.pop("delay", None)
    _check_times(now, job, values)
    if len(values.get("payload") or "") > SURELY_ACCEPTED:
        check_size(values["payload"], jobs.payload_limit(connection))
    queue = values.get("queue") or job.queue
    if queue != job.queue:
        with connection.cursor(row_factory=scalar_row) as cursor:
            exceeded = cursor.execute(_SIZE_EXCEEDED, {"queue": queue, "count": 1}).fetchone()
        if exceeded is not None:
            raise QueueFull(queue, exceeded)
    if "tags" in values:
        values["tags"] = list(values["tags"] or ()) or None
    arguments = dict.fromkeys(EDITABLE) | values | {"id": job.id, "changed": list(values)}
    try:
        connection.execute(_EDIT, arguments)
    except REFUSALS as error:
        raise refused(error) from error
    return jobs.read(connection, job.id)


def edit_job(connection: Connection, job_id: int, changes: Mapping[str, Any]) -> JobRecord:
    """`lock` and `edit` in a transaction."""
    with in_words(connection), connection.transaction():
        return edit(connection, lock(connection, job_id), changes)


def run_now(connection: Connection, job: JobRecord) -> JobRecord:
    """Makes a locked job due now, if it is not. Raises DeadlineError."""
    if job.scheduled_at <= _now(connection):
        return job
    return edit(connection, job, {"delay": 0.0})


def run_job_now(connection: Connection, job_id: int) -> JobRecord:
    """`lock` and `run_now` in a transaction."""
    with in_words(connection), connection.transaction():
        return run_now(connection, lock(connection, job_id))


def _check_times(now: datetime, job: JobRecord, values: Mapping[str, Any]) -> None:
    if values.keys().isdisjoint({"scheduled_at", "start_by"}):
        return
    start_by = values.get("start_by", job.start_by)
    due = values.get("scheduled_at") or job.scheduled_at
    if start_by is None:
        return
    if values.get("start_by") is not None and start_by <= now:
        raise DeadlineError(f"start_by {start_by.isoformat()} has passed: give an instant to come")
    if start_by < due:
        raise DeadlineError(
            f"The job would expire at {start_by.isoformat(timespec='seconds')}, before it is due at "
            f"{due.isoformat(timespec='seconds')}: let it expire later"
        )


def _now(connection: Connection) -> datetime:
    with connection.cursor(row_factory=scalar_row) as cursor:
        found: datetime | None = cursor.execute(_INSTANT, {"delay": 0.0}).fetchone()
    assert found is not None
    return found
