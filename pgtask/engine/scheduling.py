"""Declaring schedules in code."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pgtask.engine.checks import Duration, checked_retries, checked_timeout
from pgtask.engine.task import Task
from pgtask.model.cron import Seconds
from pgtask.model.duration import parse_duration
from pgtask.model.errors import PayloadError, ScheduleError, TaskError
from pgtask.model.schedule import Schedule
from pgtask.model.status import parse_priority


def declared(
    task: Task[Any],
    expression: str,
    arguments: Mapping[str, Any],
    *,
    name: str | None = None,
    timezone: str = "UTC",
    seconds: Seconds | None = None,
    payload: Mapping[str, Any] | None = None,
    queue: str | None = None,
    priority: int | str | None = None,
    max_retries: int | None = None,
    timeout: Duration | None = None,
    tags: Iterable[str] = (),
    catchup: str = "one",
    catchup_limit: int = 100,
    catchup_max_age: Duration = "7d",
    overlap: str = "queue_one",
    jitter: Duration = 0.0,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
) -> Schedule:
    """The schedule that these options declare; the payload is `payload` or the `arguments`.

    Raises ScheduleError, PayloadError, and TaskError for what is no task.
    """
    if not isinstance(task, Task):
        raise TaskError(f"{task!r} is no task: put @schedule(…) above @task, not below.")
    chosen = task.name if name is None else name
    if payload is not None and arguments:
        raise ScheduleError(f"Schedule {chosen}: give payload=… or the arguments one by one, not both.")
    try:
        schedule = Schedule(
            name=chosen,
            expression=expression,
            task=task.name,
            payload=task.encode(arguments if payload is None else payload),
            timezone=timezone,
            seconds=seconds,
            queue=queue,
            priority=None if priority is None else parse_priority(priority),
            max_retries=None if max_retries is None else checked_retries(max_retries),
            timeout=None if timeout is None else checked_timeout(timeout),
            tags=tuple(tags),
            catchup=str(catchup),
            catchup_limit=catchup_limit,
            catchup_max_age=parse_duration(catchup_max_age),
            overlap=str(overlap),
            jitter=parse_duration(jitter),
            starts_at=starts_at,
            ends_at=ends_at,
        )
        schedule.check()
    except PayloadError as error:
        raise PayloadError(f"Schedule {chosen}: {error}") from None
    except (ScheduleError, ValueError) as error:
        raise ScheduleError(f"Schedule {chosen}: {error}") from None
    return schedule


_PARAMETERS = inspect.signature(declared).parameters.values()
OPTIONS = frozenset(parameter.name for parameter in _PARAMETERS if parameter.kind is parameter.KEYWORD_ONLY)
"""The names of the options; what else is given to `PgTask.schedule` is an argument of the task."""
