"""Workers as operators see them: who runs jobs, what each runs now, and stopping them.

A token that is limited to some queues sees the workers that serve one of them, and of each only those queues and their
jobs.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from pgtask.database import fleet, listing
from pgtask.database.connection import Connection
from pgtask.model.errors import WorkerNotFoundError
from pgtask.model.fleet import ENDED_WITHIN, WorkerRecord
from pgtask.model.serialise import job_as_json, record_as_json
from pgtask.model.token import Scope

from ..contract import Section
from ..fields import Duration, QueueName
from ..fleet_models import WorkerShape, WorkerWithJobs
from ..paging import Paged, page
from ..requests import caller, note_change, require_all_queues, shown
from ..shapes import Page

section = Section("workers", "Who runs jobs.")

JOBS = 1000
"""Running jobs of a worker that are looked at."""

_LARGEST = 2**31 - 1


class WorkersQuery(Paged):
    """Which workers."""

    cursor: Annotated[str | None, Field(pattern=r"^(live|ended)\.[0-9]{1,10}$")] = None
    live: bool | None = None
    """Whether they may run jobs: neither stopped, dead nor lost."""
    queue: QueueName | None = None
    """One that they serve."""
    ended_within: Duration = ENDED_WITHIN
    """Those that ended longer ago are left out."""

    @property
    def after(self) -> tuple[bool, int] | None:
        """The place where the page before ended."""
        if self.cursor is None:
            return None
        state, _, id = self.cursor.partition(".")
        return state == "ended", -int(id)


@section.get("/workers", answer=Page[WorkerShape])
def list_workers(connection: Connection, query: WorkersQuery) -> dict[str, Any]:
    """List workers, the live ones first, and the latest started first."""
    found = [
        worker
        for worker in map(_seen, fleet.list_workers(connection, ended_within=query.ended_within))
        if worker is not None
        and query.live in (None, worker.live)
        and (query.queue is None or worker.queues is None or query.queue in worker.queues)
    ]
    return page(
        found,
        query,
        place=lambda worker: (worker.dead_at is not None, -worker.id),
        after=query.after,
        cursor=lambda worker: f"{'live' if worker.dead_at is None else 'ended'}.{worker.id}",
        show=record_as_json,
    )


@section.get("/workers/{id}", answer=WorkerWithJobs)
def get_worker(connection: Connection, id: int) -> dict[str, Any]:
    """One worker, and the latest of the jobs that it runs."""
    worker = _read(connection, id)
    running = [] if worker.dead_at else listing.running_on(connection, id, JOBS)
    own = [shown(job_as_json(job)) for job in running if caller().sees(job.queue)]
    return record_as_json(worker) | {"jobs": own[:50]}


@section.post("/workers/{id}/stop", scope=Scope.OPERATE, answer=WorkerShape)
def stop_worker(connection: Connection, id: int) -> dict[str, Any]:
    """Ask a worker to shut down.

    It takes no more jobs and finishes its own within its grace period. One that has ended stays as it is.
    """
    before = _read(connection, id)
    whole = fleet.read_worker(connection, id)
    if whole.queues is None or before.queues != whole.queues:
        require_all_queues()
    fleet.stop_workers(connection, [id])
    after = _read(connection, id)
    note_change(str(id), record_as_json(before), {"state": after.state})
    return record_as_json(after)


def _read(connection: Connection, id: int) -> WorkerRecord:
    found = _seen(fleet.read_worker(connection, id)) if id <= _LARGEST else None
    if found is None:
        raise WorkerNotFoundError(id)
    return found


def _seen(worker: WorkerRecord) -> WorkerRecord | None:
    own = caller().queues
    return worker if own is None else worker.seen_from(own)
