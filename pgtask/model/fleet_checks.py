"""Whether all that waits will be run: workers, queues and tasks, as rules."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgtask.model.diagnosis import Check, listing, ok, problem, warning
from pgtask.model.fleet import WorkerRecord
from pgtask.model.queue import QueueRecord
from pgtask.model.wording import duration, plural

ELECTED_WITHIN = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownTask:
    """A task that no live worker knows, and the jobs of it that are due: at least so many."""

    task: str
    jobs: int
    oldest: float
    """Seconds that the oldest has been due."""


def alive(workers: Sequence[WorkerRecord]) -> list[WorkerRecord]:
    """Those whose lease holds and that run jobs: a scheduler alone has no slots."""
    return [worker for worker in workers if worker.state in {"running", "stopping"} and worker.slots]


def check_workers(workers: Sequence[WorkerRecord], waiting: int, now: datetime) -> Iterator[Check]:
    """`workers` are those that live, and those that ended lately; `waiting` the jobs that are due."""
    live = alive(workers)
    lost = [worker for worker in workers if worker.state == "lost"]
    dead = [worker for worker in workers if worker.state == "dead"]
    if live:
        slots = sum(worker.slots for worker in live)
        running = sum(worker.running for worker in live)
        yield ok("workers", f"{plural(len(live), 'worker')} alive, {running:,} of {plural(slots, 'slot')} in use")
    elif waiting:
        yield problem("workers", f"no worker is alive and {plural(waiting, 'job')} wait", "Start one: pgtask worker")
    else:
        yield warning("workers", "no worker is alive", "Start one: pgtask worker")
    if lost:
        yield problem(
            "lost workers",
            f"nothing heard from {listing(map(_named, lost))}: the jobs wait to be taken back",
            "See whether those processes and hosts live; a live worker takes the jobs back within its lease.",
        )
    if dead:
        yield warning(
            "dead workers",
            f"{listing(map(_named, dead))} died within the last hour, and the jobs were taken back",
            "See their logs: killed, out of memory, or cut off from the database for longer than the lease?",
        )
    settled = [worker for worker in live if now - worker.started_at > ELECTED_WITHIN]
    if settled and not any(worker.leader for worker in live):
        yield warning(
            "leader",
            "no worker leads, so statistics and upkeep stand still",
            "See the logs of the workers, and whether their role may write pgtask.leader.",
        )


def _named(worker: WorkerRecord) -> str:
    return f"{worker.name} (worker {worker.id})"


def check_queues(queues: Sequence[QueueRecord], now: datetime) -> Iterator[Check]:
    """Queues nobody serves, and paused ones in which jobs wait."""
    well = True
    unserved = [queue for queue in queues if queue.unserved and queue.paused_at is None]
    if unserved and any(queue.workers for queue in queues):
        well = False
        names = shlex.quote(",".join(queue.name for queue in unserved[:5]))
        yield problem(
            "queues",
            f"no worker serves {listing(_waiting(queue) for queue in unserved)}",
            f"Start one: pgtask worker --queues {names}",
        )
    for queue in queues:
        if queue.paused_at is not None and queue.pending + queue.retrying:
            well = False
            by = f" by {queue.paused_by}" if queue.paused_by else ""
            since = duration((now - queue.paused_at).total_seconds())
            yield warning(
                "queues",
                f"{_waiting(queue)} has been paused for {since}{by}",
                f"When the reason is gone: pgtask queues resume {shlex.quote(queue.name)}",
            )
    if well:
        yield ok(
            "queues", f"{plural(len(queues), 'queue')}, none is paused with jobs in it or without a worker it needs"
        )


def _waiting(queue: QueueRecord) -> str:
    return f"{queue.name} ({plural(queue.pending + queue.retrying + queue.scheduled, 'job')})"


def check_tasks(unknown: Sequence[UnknownTask], live_workers: int) -> Check:
    """Jobs that are due and whose task no live worker knows."""
    if not live_workers:
        return ok("tasks", "nothing to compare with while no worker is alive")
    if not unknown:
        return ok("tasks", "live workers know the task of every job looked at")
    named = (f"{row.task} ({plural(row.jobs, 'job')}, oldest {duration(int(row.oldest))})" for row in unknown)
    return problem(
        "tasks",
        f"no live worker knows {listing(named)}",
        "Deploy workers whose application has the task, or cancel: pgtask jobs cancel --task "
        + shlex.quote(unknown[0].task),
    )
