"""Records from the JSON that the API answers with: the way back of pgtask.model.serialise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from pgtask.model.event import JobEvent
from pgtask.model.fleet import WorkerRecord
from pgtask.model.overview import Overview
from pgtask.model.queue import QueueRecord
from pgtask.model.statistics import Bucket, Statistics, Tally

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")


def record(kind: type[Record], content: Mapping[str, Any]) -> Record:
    """A flat record; keys that this version does not know are left out."""
    times, names = _fields(kind)
    values = {name: content[name] for name in names if name in content}
    for name in times:
        if values.get(name) is not None:
            values[name] = datetime.fromisoformat(values[name])
    return kind(**values)


def statistics(content: Mapping[str, Any]) -> Statistics:
    """Statistics, without the rates and averages that follow from them."""
    return Statistics(
        window=content["window_seconds"],
        total=record(Tally, content["total"]),
        by_queue={name: record(Tally, tally) for name, tally in content["by_queue"].items()},
        by_task={name: record(Tally, tally) for name, tally in content["by_task"].items()},
        timeline=[record(Bucket, bucket) for bucket in content["timeline"]],
    )


def event(content: Mapping[str, Any]) -> JobEvent:
    """What happened to a job."""
    return record(JobEvent, {**content, "seconds": content["run_seconds"]})


def overview(content: Mapping[str, Any]) -> Overview:
    """How things stand."""
    return Overview(
        at=datetime.fromisoformat(content["at"]),
        queues=[record(QueueRecord, queue) for queue in content["queues"]],
        workers=[record(WorkerRecord, worker) for worker in content["workers"]],
        statistics=statistics(content["statistics"]),
        running=[event(found) for found in content["running"]],
        failures=[event(found) for found in content["failures"]],
    )


@cache
def _fields(kind: type[Any]) -> tuple[list[str], list[str]]:
    """Which fields are instants, and all fields."""
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    return [name for name in names if datetime in (hints[name], *get_args(hints[name]))], names
