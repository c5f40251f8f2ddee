"""Records as the JSON that the API answers with and `--json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from pgtask.model.job import JobRecord
from pgtask.model.queue import QueueRecord
from pgtask.model.statistics import Statistics, Tally

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_JOB_FIRST = (
    *("id", "task", "type", "queue", "payload", "priority", "status", "progress", "attempt"),
    *("retry_count", "max_retries", "created_at", "scheduled_at", "started_at", "finished_at"),
    *("result", "error"),
)


def instant_as_text(instant: datetime) -> str:
    """An instant as RFC 3339 in UTC, with Z."""
    return instant.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def record_as_json(record: DataclassInstance) -> dict[str, Any]:
    """The fields of a flat record, with instants as text."""
    values = ((name, getattr(record, name)) for name in _names(type(record)))
    return {name: instant_as_text(value) if isinstance(value, datetime) else value for name, value in values}


@cache
def _names(kind: type[DataclassInstance]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def job_as_json(record: JobRecord) -> dict[str, Any]:
    """A job, the fields that matter most first; `type` is a synonym of `task`."""
    values = record_as_json(record) | {"type": record.task}
    return {name: values.pop(name) for name in _JOB_FIRST} | values


def page_as_json(items: Sequence[Any], next_cursor: str | None = None) -> dict[str, Any]:
    """A page of a list; `next_cursor` is None on the last one."""
    return {"items": list(items), "next_cursor": next_cursor}


def tally_as_json(tally: Tally, seconds: float) -> dict[str, Any]:
    """A tally over so many seconds, with the rates and averages that follow from it."""
    return record_as_json(tally) | {
        "attempts": tally.attempts,
        "attempts_per_second": tally.attempts / seconds,
        "error_rate": tally.error_rate,
        "average_run_seconds": tally.average_run,
        "average_wait_seconds": tally.average_wait,
    }


def statistics_as_json(statistics: Statistics) -> dict[str, Any]:
    """Statistics with the rates and averages that follow from them."""

    def tallies(of: dict[str, Tally]) -> dict[str, Any]:
        return {name: tally_as_json(tally, statistics.window) for name, tally in of.items()}

    return {
        "window_seconds": statistics.window,
        "total": tally_as_json(statistics.total, statistics.window),
        "by_queue": tallies(statistics.by_queue),
        "by_task": tallies(statistics.by_task),
        "timeline": [record_as_json(bucket) for bucket in statistics.timeline],
    }


def queue_statistics_as_json(queue: QueueRecord, statistics: Statistics) -> dict[str, Any]:
    """A queue with the statistics of its jobs, and how long what is due takes at their pace."""
    tally = statistics.total
    return record_as_json(queue) | {
        "statistics": statistics_as_json(statistics),
        "drain_seconds": queue.drained_in((tally.completed + tally.failed) / statistics.window),
    }
