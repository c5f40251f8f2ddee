"""Task types: what workers have registered, at which rate it starts, and whether it is held.

A token that is limited to some queues sees the tasks whose jobs go there by default, and changes none: a rate and a
circuit hold for the jobs of a task in all queues.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from pgtask.database import fleet
from pgtask.database import tasks as store
from pgtask.database.connection import Connection
from pgtask.model.errors import TaskNotFoundError
from pgtask.model.fleet import TaskRecord
from pgtask.model.rate import Rate
from pgtask.model.serialise import record_as_json
from pgtask.model.token import Scope

from ..conditional import require_match
from ..contract import Answer, Section
from ..fields import QueueName, Text
from ..fleet_models import Opening, TaskRate, TaskTypeShape
from ..paging import Paged, page
from ..requests import caller, note_change, require_all_queues, require_queue
from ..shapes import Page

section = Section("task types", "What workers can run: defaults, payload schema, rates, circuits.")

_VOLATILE = {"last_seen_at", "live", "circuit", "next_probe_at", "probe_job_id", "error_rate"}
_RATE = ("rate_limit", "rate_period_seconds", "rate_burst", "rate_set_by")
_CIRCUIT = ("circuit", "circuit_changed_at", "circuit_changed_by", "circuit_reason", "next_probe_at")


class TaskTypesQuery(Paged):
    """Which tasks."""

    cursor: Annotated[Text | None, Field(min_length=1, max_length=256)] = None
    search: Annotated[Text | None, Field(max_length=256)] = None
    """Part of the name."""
    queue: QueueName | None = None
    """Where their jobs go by default."""
    live: bool | None = None
    """Whether some live worker may know them."""


@section.get("/task-types", answer=Page[TaskTypeShape])
def list_task_types(connection: Connection, query: TaskTypesQuery) -> dict[str, Any]:
    """List tasks by name, with their defaults, rates and circuits."""
    found = [
        task
        for task in fleet.list_tasks(connection)
        if caller().sees(task.queue)
        and query.queue in (None, task.queue)
        and query.live in (None, task.live)
        and (query.search or "").lower() in task.name.lower()
    ]
    return page(
        found,
        query,
        place=lambda task: task.name,
        after=query.cursor,
        cursor=lambda task: task.name,
        show=record_as_json,
    )


@section.get("/task-types/{name}", answer=TaskTypeShape)
def get_task_type(connection: Connection, name: str) -> Answer:
    """One task. Its ETag stands for its defaults and its rate, not for what changes by itself."""
    if caller().queues is None:
        return _answer(store.read_task(connection, name))
    missing = TaskNotFoundError(name, ())
    try:
        task = store.read_task(connection, name)
    except TaskNotFoundError:
        raise missing from None
    require_queue(task.queue, missing)
    return _answer(task)


@section.put("/task-types/{name}/rate-limit", scope=Scope.OPERATE, answer=TaskTypeShape, problems={412})
def set_task_rate(connection: Connection, name: str, body: TaskRate) -> Answer:
    """Set the rate of a task, which then holds across deployments.

    With If-Match (the ETag of the task) it must be as it was when it was read.
    """
    before = _locked(connection, name)
    rate = None if body.rate_limit is None else Rate.parse(body.rate_limit, body.rate_burst)
    store.set_rate(connection, name, rate, caller().name)
    return _changed(connection, before, _RATE)


@section.delete("/task-types/{name}/rate-limit", scope=Scope.OPERATE, problems={412})
def inherit_task_rate(connection: Connection, name: str) -> None:
    """Give a task the rate again that its code declares."""
    before = _locked(connection, name)
    store.inherit_rate(connection, name)
    _changed(connection, before, _RATE)


@section.post("/task-types/{name}/open", scope=Scope.OPERATE, answer=TaskTypeShape)
def open_task_circuit(connection: Connection, name: str, body: Opening) -> Answer:
    """Open a task's circuit, with a breaker or without.

    None of its jobs is started any more; they wait, uncharged, and running ones finish.
    """
    require_all_queues()
    before = store.lock_task(connection, name)
    store.open_circuit(connection, name, body.hold, body.reason, caller().name)
    return _changed(connection, before, _CIRCUIT)


@section.post("/task-types/{name}/close", scope=Scope.OPERATE, answer=TaskTypeShape)
def close_task_circuit(connection: Connection, name: str) -> Answer:
    """Close a task's circuit: its jobs start again."""
    require_all_queues()
    before = store.lock_task(connection, name)
    store.close_circuit(connection, name, caller().name)
    return _changed(connection, before, _CIRCUIT)


def _locked(connection: Connection, name: str) -> TaskRecord:
    require_all_queues()
    task = store.lock_task(connection, name)
    require_match(_tagged(task))
    return task


def _changed(connection: Connection, before: TaskRecord, names: tuple[str, ...]) -> Answer:
    after = store.read_task(connection, before.name)
    was, now = record_as_json(before), record_as_json(after)
    note_change(before.name, was, {name: now[name] for name in names})
    return _answer(after)


def _answer(task: TaskRecord) -> Answer:
    return Answer(record_as_json(task), tagged=_tagged(task))


def _tagged(task: TaskRecord) -> dict[str, Any]:
    return {
        name: value
        for name, value in record_as_json(task).items()
        if name not in _VOLATILE and not name.startswith("circuit_")
    }
