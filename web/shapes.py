"""What answers look like, for the OpenAPI document. The tests check answers against it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, RootModel

Item = TypeVar("Item")


class Shape(BaseModel):
    """A JSON object in an answer. Its fields are described by the docstrings below them."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class FieldProblem(Shape):
    """What is wrong with one field."""

    pointer: str
    """JSON pointer into the body, or the name of a query parameter after a slash."""
    detail: str


class ProblemShape(Shape):
    """An error, as RFC 9457 says."""

    model_config = ConfigDict(title="Problem", extra="allow", use_attribute_docstrings=True)

    type: str
    """A URI reference: /problems/queue-full."""
    title: str
    status: int
    detail: str
    """What is wrong, and what to do."""
    request_id: str
    """As in the header X-Request-Id and in the server's log."""
    errors: list[FieldProblem] = []


class Page(Shape, Generic[Item]):
    """A page of a list."""

    items: list[Item]
    next_cursor: str | None
    """Where the list goes on: the query parameter `cursor` of the next page. Null on the last one."""


class JobShape(Shape):
    """A job."""

    model_config = ConfigDict(title="Job", use_attribute_docstrings=True)

    id: int
    task: str
    type: str
    """The same as `task`."""
    queue: str
    payload: Any
    """The arguments, an object."""
    priority: int
    """Bigger first; low 0, normal 1, high 2, critical 3."""
    status: str
    """pending, scheduled, retrying, running, completed, failed, cancelled or quarantined."""
    progress: int | None
    """Per cent, as its handler says."""
    attempt: int
    """Times it was claimed; never decreases."""
    retry_count: int
    max_retries: int | None
    created_at: datetime
    scheduled_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: Any
    error: str | None
    crash_count: int
    retry_strategy: str | None
    retry_delay: float | None
    max_retry_delay: float | None
    timeout: float | None
    unique_key: str | None
    tags: list[str] | None
    traceparent: str | None
    worker_id: int | None
    executor: int | None
    progress_message: str | None
    cancel_requested_at: datetime | None
    outcome: str | None
    error_type: str | None
    traceback: str | None
    schedule_id: int | None
    tick_at: datetime | None
    start_by: datetime | None
    concurrency_key: str | None
    unique_scope: str | None
    unique_until: datetime | None
    dead_letter: Any


class EventStream(RootModel[str]):
    """Server-Sent Events: lines `id`, `event` and `data`, of which the last is a JSON object, and an empty one."""
