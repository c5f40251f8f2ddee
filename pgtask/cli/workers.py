"""`pgtask workers`: who runs jobs."""

from __future__ import annotations

import click

from pgtask.cli import parameters
from pgtask.cli.context import note, operations
from pgtask.cli.errors import DONE, NOT_FOUND
from pgtask.cli.job_views import JOB_COLUMNS
from pgtask.cli.output import (
    Column,
    json_option,
    on_terminal,
    print_fields,
    print_heading,
    print_json,
    print_plain,
    print_table,
    styled,
)
from pgtask.cli.text import brief, instant, relative, seconds_since, with_relative
from pgtask.model.fleet import ENDED_WITHIN, WorkerRecord
from pgtask.model.serialise import job_as_json, page_as_json, record_as_json
from pgtask.model.wording import DASH, duration, plural, size

STATE_STYLES = {
    "running": "green",
    "stopping": "yellow",
    "lost": "bold red",
    "dead": "red",
    "stopped": "dim",
}


@click.group()
def workers() -> None:
    """List, show and stop workers."""


def _up(worker: WorkerRecord) -> float:
    end = worker.dead_at
    if end is None:
        return seconds_since(worker.started_at)
    return (end - worker.started_at).total_seconds()


def cpu(worker: WorkerRecord) -> str:
    """The share of a core that it uses; a dash once it has ended."""
    return DASH if worker.cpu_percent is None or worker.dead_at else f"{worker.cpu_percent:.0f} %"


def memory(worker: WorkerRecord) -> str:
    """The memory that its processes hold; a dash once it has ended."""
    return DASH if worker.rss_bytes is None or worker.dead_at else size(worker.rss_bytes)


WORKER_COLUMNS: tuple[Column[WorkerRecord], ...] = (
    Column(title="ID", show=lambda worker: str(worker.id), right=True),
    Column(title="NAME", show=lambda worker: worker.name, shrinks=True),
    Column(
        title="STATE",
        show=lambda worker: worker.state,
        style=lambda worker: STATE_STYLES.get(worker.state, ""),
    ),
    Column(
        title="BUSY",
        show=lambda worker: DASH if worker.dead_at else f"{worker.running}/{worker.slots}",
        plain=lambda worker: worker.running,
        right=True,
    ),
    # On a screen they stand behind the busy ones.
    Column(title="SLOTS", show=lambda worker: "", plain=lambda worker: worker.slots),  # noqa: ARG005
    Column(
        title="QUEUES",
        show=lambda worker: ",".join(worker.queues) if worker.queues else "all",
        shrinks=True,
    ),
    Column(
        title="HEARD",
        show=lambda worker: relative(worker.heartbeat_at),
        plain=lambda worker: instant(worker.heartbeat_at),
    ),
    Column(
        title="UP",
        show=lambda worker: brief(_up(worker)),
        plain=lambda worker: instant(worker.started_at),
        right=True,
    ),
    Column(title="CPU", show=cpu, plain=lambda worker: worker.cpu_percent, right=True),
    Column(title="MEMORY", show=memory, plain=lambda worker: worker.rss_bytes, right=True),
    Column(title="HOST", show=lambda worker: worker.host, shrinks=True, wide=True),
    Column(title="PID", show=lambda worker: str(worker.pid), wide=True, right=True),
    Column(title="VERSION", show=lambda worker: worker.version, wide=True),
)


@workers.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that ended over an hour ago.")
@json_option
def list_workers(everything: bool, json_output: bool) -> None:
    """List workers, live or ended within the last hour.

    In a pipe the columns are: id, name, state, running jobs, slots, queues, last heartbeat, start,
    CPU per cent, bytes of memory, host, pid, version.
    """
    with operations() as doing:
        found = doing.list_workers(ended_within=None if everything else ENDED_WITHIN)
    if json_output:
        print_json(page_as_json([record_as_json(worker) for worker in found]))
        return
    print_table(found, WORKER_COLUMNS, empty="No worker is alive. Start one: pgtask worker")


@workers.command()
@click.argument("worker_id", type=parameters.worker_id, metavar="ID")
@json_option
def show(worker_id: int, json_output: bool) -> None:
    """Show a worker and the jobs that it runs."""
    with operations() as doing:
        worker, running = doing.show_worker(worker_id)
    if json_output:
        print_json(record_as_json(worker) | {"jobs": [job_as_json(job) for job in running]})
        return
    if not on_terminal():
        for name, value in record_as_json(worker).items():
            print_plain(name, ",".join(value) if isinstance(value, list) else value)
        for job in running:
            print_plain("job", job.id, job.task, job.queue, instant(job.started_at))
        return
    leads = ", leader" if worker.leader else ""
    click.echo(
        f"{styled(f'Worker {worker.id}', 'bold')}  {styled(worker.state, STATE_STYLES.get(worker.state, ''))}{leads}"
    )
    print_fields(_fields(worker))
    print_heading("Jobs")
    print_table(running, JOB_COLUMNS, empty="It runs no job.")


def _fields(worker: WorkerRecord) -> list[tuple[str, str]]:
    fields = [
        ("Name", worker.name),
        ("Host", f"{worker.host}, pid {worker.pid}"),
        ("Version", worker.version),
        ("Queues", ", ".join(worker.queues) if worker.queues else "all"),
        ("Slots", f"{worker.slots} in {plural(worker.executors, 'executor')}"),
        ("Lease", duration(worker.lease)),
        ("Started at", with_relative(worker.started_at)),
        ("Last heard", with_relative(worker.heartbeat_at)),
        ("Asked to stop", with_relative(worker.stopping_at)),
        ("Ended at", with_relative(worker.dead_at)),
        ("CPU", cpu(worker)),
        ("Memory", memory(worker)),
    ]
    return [(name, value) for name, value in fields if value != DASH]


@workers.command()
@click.argument("ids", type=parameters.worker_id, nargs=-1, required=True, metavar="ID...")
@json_option
def stop(ids: tuple[int, ...], json_output: bool) -> int:
    """Ask workers to shut down.

    They take no more jobs and finish theirs within their grace period.
    """
    with operations() as doing:
        asked = doing.stop_workers(ids)
    if json_output:
        items = [{"id": id, "asked": id in asked} for id in dict.fromkeys(ids)]
        print_json(page_as_json(items))
    else:
        for id in asked:
            if on_terminal():
                click.echo(f"Worker {id} was asked to stop. Watch it: pgtask workers show {id}")
            else:
                print_plain(id, "asked")
    missing = [id for id in dict.fromkeys(ids) if id not in asked]
    for id in missing:
        note(f"There is no live worker {id}.")
    return NOT_FOUND if missing else DONE
