"""Actions on many jobs by their ids, each answered for itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from pgtask.database import bulk, dead_letters
from pgtask.database.connection import Connection
from pgtask.model.answer import Answer
from pgtask.model.rate import Rate
from pgtask.model.serialise import page_as_json
from pgtask.model.token import Scope

from ..contract import Section
from ..fields import Duration, JobId, Text
from ..inputs import Body
from ..queue_models import RateText
from ..requests import caller, note
from ..shapes import Page, Shape

section = Section("job sets", "Actions on up to 1,000 jobs by their ids. For all that a filter means: bulk operations.")


class Ids(Body):
    """Which jobs."""

    ids: Annotated[list[JobId], Field(min_length=1, max_length=1000)]


class IdsToResolve(Ids):
    """Which jobs, and what was done about them."""

    note: Annotated[Text, Field(max_length=1000)] | None = None


class IdsToRetry(Ids):
    """Which jobs, and how fast they come back."""

    rate: RateText | None = None
    """Have the jobs become due one by one at this rate, instead of at once."""
    delay: Duration | None = None
    """When the first of them is due; with it and no rate, all are."""


class AnswerShape(Shape):
    """What became of one job."""

    id: int
    answer: str | None
    """Null where there is no such job."""
    detail: str | None
    """Why it was refused."""


Answers = Page[AnswerShape]
Act = Callable[[Connection, Sequence[int]], list[Answer]]


def act(connection: Connection, ids: Sequence[int], function: Act) -> dict[str, Any]:
    """Does it to those of the jobs that the caller may see; to the caller the others are not there."""
    wanted = list(dict.fromkeys(ids))
    seen = bulk.seen(connection, wanted, caller().queues)
    done = {answer.id: _discreet(answer) for answer in (function(connection, seen) if seen else [])}
    answers = [done.get(id, Answer(id, None)) for id in wanted]
    note(",".join(map(str, wanted[:20])), jobs=len(wanted), ids=wanted)
    return page_as_json([answer._asdict() for answer in answers])


def _discreet(answer: Answer) -> Answer:
    """Names no job of a queue that the caller may not see."""
    if answer.answer == "held" and caller().queues is not None:
        return answer._replace(detail="Another job holds its unique key.")
    return answer


def retry(connection: Connection, body: IdsToRetry) -> dict[str, Any]:
    """Puts jobs back, at once or paced."""
    if body.rate is None and body.delay is None:
        return act(connection, body.ids, bulk.retry_jobs)
    rate = None if body.rate is None else Rate.parse(body.rate)
    return act(connection, body.ids, partial(bulk.retry_paced, rate=rate, delay=body.delay or 0.0))


@section.post("/jobs/cancel", scope=Scope.OPERATE, answer=Answers)
def cancel_jobs(connection: Connection, body: Ids) -> dict[str, Any]:
    """Cancel jobs by their ids.

    Answers: `cancelled`; `requested` for one that runs and was asked to stop; or the final status it had.
    """
    return act(connection, body.ids, bulk.cancel_jobs)


@section.post("/jobs/retry", scope=Scope.OPERATE, answer=Answers)
def retry_jobs(connection: Connection, body: IdsToRetry) -> dict[str, Any]:
    """Put ended jobs back with fresh retries, by their ids.

    Answers: `pending`; `completed` or `active` where there is nothing to retry; `held` where another job holds the
    unique key, as the detail says.
    """
    return retry(connection, body)


@section.post("/jobs/delete", scope=Scope.OPERATE, answer=Answers)
def delete_jobs(connection: Connection, body: Ids) -> dict[str, Any]:
    """Delete jobs with their runs and logs, by their ids.

    Answers: `deleted`; `running` for one that runs and was left alone.
    """
    return act(connection, body.ids, bulk.delete_jobs)


@section.post("/dead-letters/retry", scope=Scope.OPERATE, answer=Answers)
def retry_dead_letters(connection: Connection, body: IdsToRetry) -> dict[str, Any]:
    """Put dead letters back with fresh retries, by their ids. Answers as `retry_jobs`."""
    return retry(connection, body)


@section.post("/dead-letters/resolve", scope=Scope.OPERATE, answer=Answers)
def resolve_dead_letters(connection: Connection, body: IdsToResolve) -> dict[str, Any]:
    """Mark dead letters as dealt with, by their ids.

    Answers: `resolved`; `completed`, `cancelled` or `active` for one that is no dead letter.
    """

    def resolve(connection: Connection, ids: Sequence[int]) -> list[Answer]:
        return dead_letters.resolve_jobs(connection, ids, note=body.note, resolved_by=caller().name)

    return act(connection, body.ids, resolve)


@section.post("/dead-letters/unresolve", scope=Scope.OPERATE, answer=Answers)
def unresolve_dead_letters(connection: Connection, body: Ids) -> dict[str, Any]:
    """Make resolved jobs dead letters again, by their ids.

    Answers: `unresolved`, or the status of a job that has no resolution.
    """
    return act(connection, body.ids, dead_letters.unresolve_jobs)


@section.post("/dead-letters/delete", scope=Scope.OPERATE, answer=Answers)
def delete_dead_letters(connection: Connection, body: Ids) -> dict[str, Any]:
    """Delete dead letters with their runs and logs, by their ids.

    Answers: `deleted`; `completed`, `cancelled` or `active` for one that is no dead letter and was left alone.
    """
    return act(connection, body.ids, dead_letters.delete_jobs)
