"""Workers over HTTP: how far their jobs are, and how these end."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from pgtask.database.remote import RemoteWorker
from pgtask.engine import remote_workers
from pgtask.engine.classify import MAX_ERROR, MAX_TRACEBACK
from pgtask.engine.remote_endings import Ending, Settled
from pgtask.engine.remote_workers import LogLine
from pgtask.model.errors import PayloadError, WorkerGoneError
from pgtask.model.payload import clean_text, encode_result
from pgtask.model.token import Scope

from ..contract import Section
from ..fields import WHOLE, Duration
from ..inputs import Body
from ..problems import Problem
from ..serving import Attempt, JobId, WorkerId, counter, own_worker
from ..shapes import Shape

section = Section("job endings", "What workers over HTTP tell of the jobs that they run.")


class OfAttempt(Body):
    """Whose attempt it is."""

    worker_id: WorkerId
    attempt: Attempt


class Completed(OfAttempt):
    """A job that was done."""

    result: Any = None
    """Any JSON, up to 1 MiB."""
    seconds: float | None = Field(None, ge=0, le=1e9)
    """How long it ran; null counts from the fetch on."""


class CompletedOne(Body):
    """One job of several that were done."""

    id: JobId
    attempt: Attempt
    result: Any = None
    seconds: float | None = Field(None, ge=0, le=1e9)


class CompletedSeveral(Body):
    """Jobs that were done."""

    worker_id: WorkerId
    jobs: list[CompletedOne] = Field(min_length=1, max_length=1000)


class Failed(OfAttempt):
    """A job that was not done."""

    error: str
    """What went wrong, in a line or two."""
    error_type: str | None = None
    traceback: str | None = None
    outcome: Literal["failed", "timeout", "cancelled"] = "failed"
    """`timeout`: it ran for too long. `cancelled`: it was asked to stop and did, which ends the job."""
    retry: bool | Duration | None = None
    """False ends the job; seconds, or text such as "5m", replace the delay that its policy gives."""
    seconds: float | None = Field(None, ge=0, le=1e9)
    """How long it ran; null counts from the fetch on."""


class Snoozed(OfAttempt):
    """A job that is to be tried again later, without being charged."""

    delay: Duration
    seconds: float | None = Field(None, ge=0, le=1e9)


class Released(OfAttempt):
    """A job that the worker gives back, without its being charged."""

    started: bool = True
    """False leaves no trace of the attempt."""


class Line(Body):
    """A line of the job's log."""

    message: str
    level: Literal["debug", "info", "warning", "error"] = "info"
    line: Annotated[int, Field(ge=1, le=2**31 - 1), WHOLE] | None = None
    """Its number, by which a line that is sent twice is known; null is the next one."""


class Progress(OfAttempt):
    """How far a job is. What is left out stays as it is."""

    percent: float | None = Field(None, ge=0, le=100)
    message: str | None = None
    logs: list[Line] = Field(default=[], max_length=1000)


class SettledShape(Shape):
    """What came of an attempt."""

    id: int
    attempt: int
    outcome: str
    """completed, failed, timeout, snoozed, released or cancelled. A result that cannot be stored is a failure."""
    final: bool
    """Whether the job has ended with it."""
    repeated: bool
    """Whether this was known already."""


class OneSettledShape(Shape):
    """What came of one attempt of several."""

    id: int
    attempt: int
    outcome: str | None
    """Null: it was not this worker's any more."""
    final: bool
    repeated: bool


class SeveralSettledShape(Shape):
    """What came of each attempt."""

    jobs: list[OneSettledShape]


class NotedShape(Shape):
    """What the worker is to know."""

    id: int
    attempt: int
    cancel: bool
    """Whether the job is to be cancelled."""


STATUSES = {404, 409, 410}


@section.post(
    "/jobs/{id}/complete",
    scope=Scope.WORKER,
    answer=SettledShape,
    problems=STATUSES,
    audited=False,
    aliases=("/tasks/{id}/complete",),
)
def complete_job(id: int, body: Completed) -> dict[str, Any]:
    """Tell that a job is done.

    Told twice, as after an answer that did not arrive, it counts once.
    """
    return _end_one(body.worker_id, _completed(id, body.attempt, body.result, body.seconds))


