"""Enqueueing jobs, one or many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

from flask import current_app, request

from pgtask.database import bulk, requesting
from pgtask.database.connection import Connection
from pgtask.database.requesting import Auditor, HeldError
from pgtask.database.schemas import Schemas
from pgtask.model.errors import DeadlineError, PayloadError, PgTaskError, UniqueConflictError
from pgtask.model.payload import encode
from pgtask.model.request import JobRequest
from pgtask.model.serialise import job_as_json
from pgtask.model.token import Scope

from .. import exact
from ..contract import Answer, Section
from ..problems import Problem
from ..requests import asked, caller
from ..shapes import JobShape, Shape
from .bulk_fields import NewJobs
from .job_fields import NewJob

section = Section("enqueue", "Putting jobs in.")


_CONTENT = ("payload", "result", "error", "error_type", "traceback", "progress_message", "dead_letter")
"""What of a job others may have written."""


class EnqueuedShape(JobShape):
    """A job, and how it came there."""

    answer: Literal["created", "held", "replaced", "rescheduled"]
    """created; or it held the unique key, and was left as it is (held), replaced or rescheduled."""


class ExistingShape(Shape):
    """A job that held the unique key of one that was asked for."""

    position: int
    """Of the one that was asked for, from 0 on."""
    id: int
    answer: Literal["held", "replaced", "rescheduled"]


class EnqueuedManyShape(Shape):
    """The jobs that were asked for."""

    ids: list[int]
    """In the order in which they were asked for."""
    existing: list[ExistingShape]
    """Those among them that were there before."""


@section.post(
    "/jobs",
    scope=Scope.ENQUEUE,
    answer=EnqueuedShape,
    status=201,
    also={200},
    problems={409, 429},
    alone=True,
    aliases=("/tasks",),
)
def enqueue_job(connection: Connection, body: NewJob) -> Answer:
    """Enqueue a job.

    Where another job holds its unique key that one is the answer, with status 200, unless `on_conflict` is `error`. Who
    may not read jobs is not told what is in it: its payload, result and errors are null then.
    """
    require_own_queue(body.queue)
    body.check_times()
    payload = check_payload(connection, body.name, body.payload)
    data = request.get_data(cache=True)
    if exact.may_round(data):
        payload = exact.member_text(data.decode(), "payload") or payload
    job = JobRequest(body.name, payload, body.options())
    try:
        with _undone_if_hidden(connection):
            made = requesting.enqueue(connection, job, body.payload, _auditor("enqueue_job"))
            if not caller().sees(made.job.queue):
                raise _hidden(made.job.queue, created=made.answer == "created")
    except UniqueConflictError as error:
        _require_seen(connection, error)
        raise
    created = made.answer == "created"
    content = job_as_json(made.job) | {"answer": made.answer}
    if made.answer in {"held", "rescheduled"} and not caller().may(Scope.READ):
        content |= dict.fromkeys(_CONTENT)
    return Answer(content, 201 if created else 200, {"Location": f"/api/v1/jobs/{made.job.id}"} if created else {})


@section.post(
    "/jobs/bulk",
    scope=Scope.ENQUEUE,
    answer=EnqueuedManyShape,
    status=201,
    problems={409, 429},
    alone=True,
    aliases=("/tasks/bulk",),
)
def enqueue_jobs(connection: Connection, body: NewJobs) -> dict[str, Any]:
    """Enqueue up to 1,000 jobs, all or none.

    Give them whole as `jobs`, or `payloads` beside the options that all of them have.
    """
    requests = list(_requests(connection, body))
    limited = caller().queues is not None
    with connection.transaction():
        try:
            made = requesting.enqueue_many(connection, requests, _auditor("enqueue_jobs"))
        except HeldError as error:
            _require_seen(connection, error)
            place = f"/{'jobs' if body.jobs else 'payloads'}/{error.position}"
            raise _at(place, 409, "unique-conflict", error, job_id=error.job_id) from error
        if limited:
            for queue in requesting.queues_of(connection, made.ids):
                if not caller().sees(queue):
                    raise _hidden(queue, created=not made.existing)
    existing = [{"position": at, "id": made.ids[at], "answer": answer} for at, answer in made.existing.items()]
    return {"ids": made.ids, "existing": existing}


def _requests(connection: Connection, body: NewJobs) -> Iterator[JobRequest]:
    """The jobs of a body. Raises Problem 422 that names the one at fault."""
    data = request.get_data(cache=True)
    texts = _texts(data.decode(), body) if exact.may_round(data) else None
    if body.jobs is None:
        payloads = body.payloads or []
        name, options = body.name, body.options()
        _schemas().learn(connection, [name])
        asked_for = [(name, payload, options) for payload in payloads]
        place = "/payloads/{}"
        require_own_queue(body.queue)
        body.check_times()
    else:
        asked_for = [(job.name, job.payload, job.options()) for job in body.jobs]
        _schemas().learn(connection, {name for name, _, _ in asked_for})
        place = "/jobs/{}/payload"
        for position, job in enumerate(body.jobs):
            require_own_queue(job.queue)
            try:
                job.check_times()
            except DeadlineError as error:
                raise _at(f"/jobs/{position}", 409, "deadline-passed", error) from None
    for position, (name, payload, options) in enumerate(asked_for):
        try:
            text = check_payload(connection, name, payload)
        except PayloadError as error:
            raise _at(place.format(position), 422, "invalid-payload", error) from None
        yield JobRequest(name, texts[position] if texts else text, options)


def _texts(text: str, body: NewJobs) -> list[str]:
    name = "payloads" if body.jobs is None else "jobs"
    place = exact.member(text, name)
    assert place is not None
    found = exact.items(text, place[0])
    if body.jobs is None:
        return [text[begin:end] for begin, end in found]
    return [exact.member_text(text, "payload", begin) or "{}" for begin, _ in found]


def check_payload(connection: Connection, task: str, payload: dict[str, Any]) -> str:
    """Its JSON text, for what is not stored by its own.

    Raises PayloadError for what the task does not take, and for what PostgreSQL cannot store.
    """
    _schemas().check(connection, task, payload)
    return encode(payload) if payload else "{}"


def _schemas() -> Schemas:
    schemas: Schemas = current_app.extensions.setdefault("pgtask.schemas", Schemas())
    return schemas


def _auditor(action: str) -> Auditor:
    record = asked()
    return Auditor(record.caller.name, request.remote_addr, action, record.request_id)


def require_own_queue(queue: str | None) -> None:
    """Raises Problem 403 where the caller may not put jobs into a queue."""
    if queue is not None and not caller().sees(queue):
        raise _not_own(queue)


def _undone_if_hidden(connection: Connection) -> AbstractContextManager[Any]:
    """A transaction for callers who may not see all queues: which one a job is in by its task's default shows late."""
    return nullcontext() if caller().queues is None else connection.transaction()


def _at(pointer: str, status: int, kind: str, error: PgTaskError, **more: Any) -> Problem:
    """The problem of one job of many."""
    errors = [{"pointer": pointer, "detail": str(error)}]
    return Problem(status, kind, f"{pointer}: {error}", more | {"errors": errors})


def _require_seen(connection: Connection, error: UniqueConflictError) -> None:
    """Raises Problem 409, which does not say which job holds the key, where the caller may not see that job."""
    if not bulk.seen(connection, [error.job_id], caller().queues):
        raise _hidden("", created=False) from None


def _not_own(queue: str) -> Problem:
    detail = f"This token is limited to some queues, and '{queue}' is none of them. Nothing was changed."
    return Problem(403, "limited-token", detail)


def _hidden(queue: str, *, created: bool) -> Problem:
    if created:
        return _not_own(queue)
    detail = "A job in a queue that this token may not see holds a unique key. Nothing was enqueued."
    return Problem(409, "unique-conflict", detail)
