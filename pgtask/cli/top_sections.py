"""What `pgtask top` lists: its sections, their columns, and what a row is known by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pgtask.cli.output import STATUS_STYLES, Column
from pgtask.cli.queue_views import counted, oldest, state
from pgtask.cli.statistics_views import TALLY_COLUMNS, rate
from pgtask.cli.text import brief, error_text, instant, relative
from pgtask.cli.workers import STATE_STYLES, cpu, memory
from pgtask.model.event import JobEvent
from pgtask.model.fleet import WorkerRecord
from pgtask.model.overview import Overview
from pgtask.model.queue import QueueRecord
from pgtask.model.statistics import Tally
from pgtask.model.wording import DASH

QueueRow = tuple[QueueRecord, float]
"""A queue and its attempts per second."""

WorkerRow = tuple[WorkerRecord, str]
"""A worker and what it runs, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A list of one kind of thing. `rows` takes the overview and the number of the order chosen."""

    title: str
    columns: Sequence[Column[Any]]
    rows: Callable[[Overview, int], Sequence[Any]]
    key: Callable[[Any], object]
    empty: str
    orders: tuple[str, ...] = ()


def _queues(overview: Overview, order: int) -> list[QueueRow]:  # noqa: ARG001
    statistics = overview.statistics
    return [(queue, statistics.rate(statistics.by_queue.get(queue.name, Tally()))) for queue in overview.queues]


def _workers(overview: Overview, order: int) -> list[WorkerRow]:  # noqa: ARG001
    jobs: dict[int | None, list[str]] = {}
    for job in overview.running:
        jobs.setdefault(job.worker_id, []).append(f"{job.task} {job.id}")
    return [(worker, ", ".join(jobs.get(worker.id, [])[:20])) for worker in overview.workers]


def _tasks(overview: Overview, order: int) -> list[Any]:
    rows = [(name, tally, overview.statistics) for name, tally in overview.statistics.by_task.items()]
    if order == 1:
        rows.sort(key=lambda row: -(row[1].average_run or 0))
    elif order == 2:
        rows.sort(key=lambda row: (-(row[1].error_rate or 0), -row[1].failed))
    return rows


_QUEUE_COLUMNS: tuple[Column[QueueRow], ...] = (
    Column(title="QUEUE", show=lambda row: row[0].name, shrinks=True),
    Column(
        title="STATE",
        show=lambda row: state(row[0]),
        plain=lambda row: "active" if row[0].paused_at is None else "paused",
        style=lambda row: "yellow" if row[0].paused_at else "",
    ),
    Column(title="PENDING", show=lambda row: counted(row[0], "pending"), plain=lambda row: row[0].pending, right=True),
    Column(title="RUNNING", show=lambda row: counted(row[0], "running"), plain=lambda row: row[0].running, right=True),
    Column(
        title="SCHEDULED",
        show=lambda row: counted(row[0], "scheduled"),
        plain=lambda row: row[0].scheduled,
        right=True,
    ),
    Column(
        title="RETRYING", show=lambda row: counted(row[0], "retrying"), plain=lambda row: row[0].retrying, right=True
    ),
    Column(
        title="OLDEST", show=lambda row: oldest(row[0]), plain=lambda row: instant(row[0].oldest_due_at), right=True
    ),
    Column(title="RATE", show=lambda row: rate(row[1]), plain=lambda row: f"{row[1]:.6g}", right=True),
    Column(
        title="WORKERS",
        show=lambda row: str(row[0].workers),
        style=lambda row: "bold red" if row[0].unserved else "",
        right=True,
        wide=True,
    ),
)

_WORKER_COLUMNS: tuple[Column[WorkerRow], ...] = (
    Column(title="ID", show=lambda row: str(row[0].id), right=True),
    Column(title="NAME", show=lambda row: row[0].name, shrinks=True),
    Column(title="STATE", show=lambda row: row[0].state, style=lambda row: STATE_STYLES.get(row[0].state, "")),
    Column(
        title="SLOTS",
        show=lambda row: DASH if row[0].dead_at else f"{row[0].running}/{row[0].slots}",
        plain=lambda row: f"{row[0].running}/{row[0].slots}",
        right=True,
    ),
    Column(title="CPU", show=lambda row: cpu(row[0]), plain=lambda row: row[0].cpu_percent, right=True),
    Column(title="MEMORY", show=lambda row: memory(row[0]), plain=lambda row: row[0].rss_bytes, right=True),
    Column(
        title="HEARD",
        show=lambda row: relative(row[0].heartbeat_at),
        plain=lambda row: instant(row[0].heartbeat_at),
        right=True,
        wide=True,
    ),
    Column(
        title="QUEUES",
        show=lambda row: ",".join(row[0].queues) if row[0].queues else "all",
        shrinks=True,
        wide=True,
    ),
    Column(title="RUNS", show=lambda row: row[1], shrinks=True),
)


def _job_columns(time_title: str, time: Callable[[JobEvent], str]) -> tuple[Column[JobEvent], ...]:
    return (
        Column(title="ID", show=lambda job: str(job.id), right=True),
        Column(title=time_title, show=time, plain=lambda job: instant(job.at), right=True),
        Column(title="TASK", show=lambda job: job.task, shrinks=True),
        Column(title="QUEUE", show=lambda job: job.queue, shrinks=True),
        Column(title="TRY", show=lambda job: str(job.attempt or DASH), plain=lambda job: job.attempt, right=True),
    )


def _worker(job: JobEvent) -> str:
    return DASH if job.worker_id is None else str(job.worker_id)


SECTIONS = (
    Section(
        title="Queues",
        columns=_QUEUE_COLUMNS,
        rows=_queues,
        key=lambda row: row[0].name,
        empty="No queues.",
    ),
    Section(
        title="Workers",
        columns=_WORKER_COLUMNS,
        rows=_workers,
        key=lambda row: row[0].id,
        empty="No worker is alive. Start one: pgtask worker",
    ),
    Section(
        title="Running",
        columns=(
            *_job_columns("FOR", lambda job: DASH if job.seconds is None else brief(job.seconds)),
            Column(title="WORKER", show=_worker, right=True),
        ),
        rows=lambda overview, order: overview.running,  # noqa: ARG005
        key=lambda job: job.id,
        empty="No job runs.",
    ),
    Section(
        title="Tasks",
        columns=TALLY_COLUMNS["task"],
        rows=_tasks,
        key=lambda row: row[0],
        empty="No attempt has ended in the last 30 m.",
        orders=("busiest first", "slowest first", "failing first"),
    ),
    Section(
        title="Failures",
        columns=(
            *_job_columns("WHEN", lambda job: relative(job.at)),
            Column(
                title="ERROR",
                show=lambda job: error_text(job.error_type, job.error) or job.outcome or "",
                style=lambda job: STATUS_STYLES.get(job.status, ""),
                shrinks=True,
            ),
        ),
        rows=lambda overview, order: overview.failures,  # noqa: ARG005
        key=lambda job: job.id,
        empty="No job has failed in the last 30 m.",
    ),
)
QUEUES, WORKERS, RUNNING, TASKS, FAILURES = range(len(SECTIONS))