@section.post("/workers/complete", scope=Scope.WORKER, answer=SeveralSettledShape, problems={404, 410}, audited=False)
def complete_jobs(body: CompletedSeveral) -> dict[str, Any]:
    """Tell that several jobs are done, in one transaction.

    Those that are no longer the worker's have no outcome, and do not hold up the others.
    """
    worker = own_worker(body.worker_id)
    endings = {(job.id, job.attempt): _completed(job.id, job.attempt, job.result, job.seconds) for job in body.jobs}
    settled = remote_workers.end(counter(), worker, list(endings.values()))
    if worker.dead and all(one.outcome is None for one in settled.values()):
        raise WorkerGoneError(worker.id)
    return {"jobs": [_as_json(id, attempt, one) for (id, attempt), one in settled.items()]}


@section.post(
    "/jobs/{id}/fail",
    scope=Scope.WORKER,
    answer=SettledShape,
    problems=STATUSES,
    audited=False,
    aliases=("/tasks/{id}/fail",),
)
def fail_job(id: int, body: Failed) -> dict[str, Any]:
    """Tell that a job has failed, ran for too long, or was cancelled.

    It is tried again as its policy says, unless `retry` says otherwise.
    """
    delay = None if isinstance(body.retry, bool) else body.retry
    return _end_one(
        body.worker_id,
        Ending(
            id,
            body.attempt,
            body.outcome,
            error_type=None if body.error_type is None else clean_text(body.error_type, 200),
            error=clean_text(body.error, MAX_ERROR),
            traceback=None if body.traceback is None else clean_text(body.traceback, MAX_TRACEBACK),
            final=body.outcome == "cancelled" or body.retry is False,
            delay=delay,
            seconds=body.seconds,
        ),
    )


@section.post(
    "/jobs/{id}/snooze",
    scope=Scope.WORKER,
    answer=SettledShape,
    problems=STATUSES,
    audited=False,
    aliases=("/tasks/{id}/snooze",),
)
def snooze_job(id: int, body: Snoozed) -> dict[str, Any]:
    """Give a job back for later, which costs it nothing."""
    return _end_one(body.worker_id, Ending(id, body.attempt, "snoozed", delay=body.delay, seconds=body.seconds))


@section.post(
    "/jobs/{id}/release",
    scope=Scope.WORKER,
    answer=SettledShape,
    problems=STATUSES,
    audited=False,
    aliases=("/tasks/{id}/release",),
)
def release_job(id: int, body: Released) -> dict[str, Any]:
    """Give a job back at once, which costs it nothing."""
    return _end_one(body.worker_id, Ending(id, body.attempt, "released", started=body.started))


@section.post(
    "/jobs/{id}/progress",
    scope=Scope.WORKER,
    answer=NotedShape,
    problems=STATUSES,
    audited=False,
    aliases=("/tasks/{id}/progress",),
)
def report_progress(id: int, body: Progress) -> dict[str, Any]:
    """Tell how far a job is, and add lines to its log."""
    worker = own_worker(body.worker_id)
    percent = None if body.percent is None else int(body.percent)
    lines = [LogLine(line.level, line.message, line.line) for line in body.logs]
    job = remote_workers.note(counter(), worker, (id, body.attempt), percent, body.message, lines)
    if job is None:
        raise _not_held(worker, id, body.attempt)
    return {"id": id, "attempt": body.attempt, "cancel": job.cancel}


def _completed(id: int, attempt: int, result: Any, seconds: float | None) -> Ending:
    """A result that cannot be stored is a failure of its job, as for any worker."""
    try:
        return Ending(id, attempt, result=encode_result(result), seconds=seconds)
    except PayloadError as error:
        return Ending(
            id, attempt, "failed", error_type="PayloadError", error=clean_text(str(error), MAX_ERROR), seconds=seconds
        )


def _end_one(worker_id: int, ending: Ending) -> dict[str, Any]:
    worker = own_worker(worker_id)
    settled = remote_workers.end(counter(), worker, [ending])[ending.key]
    if settled.outcome is None:
        raise _not_held(worker, ending.id, ending.attempt)
    return _as_json(ending.id, ending.attempt, settled)


def _as_json(id: int, attempt: int, settled: Settled) -> dict[str, Any]:
    return {
        "id": id,
        "attempt": attempt,
        "outcome": settled.outcome,
        "final": settled.final,
        "repeated": settled.repeated,
    }


def _not_held(worker: RemoteWorker, id: int, attempt: int) -> Exception:
    if worker.dead:
        return WorkerGoneError(worker.id)
    detail = f"Worker {worker.id} does not hold attempt {attempt} of job {id}: it was lost, or has ended. Drop it."
    return Problem(409, "lease-lost", detail)
