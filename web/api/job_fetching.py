"""Workers over HTTP: taking jobs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from flask import Response
from pydantic import Field

from pgtask.database.claims import ClaimedRow
from pgtask.database.remote import Briefing
from pgtask.model.serialise import instant_as_text
from pgtask.model.token import Scope

from ..contract import Answer, Section
from ..fields import WHOLE
from ..inputs import JSON, Body
from ..problems import Problem
from ..serving import Short, TaskName, WorkerId, counter, live_worker, within
from ..shapes import Shape

section = Section("job fetching", "How workers over HTTP take jobs.")

AGAIN = 1.0
"""Seconds after which a worker that could not wait here may fetch again."""


class Fetch(Body):
    """What a worker takes now."""

    worker_id: WorkerId
    limit: Annotated[int, Field(ge=1, le=1000), WHOLE] = 1
    """Jobs at most."""
    queues: list[Short] | None = Field(None, min_length=1, max_length=1000)
    """Of those that it serves; null is all."""
    tasks: list[TaskName] | None = Field(None, min_length=1, max_length=1000)
    """Of those that it registered; null is all."""
    wait: float = Field(0.0, ge=0, le=30)
    """Seconds to wait for the first job."""


class FetchedJobShape(Shape):
    """A job that the worker now runs, and its attempt."""

    id: int
    attempt: int
    """With the id it is a fencing token for other systems."""
    task: str
    queue: str
    priority: int
    payload: Any
    """The arguments, as they are stored."""
    timeout: float | None
    """Seconds that it may run. The worker sees to it."""
    deadline: datetime | None
    """When that is over, counted from now on."""
    retry_count: int
    max_retries: int
    """-1 is without limit."""
    scheduled_at: datetime
    tick_at: datetime | None
    """The tick of the schedule that it is for."""
    tags: list[str] | None
    traceparent: str | None
    cancel: bool
    """Whether it is to be cancelled already."""


class FetchedShape(Shape):
    """Jobs, best first."""

    jobs: list[FetchedJobShape]
    fetch_again_in: float
    """Seconds to wait before the next fetch, when there is a free slot."""
    stop: bool
    """Whether somebody asked the worker to shut down; there are no more jobs then."""


@section.post("/workers/fetch", scope=Scope.WORKER, answer=FetchedShape, problems={404, 409, 410}, audited=False)
def fetch_jobs(body: Fetch) -> Answer:
    """Take jobs to run.

    They come in the order, and within the limits, that hold for all workers. A fetch whose answer does not arrive costs
    nothing: a later heartbeat does not name its jobs, so they go back.
    """
    worker = live_worker(body.worker_id)
    if worker.expired:
        raise Problem(409, "lease-expired", f"The lease of worker {worker.id} has run out. Send a heartbeat first.")
    queues, tasks = _wanted(worker.queues, within(body.queues)), _wanted(worker.tasks, body.tasks)
    if worker.stopping or queues == [] or not tasks:
        return _fetched([], AGAIN, stop=worker.stopping)
    alone = body.limit == 1 and worker.slots == 1
    given, waited = counter().fetch(worker.id, body.limit, queues, tasks, body.wait, suspects=alone)
    return _fetched(given, 0.0 if given or (waited and body.wait >= AGAIN) else AGAIN, stop=False)


def _wanted(served: Sequence[str] | None, asked: Sequence[str] | None) -> list[str] | None:
    """What is served and asked for; None is all."""
    if served is None:
        return None if asked is None else list(asked)
    return [name for name in served if asked is None or name in asked]


def _fetched(given: Sequence[tuple[ClaimedRow, Briefing]], again_in: float, *, stop: bool) -> Answer:
    # The payloads go out as the database wrote them: a parser of ours would round their numbers.
    jobs = ",".join(f'{json.dumps(_job(row, briefing))[:-1]},"payload":{row[5]}}}' for row, briefing in given)
    text = f'{{"jobs":[{jobs}],"fetch_again_in":{again_in},"stop":{json.dumps(stop)}}}'
    return Answer(Response(text, content_type=JSON))


def _job(row: ClaimedRow, briefing: Briefing) -> dict[str, Any]:
    id, attempt, task, queue, priority, _, _, retry_count, scheduled_at, tick_at = row
    timeout = briefing.timeout
    deadline = None if timeout is None else briefing.started_at + timedelta(seconds=timeout)
    return {
        "id": id,
        "attempt": attempt,
        "task": task,
        "queue": queue,
        "priority": priority,
        "timeout": timeout,
        "deadline": deadline and instant_as_text(deadline),
        "retry_count": retry_count,
        "max_retries": briefing.max_retries,
        "scheduled_at": instant_as_text(scheduled_at),
        "tick_at": tick_at and instant_as_text(tick_at),
        "tags": briefing.tags,
        "traceparent": briefing.traceparent,
        "cancel": briefing.cancel,
    }
