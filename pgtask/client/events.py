"""What happens, as the server tells it: Server-Sent Events, read line by line."""

from __future__ import annotations

import itertools
import json
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import Any

from pgtask.client.records import event, record
from pgtask.client.transport import Transport
from pgtask.model.change import Change, RunningJob, WatchedQueue, WatchedWorker
from pgtask.model.event import FeedEvent


class EventStream:
    """Events until the server ends the stream, after some minutes; `position` is where the next one goes on."""

    def __init__(self, transport: Transport, query: dict[str, Any], after: str | None) -> None:
        self.position = after
        self._transport = transport
        self._query = query

    def __iter__(self) -> Iterator[FeedEvent | Change]:
        return self.connect()

    def connect(self) -> Iterator[FeedEvent | Change]:
        """The events, once the server has begun to answer. Raises ServerUnavailableError, then and on the way."""
        lines = self._transport.lines("/events", self._query | {"after": self.position})
        first = next(lines, "")
        return self._events(first, lines)

    def _events(self, first: str, lines: Generator[str, None, None]) -> Iterator[FeedEvent | Change]:
        name, data = "", ""
        with closing(lines):
            for line in itertools.chain([first], lines):
                field, _, value = line.partition(": ")
                if field == "id":
                    self.position = value
                elif field == "event":
                    name = value
                elif field == "data":
                    data = value
                elif not line:
                    found = self._read(name, data)
                    name, data = "", ""
                    if found is not None:
                        yield found

    def _read(self, name: str, data: str) -> FeedEvent | Change | None:
        if not name:
            return None
        content = json.loads(data)
        if name == "job":
            return FeedEvent(content["position"], event(content))
        if name == "reset":
            return FeedEvent(content["position"], None, content["reason"])
        if name in {"job.started", "job.progress"}:
            return Change(name, record(RunningJob, content))
        if name == "queue.changed":
            return Change(name, record(WatchedQueue, {"version": "", **content}))
        # What a later version tells besides is left out.
        return Change(name, record(WatchedWorker, content)) if name == "worker.changed" else None


class EventCalls:
    """Events over REST."""

    _transport: Transport

    def stream_events(
        self,
        *,
        after: str | None = None,
        topics: Iterable[str] = ("jobs", "queues", "workers"),
        queue: str | None = None,
        task: str | None = None,
    ) -> EventStream:
        """What happens from a position of the feed on, None for now, of a queue, a task, or all.

        Ended attempts come as FeedEvent, none skipped; the rest as Change, noticed once a second. Iterating connects;
        when the stream ends, ask for another one after its `position`. Raises ServerUnavailableError, NotAllowedError.
        """
        return EventStream(self._transport, {"topics": ",".join(topics), "queue": queue, "task": task}, after)
