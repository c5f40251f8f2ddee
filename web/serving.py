"""Workers over HTTP, as the operations that serve them see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

from flask import current_app
from pydantic import Field

from pgtask.config import Settings
from pgtask.database.remote import RemoteWorker
from pgtask.database.remote_pool import RemotePool
from pgtask.engine import remote_workers
from pgtask.engine.counter import Counter
from pgtask.model.errors import QueueNotFoundError, WorkerGoneError, WorkerNotFoundError

from .fields import WHOLE, Text
from .requests import caller, require_queue

WorkerId = Annotated[int, Field(ge=1, le=2**31 - 1), WHOLE]
JobId = Annotated[int, Field(ge=1, le=2**63 - 1), WHOLE]
Attempt = Annotated[int, Field(ge=1, le=2**31 - 1), WHOLE]

Short = Annotated[Text, Field(min_length=1, max_length=128)]
TaskName = Annotated[Text, Field(min_length=1, max_length=256)]

NAME = "pgtask.counter"


def new_counter(settings: Settings, url: str) -> Counter:
    """The counter of this process; opens nothing before somebody comes."""
    pool = RemotePool(url, pooled=settings.pooled, most=min(4, settings.server_connections))
    # Waits for jobs' ends and streams hold a quarter of the threads each: some must be left for those who do not wait.
    return Counter(pool, settings.poll, listen=settings.listen, places=max(1, settings.server_threads * 3 // 8))


def counter() -> Counter:
    """The counter of the application at hand."""
    return cast("Counter", current_app.extensions[NAME])


def own_worker(worker_id: int) -> RemoteWorker:
    """A worker that the caller's token registered, dead ones too.

    Raises WorkerGoneError for one that is unknown, WorkerNotFoundError for one that is somebody else's.
    """
    worker = remote_workers.find(counter(), worker_id)
    if worker is None:
        raise WorkerGoneError(worker_id)
    if worker.token != caller().name:
        raise WorkerNotFoundError(worker_id)
    return worker


def live_worker(worker_id: int) -> RemoteWorker:
    """As `own_worker`; raises WorkerGoneError also for one that was declared dead or has left."""
    worker = own_worker(worker_id)
    if worker.dead:
        raise WorkerGoneError(worker_id)
    return worker


def within(queues: Sequence[str] | None) -> list[str] | None:
    """The queues that the caller may see, of these or (None) of all. Raises QueueNotFoundError."""
    own = caller().queues
    if queues is None:
        return None if own is None else sorted(own)
    for queue in queues:
        require_queue(queue, QueueNotFoundError(queue, ()))
    return sorted(set(queues))
