"""Following all jobs over REST."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pgtask.cli.context import note
from pgtask.cli.text import clean
from pgtask.model.change import Change, RunningJob
from pgtask.model.event import FeedEvent, JobEvent
from pgtask.model.job_filter import JobFilter, Names, several
from pgtask.model.status import JobStatus

if TYPE_CHECKING:
    from pgtask.client import Client


class Streamer:
    """Goes from stream to stream, each where the one before ended."""

    def __init__(self, wanted: JobFilter) -> None:
        """Raises UsageError for a filter that the server's streams do not know."""
        self._queue, self._task = _one(wanted.queue), _one(wanted.task)
        self._statuses = wanted.statuses
        if replace(wanted, queue=None, task=None, statuses=frozenset()):
            raise click.UsageError(
                "Over REST jobs can be followed by status, queue and task: for more, set PGTASK_DATABASE_URL."
            )
        self._after: str | None = None
        self._begun = False

    def look(self, client: Client, tell: Callable[[JobEvent], None]) -> None:
        """Tells what happens until a stream ends. Raises ServerUnavailableError."""
        stream = client.stream_events(after=self._after, topics=("jobs",), queue=self._queue, task=self._task)
        events = stream.connect()
        if not self._begun:
            note("Following jobs as they start and end; Ctrl-C ends it.")
            self._begun = True
        try:
            for found in self._job_events(events):
                tell(found)
        finally:
            self._after = stream.position

    def _job_events(self, events: Iterator[FeedEvent | Change]) -> Iterator[JobEvent]:
        for found in events:
            if isinstance(found, Change):
                event = _started(found)
            else:
                event = found.event
                if event is None:
                    note(f"Events are missing here. {clean(found.reason or '')}")
            if event is not None and (not self._statuses or JobStatus(event.status) in self._statuses):
                yield event


def _one(names: Names) -> str | None:
    """The one name, None for none."""
    found = several(names)
    if len(found) > 1 or any("*" in name for name in found):
        raise click.UsageError("Over REST jobs of one queue and one task can be followed, named in full.")
    return found[0] if found else None


def _started(change: Change) -> JobEvent | None:
    job = change.about
    if change.event != "job.started" or not isinstance(job, RunningJob):
        return None
    return JobEvent(
        at=datetime.now(UTC),
        id=job.id,
        task=job.task,
        queue=job.queue,
        attempt=job.attempt,
        status="running",
        outcome=None,
        seconds=None,
        worker_id=job.worker_id,
        error_type=None,
        error=None,
    )
