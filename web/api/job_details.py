"""What has become of one job: its runs, its log lines, and why it is where it is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from pgtask.database import job_history, jobs, listing
from pgtask.database.connection import Connection
from pgtask.database.reading import reading
from pgtask.model.errors import JobNotFoundError
from pgtask.model.explanation import NOT_FOUND
from pgtask.model.serialise import page_as_json, record_as_json

from ..contract import Section
from ..fields import Text
from ..inputs import Query
from ..problems import Problem
from ..requests import caller, require_queue, shown
from ..shapes import Page, Shape
from . import jobs as operations

section = Section("jobs", operations.section.description)

_POSITION = r"^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})$"


class RunQuery(Query):
    """Which of the runs."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    cursor: Annotated[Text, Field(max_length=1000)] | None = None
    """`next_cursor` of the page before."""


class LogQuery(Query):
    """Which of the lines."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    cursor: Annotated[str, Field(pattern=_POSITION)] | None = None
    """`next_cursor` of the page before: the attempt and the number of the last line seen, such as `2.17`. Once there is
    no further page, ask again with those of the last line to get what has been logged since."""


class RunShape(Shape):
    """One execution of a job."""

    attempt: int | None
    """Null where the job ended while it waited."""
    outcome: str
    """completed, failed, timeout, crashed, lost, released, snoozed or cancelled."""
    final: bool
    """Whether the job ended with it."""
    started_at: datetime | None
    finished_at: datetime
    worker_id: int | None
    executor: int | None
    error_type: str | None
    error: str | None
    traceback: str | None
    cpu_seconds: float | None
    """Time of processors; known where the attempt had its process to itself and that lived on."""
    peak_rss_bytes: int | None
    """The most memory that its process held."""


class LogShape(Shape):
    """A line that an attempt logged."""

    attempt: int
    line: int
    """Its number within the attempt."""
    logged_at: datetime
    level: str
    """debug, info, warning, error or critical."""
    message: str


class ReasonShape(Shape):
    """Why a job waits, runs or has ended as it did."""

    position: int
    """1 matters most."""
    code: str
    """A word for programs."""
    blocking: bool
    """Whether this alone keeps the job from being claimed now."""
    text: str
    """A sentence for people."""
    details: dict[str, Any]
    """What the sentence says, in values."""


class AftermathShape(Shape):
    """What came of a job beyond its end. All is null where nothing did, and while it lives."""

    model_config = ConfigDict(title="Aftermath", use_attribute_docstrings=True)

    copy_id: int | None
    """The copy that went to a dead letter queue."""
    resolved_at: datetime | None
    resolved_by: str | None
    note: str | None


@section.get("/jobs/{id}/runs", answer=Page[RunShape], aliases=("/tasks/{id}/runs",))
def list_job_runs(connection: Connection, id: int, query: RunQuery) -> dict[str, Any]:
    """The runs of a job, oldest first."""
    with reading(connection):
        _require_job(connection, id)
        page = job_history.runs_page(connection, id, query.cursor, query.limit)
    return page_as_json([shown(record_as_json(run)) for run in page.runs], page.next_cursor)


@section.get("/jobs/{id}/logs", answer=Page[LogShape], aliases=("/tasks/{id}/logs",))
def list_job_logs(connection: Connection, id: int, query: LogQuery) -> dict[str, Any]:
    """The log lines of a job, oldest first."""
    attempt, line = map(int, query.cursor.split(".")) if query.cursor else (-1, -1)
    with reading(connection):
        _require_job(connection, id)
        page = job_history.logs_page(connection, id, attempt, line, query.limit)
    next_cursor = f"{page.lines[-1].attempt}.{page.lines[-1].line}" if page.more else None
    return page_as_json([shown(record_as_json(line)) for line in page.lines], next_cursor)


@section.get("/jobs/{id}/explain", answer=Page[ReasonShape], aliases=("/tasks/{id}/explain",))
def explain_job(connection: Connection, id: int) -> dict[str, Any]:
    """Why a job waits, runs or has ended as it did, what matters most first.

    A caller who may see only some queues is not told of others.
    """
    with reading(connection):
        reasons = listing.explain(connection, id)
        if reasons[0].code == NOT_FOUND and caller().queues is None:
            raise Problem(404, "job-not-found", reasons[0].text, {"job_id": id})
        _require_job(connection, id)
    return page_as_json([record_as_json(reason) for reason in reasons if _may_be_told(reason.details)])


@section.get("/jobs/{id}/aftermath", answer=AftermathShape, aliases=("/tasks/{id}/aftermath",))
def get_job_aftermath(connection: Connection, id: int) -> dict[str, Any]:
    """What came of a job beyond its end: its copy in a dead letter queue, and who has dealt with it."""
    with reading(connection):
        _require_job(connection, id)
        found = listing.read_aftermath(connection, id)
    return record_as_json(found)


def _require_job(connection: Connection, id: int) -> None:
    require_queue(jobs.read(connection, id).queue, JobNotFoundError(id))


def _may_be_told(details: dict[str, Any]) -> bool:
    named = [details.get("queue"), *(details.get("queues") or ())]
    return all(caller().sees(queue) for queue in named if isinstance(queue, str))
