"""Schedules: what recurs, when it is due, and what came of it. In paths, `id` is the number or the name of one.

The ETag of a schedule stands for what is set, not for what a scheduler writes: its state, error, next and last ticks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field

from pgtask.database import fleet
from pgtask.database import schedules as store
from pgtask.database.connection import Connection
from pgtask.model.errors import ScheduleNotFoundError
from pgtask.model.recurrence import Recurrence
from pgtask.model.schedule import Schedule, ScheduleRecord
from pgtask.model.serialise import instant_as_text, page_as_json, record_as_json
from pgtask.model.token import Scope
from pgtask.model.upcoming import upcoming_as_json, upcoming_from_now, upcoming_of

from ..conditional import require_match
from ..contract import Answer, Section
from ..fields import Instant, QueueName, TaskName, Text
from ..inputs import Query
from ..paging import Paged, page
from ..paths import path_to
from ..problems import Problem
from ..requests import caller, note, note_change, shown
from ..schedule_models import (
    NewSchedule,
    RanShape,
    Recurring,
    ScheduleChanges,
    ScheduleSettings,
    ScheduleShape,
    TickShape,
    UpcomingShape,
)
from ..shapes import Page

section = Section("schedules", "Recurring jobs: when they are due, what came of them, changing, pausing.")

_VOLATILE = {"state", "error", "next_tick_at", "last_tick_at"}
_SETTINGS = [name for name in Schedule.__dataclass_fields__ if name != "name"]


class SchedulesQuery(Paged):
    """Which schedules."""

    cursor: Annotated[Text | None, Field(min_length=1, max_length=200)] = None
    search: Annotated[Text | None, Field(max_length=200)] = None
    """Part of the name."""
    state: Literal["active", "paused", "orphaned", "broken", "over"] | None = None
    source: Literal["code", "runtime"] | None = None
    task: TaskName | None = None
    queue: QueueName | None = None
    """Where its jobs go, by itself or by its task."""


class TicksQuery(Query):
    """Which ticks."""

    limit: int = Field(50, ge=1, le=1000)
    """Ticks of a page, at most."""
    cursor: Instant | None = None


class PreviewQuery(Query):
    """How many ticks."""

    limit: int = Field(10, ge=1, le=100)


@section.post("/schedules", scope=Scope.OPERATE, answer=ScheduleShape, status=201, problems={409})
def create_schedule(connection: Connection, body: NewSchedule) -> Answer:
    """Create a schedule. Nothing is enqueued for the time before."""
    values = body.values()
    _require_own(connection, body.queue, body.task)
    store.create_schedule(connection, Schedule(**values | {"tags": tuple(body.tags)}))
    made = store.read_schedule(connection, body.name)
    note(made.name, after=_settings(made))
    return _answer(made, {"Location": path_to("schedules", made.id)})


@section.get("/schedules", answer=Page[ScheduleShape])
def list_schedules(connection: Connection, query: SchedulesQuery) -> dict[str, Any]:
    """List schedules by name."""
    queue_of = _queues(connection)
    found = [
        schedule
        for schedule in store.list_schedules(connection)
        if caller().sees(queue := queue_of(schedule.queue, schedule.task))
        and query.queue in (None, queue)
        and query.task in (None, schedule.task)
        and query.state in (None, schedule.state)
        and query.source in (None, schedule.source)
        and (query.search or "").lower() in schedule.name.lower()
    ]
    return page(
        found,
        query,
        place=lambda schedule: schedule.name,
        after=query.cursor,
        cursor=lambda schedule: schedule.name,
        show=lambda schedule: shown(record_as_json(schedule)),
    )


@section.post("/schedules/preview", scope=Scope.READ, answer=Page[UpcomingShape], audited=False)
def preview_expression(body: Recurring) -> dict[str, Any]:
    """Show when an expression is due next. It changes nothing; ticks at which clocks change are marked."""
    recurrence = Recurrence.parse(body.expression, body.timezone, body.seconds)
    return page_as_json(upcoming_as_json(upcoming_from_now(recurrence, body.limit)))


@section.get("/schedules/{id}", answer=ScheduleShape)
def get_schedule(connection: Connection, id: str) -> Answer:
    """One schedule, by its number or its name. Its ETag stands for what is set, not for its ticks."""
    return _answer(_seen(connection, id, store.find_schedule))


@section.put("/schedules/{id}", scope=Scope.OPERATE, answer=ScheduleShape, problems={409, 412})
def replace_schedule(connection: Connection, id: str, body: ScheduleSettings) -> Answer:
    """Replace what a schedule is to do.

    What is not given goes back to its default, and nothing is enqueued for the past. With If-Match it must be as it was
    when it was read. For one that is declared in code this holds until that declaration changes.
    """
    return _change(connection, id, body.values())


@section.patch("/schedules/{id}", scope=Scope.OPERATE, answer=ScheduleShape, problems={409, 412})
def change_schedule(connection: Connection, id: str, body: ScheduleChanges) -> Answer:
    """Change what a schedule is to do.

    What is not given stays; null takes a value back. Otherwise as PUT.
    """
    return _change(connection, id, body.values())


@section.delete("/schedules/{id}", scope=Scope.OPERATE, problems={409, 412})
def delete_schedule(connection: Connection, id: str) -> None:
    """Delete a schedule; its jobs stay.

    Refused for one that is declared in code: it would come back. With If-Match it must be as it was when it was read.
    """
    before = _seen(connection, id, store.lock_schedule)
    require_match(_tagged(before))
    store.delete_schedule(connection, before.name)
    note(before.name, before=_settings(before))


@section.post("/schedules/{id}/pause", scope=Scope.OPERATE, answer=ScheduleShape)
def pause_schedule(connection: Connection, id: str) -> Answer:
    """Pause a schedule.

    It stays so across deployments, and nothing accumulates meanwhile. One that is paused stays as it is.
    """
    before = _seen(connection, id, store.lock_schedule)
    if before.paused_at is None:
        store.pause_schedules(connection, [before.name], caller().name)
    return _switched(connection, before)


@section.post("/schedules/{id}/resume", scope=Scope.OPERATE, answer=ScheduleShape)
def resume_schedule(connection: Connection, id: str) -> Answer:
    """Resume a schedule from now on. One that is not paused stays as it is."""
    before = _seen(connection, id, store.lock_schedule)
    if before.paused_at is not None:
        store.resume_schedules(connection, [before.name])
    return _switched(connection, before)


@section.post("/schedules/{id}/run", scope=Scope.OPERATE, answer=RanShape, status=201)
def run_schedule(connection: Connection, id: str) -> Answer:
    """Enqueue a job of a schedule now, outside of its ticks."""
    schedule = _seen(connection, id, store.lock_schedule)
    job_id = store.run_schedule(connection, schedule.name)
    note(schedule.name, job_id=job_id)
    return Answer({"name": schedule.name, "job_id": job_id}, headers={"Location": path_to("jobs", job_id)})


@section.get("/schedules/{id}/ticks", answer=Page[TickShape])
def list_schedule_ticks(connection: Connection, id: str, query: TicksQuery) -> dict[str, Any]:
    """The ticks of a schedule that were seen to, newest first, with what came of their jobs."""
    schedule = _seen(connection, id, store.find_schedule)
    found = store.list_ticks(connection, schedule.id, query.limit + 1, query.cursor)
    ticks = found[: query.limit]
    more = len(found) > len(ticks)
    return page_as_json([record_as_json(tick) for tick in ticks], instant_as_text(ticks[-1].tick_at) if more else None)


@section.get("/schedules/{id}/preview", answer=Page[UpcomingShape], problems={422})
def preview_schedule(connection: Connection, id: str, query: PreviewQuery) -> dict[str, Any]:
    """Show when a schedule is due next, as if it were active. Ticks at which clocks change are marked."""
    schedule = _seen(connection, id, store.find_schedule)
    return page_as_json(upcoming_as_json(upcoming_of(schedule, query.limit)))


def _change(connection: Connection, key: str, changes: dict[str, Any]) -> Answer:
    before = _seen(connection, key, store.lock_schedule)
    require_match(_tagged(before))
    _require_own(connection, changes.get("queue", before.queue), changes.get("task", before.task))
    if "expression" in changes:
        changes["expression"] = changes["expression"].strip()
    if changes:
        store.set_schedule(connection, before.name, changes)
    after = store.read_schedule(connection, before.name)
    note_change(after.name, _settings(before), _settings(after))
    return _answer(after)


def _switched(connection: Connection, before: ScheduleRecord) -> Answer:
    after = store.read_schedule(connection, before.name)
    note_change(after.name, _pausing(before), _pausing(after))
    return _answer(after)


def _answer(schedule: ScheduleRecord, headers: dict[str, str] | None = None) -> Answer:
    return Answer(shown(record_as_json(schedule)), headers=headers or {}, tagged=_tagged(schedule))


def _tagged(schedule: ScheduleRecord) -> dict[str, Any]:
    return {name: value for name, value in record_as_json(schedule).items() if name not in _VOLATILE}


def _settings(schedule: ScheduleRecord) -> dict[str, Any]:
    values = record_as_json(schedule)
    return {name: values[name] for name in _SETTINGS}


def _pausing(schedule: ScheduleRecord) -> dict[str, Any]:
    values = record_as_json(schedule)
    return {name: values[name] for name in ("paused_at", "paused_by")}


def _seen(connection: Connection, key: str, read: Callable[[Connection, str], ScheduleRecord]) -> ScheduleRecord:
    """The schedule, if its jobs go to a queue that is the caller's; else it is not there."""
    if caller().queues is None:
        return read(connection, key)
    try:
        found = read(connection, key)
    except ScheduleNotFoundError:
        raise ScheduleNotFoundError(key, ()) from None
    if not caller().sees(_queues(connection)(found.queue, found.task)):
        raise ScheduleNotFoundError(key, ())
    return found


def _require_own(connection: Connection, queue: str | None, task: str) -> None:
    if caller().queues is not None and not caller().sees(goes_to := _queues(connection)(queue, task)):
        detail = f"This token is limited to some queues, and the jobs of this schedule would go to '{goes_to}'."
        raise Problem(403, "limited-token", detail)


def _queues(connection: Connection) -> Callable[[str | None, str], str]:
    """Tells where the jobs of a schedule go that names this queue, or none, and this task."""
    defaults = {task.name: task.queue for task in fleet.list_tasks(connection)}
    return lambda queue, task: queue or defaults.get(task, "default")
