"""What can be done to one job."""

from __future__ import annotations

from typing import Any, Self

from flask import request
from pydantic import ConfigDict, Field, model_validator

from pgtask.database import bulk, editing, jobs
from pgtask.database.connection import Connection
from pgtask.model.errors import JobNotFoundError, JobStateError
from pgtask.model.job import JobRecord
from pgtask.model.serialise import job_as_json
from pgtask.model.token import Scope

from .. import exact
from ..conditional import require_match
from ..contract import Section
from ..fields import Duration, Priority
from ..inputs import Body
from ..requests import caller, note, note_change, require_queue
from ..shapes import JobShape
from .enqueue import check_payload, require_own_queue
from .job_fields import QueueName, Retries, Tags, TimeLimit, When, never_both

section = Section("job actions", "What can be done to one job.")


def _left_out() -> Any:
    """The default of what cannot be null."""
    return Field(default_factory=lambda: None)


class JobChanges(Body):
    """What is to change of a job that waits."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": never_both(("delay", "scheduled_at")),
            "examples": [{"priority": "high", "queue": "urgent"}, {"delay": "10m", "tags": None}],
        }
    )

    queue: QueueName = _left_out()
    priority: Priority = _left_out()
    scheduled_at: When = _left_out()
    delay: Duration = _left_out()
    """Due so long from now on, in place of `scheduled_at`."""
    payload: dict[str, Any] = _left_out()
    """In place of the payload it has. A unique key that was made from that stays as it is."""
    tags: Tags | None = None
    max_retries: Retries | None = None
    timeout: TimeLimit | None = None
    start_by: When | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if {"delay", "scheduled_at"} <= self.model_fields_set:
            raise ValueError("Give delay or scheduled_at, not both")
        return self


class ActedShape(JobShape):
    """A job after something was done to it."""

    answer: str
    """What became of it, as `pgtask jobs` says."""


@section.operation(
    "PATCH", "/jobs/{id}", scope=Scope.OPERATE, answer=JobShape, problems={409, 412}, aliases=("/tasks/{id}",)
)
def edit_job(connection: Connection, id: int, body: JobChanges) -> dict[str, Any]:
    """Change a job that waits.

    What is left out stays as it is. Null takes tags and `start_by` away, and lets the job inherit what it has not.
    """
    job = _found(connection, id)
    changes = {name: getattr(body, name) for name in body.model_fields_set}
    if "queue" in changes:
        require_own_queue(body.queue)
    job = editing.lock(connection, id)
    require_match(job_as_json(job))
    if "payload" in changes:
        changes["payload"] = check_payload(connection, job.task, body.payload)
        data = request.get_data(cache=True)
        if exact.may_round(data):
            changes["payload"] = exact.member_text(data.decode(), "payload")
    before, after = job_as_json(job), job_as_json(editing.edit(connection, job, changes))
    note_change(str(id), before, {name: after[name] for name in editing.EDITABLE})
    return after


@section.post(
    "/jobs/{id}/run-now", scope=Scope.OPERATE, answer=JobShape, problems={409}, aliases=("/tasks/{id}/run-now",)
)
def run_job_now(connection: Connection, id: int) -> dict[str, Any]:
    """Make a job that waits due now."""
    _found(connection, id)
    job = editing.lock(connection, id)
    after = job_as_json(editing.run_now(connection, job))
    note_change(str(id), job_as_json(job), {"scheduled_at": after["scheduled_at"]})
    return after


@section.post(
    "/jobs/{id}/cancel", scope=Scope.OPERATE, answer=ActedShape, problems={409}, aliases=("/tasks/{id}/cancel",)
)
def cancel_job(connection: Connection, id: int) -> dict[str, Any]:
    """Cancel a job.

    One that waits ends at once (`cancelled`); one that runs is asked to stop (`requested`).
    """
    return _acted(connection, id, jobs.cancel(connection, _found(connection, id).id), {"cancelled", "requested"})


@section.post(
    "/jobs/{id}/retry", scope=Scope.OPERATE, answer=ActedShape, problems={409}, aliases=("/tasks/{id}/retry",)
)
def retry_job(connection: Connection, id: int) -> dict[str, Any]:
    """Put a failed, cancelled or quarantined job back with fresh retries."""
    _found(connection, id)
    try:
        jobs.retry(connection, id)
    except JobStateError:
        if caller().queues is None:
            raise
        # The error may name the job that holds its key, and that may be of a queue that the caller does not see.
        raise JobStateError(
            f"Job {id} cannot be retried: it is completed or has not ended, or another job holds its unique key."
        ) from None
    return _acted(connection, id, "pending", {"pending"})


@section.delete("/jobs/{id}", scope=Scope.OPERATE, problems={409, 412}, aliases=("/tasks/{id}",))
def delete_job(connection: Connection, id: int) -> None:
    """Delete a job with its runs and logs.

    One that runs has to be cancelled first.
    """
    _found(connection, id)
    bulk.lock_jobs(connection, [id])
    job = _found(connection, id)
    require_match(job_as_json(job))
    [answer] = bulk.delete_jobs(connection, [id])
    if answer.answer == "running":
        raise JobStateError(f"Job {id} runs, so it cannot be deleted. Cancel it first.")
    if answer.answer is None:
        raise JobNotFoundError(id)
    note(id, before={"task": job.task, "queue": job.queue, "status": job.status})


def _found(connection: Connection, id: int) -> JobRecord:
    """The job, if the caller may see it. Raises JobNotFoundError."""
    job = jobs.read(connection, id)
    require_queue(job.queue, JobNotFoundError(id))
    return job


def _acted(connection: Connection, id: int, answer: str, done: set[str]) -> dict[str, Any]:
    if answer not in done:
        raise JobStateError(f"Job {id} has ended already: it is {answer}.")
    note(id, answer=answer)
    return job_as_json(jobs.read(connection, id)) | {"answer": answer}
