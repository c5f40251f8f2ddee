"""Enqueueing what the API is asked for: a job with its line of the audit in one statement, and many in one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import tuple_row

from pgtask.database import enqueuing, jobs, statements
from pgtask.database.admission import queue_full
from pgtask.database.connection import Connection
from pgtask.database.enqueuing import REFUSALS, refused
from pgtask.database.jobs import SURELY_ACCEPTED, check_size
from pgtask.model.errors import JobNotFoundError, QueueFull, UniqueConflictError
from pgtask.model.job import JobRecord
from pgtask.model.request import JobRequest

_ENQUEUE = statements.load("enqueue_request")
_ENQUEUE_MANY = statements.load("enqueue_requests")
_ENQUEUE_OR_FIND = statements.load("enqueue_or_find_requests")
_QUEUES = statements.load("find_queues_of_jobs")
_AUDIT = statements.load("write_enqueue_audit")

_OPTIONS = (
    *("queue", "priority", "delay", "scheduled_at", "unique_key", "max_retries", "retry_strategy", "retry_delay"),
    *("max_retry_delay", "timeout", "tags", "traceparent", "concurrency_key"),
)
_NOTHING: dict[str, Any] = dict.fromkeys(_OPTIONS) | {field.name: None for field in fields(JobRecord)}
_NEW = {name: _NOTHING[name] for name in (field.name for field in fields(JobRecord))} | {
    "attempt": 0,
    "retry_count": 0,
    "crash_count": 0,
}
_DETERMINED = (
    *("id", "queue", "priority", "created_at", "scheduled_at", "retry_delay", "max_retry_delay", "timeout", "status"),
)


class Auditor(NamedTuple):
    """Who enqueues, for the audit."""

    actor: str
    address: str | None
    action: str
    request_id: str | None


class Enqueued(NamedTuple):
    """A job as it stands now, and `created`, `held`, `replaced` or `rescheduled`, as pgtask.enqueue_or_find() says."""

    job: JobRecord
    answer: str


class EnqueuedMany(NamedTuple):
    """The ids of jobs in the order in which they were asked for, and the answers for those that hold a unique key, by
    their positions."""

    ids: list[int]
    existing: dict[int, str]


class HeldError(UniqueConflictError):
    """The key of the job at `position` of many is held."""

    def __init__(self, position: int, job_id: int) -> None:
        super().__init__(job_id)
        self.position = position


def enqueue(connection: Connection, request: JobRequest, payload: Any, auditor: Auditor) -> Enqueued:
    """Enqueues a job; `payload` is what its text says. In most cases this is one statement, which needs no transaction.

    Raises PayloadError, QueueFull, UniqueConflictError.
    """
    if request.is_plain and len(request.payload) <= SURELY_ACCEPTED:
        made = _insert(connection, request, payload, auditor)
        if made is not None:
            return Enqueued(made, "created")
    with connection.transaction():
        options = {name: value for name, value in request.options.items() if value is not None}
        id, answer = enqueuing.enqueue_by_name(connection, request.task, request.payload, **options)
        if answer != "held":
            _audit(connection, auditor, str(id), {"task": request.task, "answer": answer})
        try:
            return Enqueued(jobs.read(connection, id), answer)
        except JobNotFoundError as error:
            # A key that is held for ever outlives the history of its holder.
            raise UniqueConflictError(id) from error


def _insert(connection: Connection, request: JobRequest, payload: Any, auditor: Auditor) -> JobRecord | None:
    """The job, None where its key is held or its queue is full."""
    given = {name: request.options.get(name) for name in _OPTIONS}
    given["tags"] = given["tags"] or None
    values = given | auditor._asdict() | {"task": request.task, "payload": request.payload}
    with connection.cursor(row_factory=tuple_row) as cursor:
        try:
            row = cursor.execute(_ENQUEUE, values).fetchone()
        except REFUSALS as error:
            raise refused(error) from error
    if row is None:
        return None
    del given["delay"]
    known = _NEW | given | dict(zip(_DETERMINED, row, strict=True)) | {"task": request.task, "payload": payload}
    return JobRecord(**known)


def enqueue_many(connection: Connection, requests: Sequence[JobRequest], auditor: Auditor) -> EnqueuedMany:
    """Enqueues jobs, all or none, inside the caller's transaction or one of its own.

    Raises PayloadError, QueueFull; HeldError when a key is held and its job says that this is an error.
    """
    largest = max((request.payload for request in requests), key=len, default="")
    if len(largest) > SURELY_ACCEPTED:
        check_size(largest, jobs.payload_limit(connection))
    ids = [0] * len(requests)
    existing: dict[int, str] = {}
    plain: list[int] = []
    others: list[int] = []
    for position, request in enumerate(requests):
        simple = request.is_plain and request.options.get("unique_key") is None
        (plain if simple else others).append(position)
    try:
        with connection.transaction():
            # Those with keys first: their locks are the ones that others wait for.
            for position, id, answer in _find_or_insert(connection, [requests[at] for at in others]):
                place = others[position]
                ids[place] = id
                if answer != "created":
                    if requests[place].options.get("on_conflict") == "error":
                        raise HeldError(place, id)
                    existing[place] = answer
            for place, id in zip(plain, _insert_many(connection, [requests[at] for at in plain]), strict=True):
                ids[place] = id
            _audit(connection, auditor, None, {"count": len(requests)})
    except REFUSALS as error:
        raise refused(error) from error
    except psycopg.DatabaseError as error:
        raise (queue_full(error) or error) from error.__cause__
    return EnqueuedMany(ids, dict(sorted(existing.items())))


def queues_of(connection: Connection, ids: Sequence[int]) -> set[str]:
    """The queues of jobs."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return {queue for _, queue in cursor.execute(_QUEUES, {"ids": list(ids)})}


def _insert_many(connection: Connection, requests: Sequence[JobRequest]) -> list[int]:
    if not requests:
        return []
    with connection.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(_ENQUEUE_MANY, {"jobs": _array(requests)}).fetchall()
    if rows[0][0] is None:
        _, queue, count, max_size = rows[0]
        raise QueueFull(queue, max_size, count)
    return sorted(row[0] for row in rows)


def _find_or_insert(connection: Connection, requests: Sequence[JobRequest]) -> list[tuple[int, int, str]]:
    if not requests:
        return []
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(_ENQUEUE_OR_FIND, {"jobs": _array(requests, skip=True)}).fetchall()


def _array(requests: Sequence[JobRequest], *, skip: bool = False) -> str:
    """The requests as the text of a JSON array. The text of a payload goes there as it is."""
    texts: dict[int, str] = {}
    parts = []
    for task, payload, options in requests:
        # Jobs of one shape share their options, which are then written once.
        text = texts.get(id(options))
        if text is None:
            given = {name: value for name, value in options.items() if value is not None and value != []}
            if "unique_by" in options and options["unique_by"] is not None:
                given["unique_by"] = options["unique_by"]
            if skip and given.get("on_conflict") == "error":
                given["on_conflict"] = "skip"
            text = texts[id(options)] = json.dumps(given, default=str)[1:]
        separator = "" if text == "}" else ","
        parts.append(f'{{"task":{json.dumps(task)},"payload":{payload}{separator}{text}')
    return f"[{','.join(parts)}]"


def _audit(connection: Connection, auditor: Auditor, subject: str | None, details: dict[str, Any]) -> None:
    connection.execute(_AUDIT, auditor._asdict() | {"subject": subject, "details": json.dumps(details)})
