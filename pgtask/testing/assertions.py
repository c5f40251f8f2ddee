"""What was enqueued, in the database of an application or in its inline mode."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pgtask.engine.app import PgTask
from pgtask.engine.task import Task
from pgtask.model.job import JobRecord
from pgtask.model.job_filter import JobFilter
from pgtask.model.payload import encode
from pgtask.model.wording import plural
from pgtask.testing import inline_mode

_PAGE = 1000
_SHOWN = 10


def enqueued(
    of: PgTask | Task[Any], payload: Mapping[str, Any] | None = None, *, queue: str | None = None
) -> list[JobRecord]:
    """The jobs of an application or of one task, ended ones too, in the order in which they were enqueued.

    `payload` names arguments that must have these values; others do not matter. `queue` is the queue they must be in.
    What a transaction has not committed is not seen.
    """
    app, task = (of, None) if isinstance(of, PgTask) else (of.app, of.name)
    wanted: dict[str, Any] = json.loads(encode(payload or {}))
    return [
        job
        for job in _all_jobs(app)
        if task in (None, job.task) and queue in (None, job.queue) and _holds(job.payload, wanted)
    ]


def assert_enqueued(
    task: Task[Any],
    payload: Mapping[str, Any] | None = None,
    *,
    queue: str | None = None,
    count: int | None = None,
) -> list[JobRecord]:
    """Fails the test unless such jobs were enqueued: `count` of them, or at least one; returns them.

    Everything else as `enqueued`. Raises AssertionError, which shows the jobs of the task that there are.
    """
    __tracebackhide__ = True
    found = enqueued(task, payload, queue=queue)
    if len(found) == count or (count is None and found):
        return found
    raise AssertionError(_complaint(task, payload, queue, count, len(found)))


def _all_jobs(app: Any) -> list[JobRecord]:
    mode = inline_mode.active(app)
    if mode is not None:
        return mode.jobs
    from pgtask.database import listing

    found: list[JobRecord] = []
    with app.pool.connection() as connection:
        page = listing.list_jobs(connection, JobFilter(), limit=_PAGE)
        found += page.jobs
        while page.more:
            page = listing.list_jobs(connection, JobFilter(), before=found[-1].id, limit=_PAGE)
            found += page.jobs
    return found[::-1]


def _holds(payload: Any, wanted: dict[str, Any]) -> bool:
    if not wanted:
        return True
    return isinstance(payload, dict) and all(name in payload and payload[name] == wanted[name] for name in wanted)


def _complaint(
    task: Task[Any], payload: Mapping[str, Any] | None, queue: str | None, count: int | None, found: int
) -> str:
    asked = f"of {task.name}"
    if payload:
        asked += f" with {dict(payload)!r}"
    if queue is not None:
        asked += f" in queue {queue}"
    number = "at least one job" if count is None else plural(count, "job")
    there = enqueued(task)
    lines = [f"Expected {number} {asked}; found {found}."]
    if not there:
        others = sorted({job.task for job in _all_jobs(task.app)})
        lines.append(f"No job of this task was enqueued. There are jobs of: {', '.join(others) or 'no task'}.")
    else:
        lines.append(f"Jobs of this task ({len(there)}):")
        lines += [f"  job {job.id} in queue {job.queue}, {job.status}: {job.payload!r}" for job in there[:_SHOWN]]
        if len(there) > _SHOWN:
            lines.append(f"  and {len(there) - _SHOWN} more")
    return "\n".join(lines)
