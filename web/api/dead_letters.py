"""Dead letters: jobs that failed for good, until somebody has dealt with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from pgtask.database import dead_letters
from pgtask.database.connection import Connection
from pgtask.model.dead_letter import DeadLetterFilter, Position
from pgtask.model.serialise import job_as_json, page_as_json, record_as_json

from ..contract import Section
from ..cursors import read_cursor, write_cursor
from ..fields import Instant, Limit, Text
from ..inputs import Query
from ..requests import caller, shown
from ..shapes import JobShape, Page, Shape

section = Section(
    "dead letters", "Jobs that failed for good or were quarantined, until each is retried, resolved or deleted."
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = (datetime(9999, 12, 29, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)

Pattern = Annotated[Text, Field(min_length=1, max_length=200)]


class DeadLetterQuery(Query):
    """Which dead letters."""

    task: Pattern | None = None
    """A name, in which * stands for any text."""
    queue: Pattern | None = None
    error: Pattern | None = None
    """A type of error, in which * stands for any text."""
    tag: Pattern | None = None
    status: Literal["failed", "quarantined"] | None = None
    since: Instant | None = None
    """When they failed at the earliest."""

    def wanted(self) -> DeadLetterFilter:
        """The filter, within what the caller may see."""
        return DeadLetterFilter(
            task=self.task,
            queue=self.queue,
            error_type=self.error,
            tag=self.tag,
            status=self.status,
            since=self.since,
            queues=caller().queues,
        )


class DeadLetterListQuery(DeadLetterQuery):
    """Which dead letters, and how many."""

    limit: Limit = 50
    cursor: Pattern | None = None
    """`next_cursor` of the page before."""


class GroupShape(Shape):
    """Dead letters of one task that failed with the same type of error."""

    task: str
    error_type: str | None
    count: int
    first_at: datetime
    last_at: datetime
    last_id: int
    """The one that failed last."""


@section.get("/dead-letters", answer=Page[JobShape])
def list_dead_letters(connection: Connection, query: DeadLetterListQuery) -> dict[str, Any]:
    """Dead letters, the latest failure first."""
    before = None
    if query.cursor is not None:
        microseconds, id = read_cursor(query.cursor, 2)
        # A cursor that somebody made up may lie beyond what a date can be.
        before = Position(_EPOCH + timedelta(microseconds=min(microseconds, _LATEST)), id)
    page = dead_letters.list_dead_letters(connection, query.wanted(), before=before, limit=query.limit)
    cursor = None
    if page.next is not None:
        cursor = write_cursor((page.next.finished_at - _EPOCH) // timedelta(microseconds=1), page.next.id)
    return page_as_json([shown(job_as_json(job)) for job in page.jobs], cursor)


@section.get("/dead-letters/groups", answer=Page[GroupShape])
def group_dead_letters(connection: Connection, query: DeadLetterQuery) -> dict[str, Any]:
    """Dead letters by task and type of error, most first."""
    groups = dead_letters.group_dead_letters(connection, query.wanted())
    return page_as_json([record_as_json(group) for group in groups])
