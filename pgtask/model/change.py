"""Changes of running jobs, queues and workers, told as they are noticed: other than the feed, some may be missed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """A job under way."""

    id: int
    task: str
    queue: str
    attempt: int
    worker_id: int | None
    progress: int | None
    message: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedQueue:
    """A stored queue; `version` is another one after each change of its settings."""

    name: str
    paused: bool
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedWorker:
    """A worker; `state` as in a list of workers."""

    id: int
    name: str
    state: str
    running: int
    slots: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How things stand, by what identifies each."""

    jobs: dict[tuple[int, int], RunningJob]
    queues: dict[str, WatchedQueue]
    workers: dict[int, WatchedWorker]


@dataclass(frozen=True, slots=True)
class Change:
    """Something that differs between two snapshots: job.started, job.progress, queue.changed or worker.changed."""

    event: str
    about: RunningJob | WatchedQueue | WatchedWorker

    @property
    def topic(self) -> str:
        """jobs, queues or workers."""
        return self.event.partition(".")[0] + "s"


def changes(before: Snapshot, after: Snapshot) -> Iterator[Change]:
    """What has changed between two looks."""
    for key, job in after.jobs.items():
        known = before.jobs.get(key)
        if known is None:
            yield Change("job.started", job)
        if (job.progress, job.message) != ((known.progress, known.message) if known else (None, None)):
            yield Change("job.progress", job)
    for name in before.queues | after.queues:
        queue = after.queues.get(name)
        if queue != before.queues.get(name):
            # One that is stored no longer has the settings of any other.
            yield Change("queue.changed", queue or WatchedQueue(name=name, paused=False, version=""))
    for id, worker in after.workers.items():
        if worker != before.workers.get(id):
            yield Change("worker.changed", worker)


def change_as_json(change: Change) -> dict[str, Any]:
    """A change as one object."""
    values = asdict(change.about)
    values.pop("version", None)
    return {"event": change.event} | values
