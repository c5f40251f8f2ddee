"""Events as they happen, as a stream (Server-Sent Events)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from flask import Response, current_app, request
from pydantic import Field

from pgtask.database.pool import Pool
from pgtask.model.change import Change, RunningJob, WatchedQueue, change_as_json
from pgtask.model.errors import BusyError, DatabaseUnavailableError, TimeLimitError
from pgtask.model.event import POSITION, FeedEvent, feed_event_as_json
from pgtask.model.token import Principal

from ..broadcaster import Broadcaster, News, Subscription
from ..contract import Section
from ..fields import Listed, Text
from ..inputs import Query
from ..problems import Problem
from ..requests import caller
from ..shapes import EventStream

KEEP_ALIVE = 15.0
"""Seconds after which a stream without news says that it is alive."""

LONGEST = 300.0
"""Seconds after which a stream ends; clients come back by themselves."""

Topic = Literal["jobs", "queues", "workers"]

section = Section("events", "What happens, as it happens.")


class EventsQuery(Query):
    """What is to be told."""

    topics: Annotated[list[Topic], Listed, Field(min_length=1, default=["jobs", "queues", "workers"])]
    """jobs, queues, workers; several are separated by commas."""
    job_id: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    """Only of this job."""
    queue: Annotated[Text, Field(min_length=1, max_length=200)] | None = None
    """Only of this queue and its jobs."""
    task: Annotated[Text, Field(min_length=1, max_length=256)] | None = None
    """Only of jobs of this task."""
    after: Annotated[str, Field(pattern=POSITION)] | None = None
    """Where to go on: the `id` of the last event seen. The header Last-Event-ID says the same, and later."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What one stream tells."""

    query: EventsQuery
    principal: Principal

    def lets_pass(self, news: News) -> bool:
        """Whether the caller wants an event, and may see it."""
        if isinstance(news, Change):
            return self._change(news)
        if news.event is None:
            return True
        return "jobs" in self.query.topics and self._job(news.event)

    def _change(self, change: Change) -> bool:
        query, about = self.query, change.about
        if change.topic not in query.topics:
            return False
        if isinstance(about, RunningJob):
            return self._job(about)
        if query.job_id is not None or query.task is not None:
            return False
        if isinstance(about, WatchedQueue):
            return query.queue in (None, about.name) and self.principal.sees(about.name)
        # A worker serves many queues.
        return query.queue is None and self.principal.queues is None

    def _job(self, job: Any) -> bool:
        query = self.query
        return (
            query.job_id in (None, job.id)
            and query.queue in (None, job.queue)
            and query.task in (None, job.task)
            and self.principal.sees(job.queue)
        )


@section.get("/events", answer=EventStream, media_type="text/event-stream")
def stream_events(pool: Pool, query: EventsQuery) -> Response:  # noqa: ARG001 - it streams on its own
    """What happens to jobs, queues and workers, as Server-Sent Events.

    `job`: an attempt has ended. None is skipped: its `id` is a position, from which a client that comes back goes on.
    `reset`: that cannot be done, as the position is too old or of another database; read anew what you show.
    `job.started`, `job.progress`, `queue.changed`, `worker.changed`: noticed once a second, and missed if shorter.
    A stream ends after five minutes.
    """
    broadcaster: Broadcaster = current_app.extensions["pgtask.broadcaster"]
    if not broadcaster.admit():
        raise Problem(
            503, "too-many-streams", "This process serves as many streams as it may.", {}, {"Retry-After": "10"}
        )
    try:
        after = request.headers.get("Last-Event-ID") or query.after
        known = after is None or re.fullmatch(POSITION, after) is not None
        subscription = broadcaster.subscribe(after if known else None)
    except BaseException:
        broadcaster.release()
        raise
    sent = _stream(broadcaster, subscription, _Wanted(query, caller()), lost=not known)
    response = Response(sent, content_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
    response.call_on_close(broadcaster.release)
    return response


def _stream(broadcaster: Broadcaster, subscription: Subscription, wanted: _Wanted, *, lost: bool) -> Iterator[str]:
    deadline = time.monotonic() + LONGEST
    yield "retry: 2000\n\n"
    if lost:
        yield _written(FeedEvent(subscription.position, None, "This is no position of the feed."))
    while (left := deadline - time.monotonic()) > 0 and not broadcaster.closed:
        silent = True
        try:
            for news in subscription.news(min(KEEP_ALIVE, left)):
                if wanted.lets_pass(news):
                    silent = False
                    yield _written(news)
        except (DatabaseUnavailableError, BusyError, TimeLimitError):
            # The client's next request is told so, and comes until it is not.
            return
        if silent:
            # The position goes along: a client of a quiet queue is not to come back with one that has been pruned.
            yield f": alive\nid: {subscription.position}\n\n"


def _written(news: News) -> str:
    if isinstance(news, Change):
        return f"event: {news.event}\ndata: {_json(change_as_json(news))}\n\n"
    kind = "reset" if news.event is None else "job"
    return f"id: {news.position}\nevent: {kind}\ndata: {_json(feed_event_as_json(news))}\n\n"


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
