"""Enqueuing many jobs by COPY, which chooses their ids."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg

from pgtask.database import statements
from pgtask.model.job import NewJob

_RESERVE_IDS = statements.load("reserve_job_ids")
_COPY = statements.load("copy_jobs")
_INSTANT = statements.load("current_instant")


def copy(cursor: psycopg.Cursor[Any], job: NewJob, payloads: Sequence[str]) -> list[int]:
    """Enqueues a job for each payload, all with the same options; returns their ids in order."""
    cursor.execute(_RESERVE_IDS, {"count": len(payloads)})
    ids: list[int] = [row[0] for row in cursor]
    due = job.scheduled_at or _instant(cursor, job.delay or 0.0)
    start_by = _instant(cursor, job.expires) if job.start_by is None and job.expires is not None else job.start_by
    shared = (
        job.queue,
        job.priority,
        due,
        job.max_retries,
        job.retry_strategy,
        job.retry_delay,
        job.max_retry_delay,
        job.timeout,
        list(job.tags) or None,
        job.traceparent,
        job.concurrency_key,
        start_by,
    )
    tail = _line(shared)
    task = _line((job.task,))
    with cursor.copy(_COPY) as stream:
        for start in range(0, len(ids), 1000):
            lines = zip(ids[start : start + 1000], payloads[start : start + 1000], strict=True)
            stream.write("".join(f"{id}\t{task}\t{_text(text)}\t{tail}\n" for id, text in lines))
    return ids


def _instant(cursor: psycopg.Cursor[Any], delay: float) -> datetime | None:
    cursor.execute(_INSTANT, {"delay": delay})
    return (cursor.fetchone() or (None,))[0]


def _line(values: tuple[Any, ...]) -> str:
    return "\t".join("\\N" if value is None else _text(value) for value in values)


def _text(value: Any) -> str:
    if isinstance(value, list):
        quoted = (str(item).replace("\\", "\\\\").replace('"', '\\"') for item in value)
        value = "{" + ",".join(f'"{item}"' for item in quoted) + "}"
    text = str(value)
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
