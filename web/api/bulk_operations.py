"""Actions on all jobs that a filter means."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pgtask.database import bulk_operations
from pgtask.database.bulk_operations import DEFAULT_STATUSES, Filter
from pgtask.database.connection import Connection
from pgtask.model.bulk_operation import BulkAction, BulkOperation
from pgtask.model.dead_letter import DeadLetterFilter
from pgtask.model.errors import ConfigurationError, OperationNotFoundError
from pgtask.model.job_filter import JobFilter
from pgtask.model.rate import Rate
from pgtask.model.search import LONGEST, merge, parse_search
from pgtask.model.serialise import page_as_json, record_as_json
from pgtask.model.status import JobStatus
from pgtask.model.token import Scope

from ..contract import Answer, Section
from ..cursors import read_cursor, write_cursor
from ..fields import Instant, Limit, Text
from ..inputs import Body, Query
from ..requests import caller, note, require_all_queues
from ..shapes import Page, Shape

section = Section(
    "bulk operations",
    "Actions on all jobs that a filter means, worked off a chunk at a time by a worker or the server. Jobs enqueued "
    "after the operation was made are not caught, nor are, where ended jobs are meant, those that ended after it.",
)

Name = Annotated[Text, Field(min_length=1, max_length=200)]


class JobChoice(Body):
    """Which jobs; at least one field must be given, or `all` said."""

    q: Annotated[Text, Field(max_length=LONGEST)] | None = None
    """A search, as the command line takes it. What another field says it may not say again."""
    status: Annotated[list[JobStatus], Field(min_length=1, max_length=8, strict=False)] | None = None
    """Without it: for cancel those that have not ended, for retry failed and quarantined, for delete ended ones."""
    queue: Name | None = None
    task: Name | None = None
    """A name, in which * stands for any text."""
    tag: Name | None = None


class DeadLetterChoice(Body):
    """Which dead letters; at least one field must be given, or `all` said."""

    status: Literal["failed", "quarantined"] | None = None
    queue: Name | None = None
    task: Name | None = None
    error: Name | None = None
    """A type of error, in which * stands for any text."""
    tag: Name | None = None
    since: Instant | None = None


class NewOperation(Body):
    """What to do to which jobs: `jobs` or `dead_letters` says which."""

    action: Annotated[BulkAction, Field(strict=False)]
    """cancel, retry or delete jobs; retry, resolve or delete dead letters."""
    jobs: JobChoice | None = None
    dead_letters: DeadLetterChoice | None = None
    all: bool = False
    """Says that an empty filter is meant."""
    rate: Annotated[Text, Field(max_length=40, examples=["100/min"])] | None = None
    """For retry: have the jobs become due one by one at this rate."""
    note: Annotated[Text, Field(max_length=1000)] | None = None
    """For resolve: what was done about them."""

    @model_validator(mode="after")
    def _one_target(self) -> NewOperation:
        if (self.jobs is None) == (self.dead_letters is None):
            raise ValueError("Give either jobs or dead_letters: the filter that says which")
        return self


class Preview(Shape):
    """How many jobs an operation would be about."""

    matched: int
    exact: bool
    """Whether these are all; else there are at least so many."""


class Refusal(Shape):
    """A job to which it was not done."""

    id: int
    answer: str | None
    detail: str | None


class OperationShape(Shape):
    """A bulk operation and how far it is."""

    id: int
    action: str
    target: str
    """jobs or dead_letters."""
    status: str
    """pending, running, completed, cancelled or failed."""
    filter: dict[str, Any]
    options: dict[str, Any]
    created_at: datetime
    created_by: str | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    matched: int
    """Jobs that matched when it was made, at least, unless `exact`."""
    exact: bool
    processed: int
    answers: dict[str, int]
    """How many jobs got each answer."""
    refusals: list[Refusal]
    """The first hundred that were refused."""
    error: str | None
    """Why a chunk could not be done at the last try."""


class OperationQuery(Query):
    """Which page."""

    limit: Limit = 50
    cursor: Name | None = None
    """`next_cursor` of the page before."""


def _wanted(body: NewOperation) -> Filter:
    if body.jobs is not None:
        given = JobFilter(
            statuses=frozenset(body.jobs.status or ()),
            queue=body.jobs.queue,
            task=body.jobs.task,
            tag=body.jobs.tag,
        )
        chosen: Filter = merge(given, parse_search(body.jobs.q or ""))
    else:
        dead = body.dead_letters
        assert dead is not None
        chosen = DeadLetterFilter(
            task=dead.task, queue=dead.queue, error_type=dead.error, status=dead.status, tag=dead.tag, since=dead.since
        )
    if not chosen and not body.all:
        raise ConfigurationError('The filter is empty, which means every job. If that is meant, say "all": true.')
    return _restricted(chosen, body.action)


def _restricted(chosen: Filter, action: BulkAction) -> Filter:
    chosen = replace(chosen, queues=caller().queues)
    if isinstance(chosen, DeadLetterFilter):
        return chosen
    return chosen if chosen.statuses else replace(chosen, statuses=DEFAULT_STATUSES.get(action, frozenset()))


def _shown(operation: BulkOperation) -> dict[str, Any]:
    return record_as_json(operation)


@section.post("/bulk-operations", scope=Scope.OPERATE, answer=OperationShape, status=202, problems={403})
def create_bulk_operation(connection: Connection, body: NewOperation) -> Answer:
    """Do something to all jobs that match.

    The answer comes at once; read the operation again to see how far it is.
    """
    try:
        rate = None if body.rate is None else Rate.parse(body.rate)
    except ValueError as error:
        raise ConfigurationError(f"/rate: {error}") from None
    made = bulk_operations.create(
        connection, body.action, _wanted(body), note=body.note, rate=rate, created_by=caller().name
    )
    note(made.id, action=made.action, target=made.target, filter=made.filter, matched=made.matched)
    return Answer(_shown(made), headers={"Location": f"/api/v1/bulk-operations/{made.id}"})


@section.post("/bulk-operations/preview", scope=Scope.OPERATE, answer=Preview, problems={403}, audited=False)
def preview_bulk_operation(connection: Connection, body: NewOperation) -> dict[str, Any]:
    """Count what an operation would be about, and do nothing."""
    matching = bulk_operations.count(connection, _wanted(body))
    return {"matched": matching.number, "exact": matching.exact}


@section.get("/bulk-operations", answer=Page[OperationShape])
def list_bulk_operations(connection: Connection, query: OperationQuery) -> dict[str, Any]:
    """Bulk operations, the latest first. Those of callers limited to some queues are for these callers alone."""
    require_all_queues()
    before = None if query.cursor is None else read_cursor(query.cursor, 1)[0]
    found = bulk_operations.list_operations(connection, before=before, limit=query.limit + 1)
    shown = found[: query.limit]
    return page_as_json(
        [_shown(operation) for operation in shown], write_cursor(shown[-1].id) if len(found) > query.limit else None
    )


@section.get("/bulk-operations/{id}", answer=OperationShape)
def get_bulk_operation(connection: Connection, id: int) -> dict[str, Any]:
    """One bulk operation, with its progress."""
    return _shown(_own(connection, id))


@section.post("/bulk-operations/{id}/cancel", scope=Scope.OPERATE, answer=OperationShape)
def cancel_bulk_operation(connection: Connection, id: int) -> dict[str, Any]:
    """Stop an operation after the chunk under way. One that has ended stays as it is."""
    _own(connection, id)
    note(id)
    return _shown(bulk_operations.cancel(connection, id))


def _own(connection: Connection, id: int) -> BulkOperation:
    operation = bulk_operations.read(connection, id)
    if caller().queues is not None and operation.created_by != caller().name:
        raise OperationNotFoundError(id)
    return operation
