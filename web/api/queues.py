"""Queues: their settings, what is in them, and whether they are served.

The ETag of a queue stands for its settings and for whether it is paused, not for the counts of its jobs, so that a busy
queue can be changed with If-Match. A GET of it is never answered 304.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import Field

from pgtask.database import queues as store
from pgtask.database import statistics
from pgtask.database.connection import Connection
from pgtask.model.errors import QueueNotFoundError
from pgtask.model.queue import SETTINGS, QueueRecord
from pgtask.model.serialise import instant_as_text, queue_statistics_as_json, record_as_json
from pgtask.model.token import Scope

from ..conditional import require_match
from ..contract import Answer, Section
from ..fields import Text
from ..paging import Paged, page
from ..paths import path_to
from ..problems import Problem
from ..queue_models import NewQueue, QueueChanges, QueueSettings, QueueShape, QueueStatsShape
from ..requests import caller, note, note_change, require_queue
from ..shapes import Page
from ..statistics_models import Span

section = Section("queues", "Lanes of jobs: settings, limits, counts, pausing.")


class QueuesQuery(Paged):
    """Which queues."""

    cursor: Annotated[str | None, Field(pattern=r"^-?[0-9]{1,3}\.[^\u0000]{1,128}$")] = None
    search: Annotated[Text | None, Field(max_length=128)] = None
    """Part of the name."""
    paused: bool | None = None

    @property
    def after(self) -> tuple[int, str] | None:
        """The place where the page before ended."""
        if self.cursor is None:
            return None
        priority, _, name = self.cursor.partition(".")
        return -int(priority), name


@section.post("/queues", scope=Scope.OPERATE, answer=QueueShape, status=201, problems={409})
def create_queue(connection: Connection, body: NewQueue) -> Answer:
    """Create a queue.

    Jobs may be enqueued to any queue, created or not; what is created are its settings.
    """
    _require_own(body.name, body.dead_letter_queue)
    store.create_queue(connection, body.name, body.changes(SETTINGS))
    made = store.read_queue(connection, body.name)
    note(made.name, after=made.settings)
    return _answer(made, {"Location": path_to("queues", made.name)})


@section.get("/queues", answer=Page[QueueShape])
def list_queues(connection: Connection, query: QueuesQuery) -> dict[str, Any]:
    """List queues by priority and name, with what waits and runs in them."""
    found = [
        queue
        for queue in store.list_queues(connection)
        if caller().sees(queue.name)
        and (query.search or "").lower() in queue.name.lower()
        and query.paused in (None, queue.paused_at is not None)
    ]
    return page(
        found,
        query,
        place=lambda queue: (-queue.priority, queue.name),
        after=query.after,
        cursor=lambda queue: f"{queue.priority}.{queue.name}",
        show=record_as_json,
    )


@section.get("/queues/{name}", answer=QueueShape)
def get_queue(connection: Connection, name: str) -> Answer:
    """One queue. Its ETag stands for what is set, not for the counts."""
    with _seen(name):
        return _answer(store.read_queue(connection, name))


@section.put("/queues/{name}", scope=Scope.OPERATE, answer=QueueShape, problems={409, 412})
def replace_queue(connection: Connection, name: str, body: QueueSettings) -> Answer:
    """Replace the settings of a queue.

    What is not given goes back to its default. With If-Match it must be as it was when it was read.
    """
    return _change(connection, name, body, SETTINGS)


@section.patch("/queues/{name}", scope=Scope.OPERATE, answer=QueueShape, problems={409, 412})
def change_queue(connection: Connection, name: str, body: QueueChanges) -> Answer:
    """Change settings of a queue.

    What is not given stays; null takes a value back. With If-Match it must be as it was when it was read.
    """
    return _change(connection, name, body, body.model_fields_set)


@section.delete("/queues/{name}", scope=Scope.OPERATE, problems={409, 412})
def delete_queue(connection: Connection, name: str) -> None:
    """Delete the settings of a queue.

    Refused while it has jobs that have not ended. With If-Match it must be as it was when it was read.
    """
    with _seen(name):
        before = store.lock_queue(connection, name, store=False)
        require_match(_tagged(before))
        store.delete_queue(connection, name)
    note(name, before=before.settings)


@section.post("/queues/{name}/pause", scope=Scope.OPERATE, answer=QueueShape)
def pause_queue(connection: Connection, name: str) -> Answer:
    """Pause a queue.

    Nothing more is started, running jobs finish, and jobs may still be enqueued. One that is paused stays as it is.
    """
    with _seen(name):
        before = store.lock_queue(connection, name, store=True)
        store.pause_queues(connection, [name], caller().name)
        return _switched(connection, before)


@section.post("/queues/{name}/resume", scope=Scope.OPERATE, answer=QueueShape)
def resume_queue(connection: Connection, name: str) -> Answer:
    """Resume a queue. One that is not paused stays as it is."""
    with _seen(name):
        before = store.lock_queue(connection, name, store=False)
        store.resume_queues(connection, [name])
        return _switched(connection, before)


@section.get("/queues/{name}/stats", answer=QueueStatsShape)
def get_queue_stats(connection: Connection, name: str, query: Span) -> dict[str, Any]:
    """A queue, and what came of its jobs in a span of time."""
    with _seen(name):
        queue = store.read_queue(connection, name)
    span = query.chosen(statistics.current_instant(connection))
    found = statistics.read_statistics(connection, span, name, step=query.step)
    return queue_statistics_as_json(queue, found)


def _change(connection: Connection, name: str, body: QueueSettings, names: Iterable[str]) -> Answer:
    with _seen(name):
        before = store.lock_queue(connection, name, store=True)
        require_match(_tagged(before))
        changes = body.changes(names, before)
        if changes.get("dead_letter_queue") not in (None, before.dead_letter_queue):
            _require_own(name, changes["dead_letter_queue"])
        store.set_queue(connection, name, changes)
        after = store.read_queue(connection, name)
    note_change(name, before.settings, after.settings)
    return _answer(after)


def _switched(connection: Connection, before: QueueRecord) -> Answer:
    after = store.read_queue(connection, before.name)
    note_change(before.name, _tagged(before), _tagged(after))
    return _answer(after)


def _answer(queue: QueueRecord, headers: dict[str, str] | None = None) -> Answer:
    return Answer(record_as_json(queue), headers=headers or {}, tagged=_tagged(queue))


def _tagged(queue: QueueRecord) -> dict[str, Any]:
    paused_at = queue.paused_at and instant_as_text(queue.paused_at)
    return {"name": queue.name, **queue.settings, "paused_at": paused_at, "paused_by": queue.paused_by}


@contextmanager
def _seen(name: str) -> Iterator[None]:
    """Keeps a queue that is not the caller's, and what others are called, from being known."""
    require_queue(name, QueueNotFoundError(name, ()))
    try:
        yield
    except QueueNotFoundError:
        if caller().queues is None:
            raise
        raise QueueNotFoundError(name, ()) from None


def _require_own(*names: str | None) -> None:
    for name in names:
        if name is not None and not caller().sees(name):
            raise Problem(403, "limited-token", f"This token is limited to some queues, and '{name}' is none of them.")
