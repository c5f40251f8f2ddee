"""`pgtask demo`: a worker at work on real files, its results checked."""

from __future__ import annotations

import os
import random
import secrets
import signal
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgtask.cli.context import database, note, settings
from pgtask.cli.demo_files import Found, find_files, read_file
from pgtask.cli.demo_views import Demonstration, as_json, print_demonstration
from pgtask.cli.errors import DONE, FAILED, USAGE
from pgtask.cli.output import json_option, print_json
from pgtask.cli.text import clean, first_line
from pgtask.model.errors import PgTaskError
from pgtask.model.wording import plural

if TYPE_CHECKING:
    from pgtask.config import Settings
    from pgtask.database.connection import Connection
    from pgtask.database.demonstration import Span
    from pgtask.engine.app import PgTask
    from pgtask.engine.child import WorkerProcess

QUEUE = "demo"
SAMPLE = 20
SINGLES = 50
LARGEST = 5
FALL_ASLEEP = 1.5
"""Seconds until a worker that has just been busy waits for notifications again."""
PAUSE = 0.02
LOOK_EVERY = 0.1
STALLED_AFTER = 20.0
"""Seconds in which nothing runs and nothing ends, after which something must be wrong."""


class UnusablePathError(click.ClickException):
    """There is nothing to work on where the user said."""

    exit_code = USAGE


class DemoError(PgTaskError):
    """The demonstration could not be brought to its end."""


@click.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@json_option
def demo(path: Path | None, json_output: bool) -> int:
    """See pgtask at work: a job for each file under PATH hashes it and counts its lines.

    PATH is Python's standard library unless given. Half of the jobs are enqueued by the Python API,
    half by INSERT; a worker runs them, and samples of its results are checked. Exit code 1 unless
    every job completed and every sample is right.
    """
    place = path or Path(sysconfig.get_path("stdlib"))
    found = _find(place)
    given = settings()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from pgtask.database import connection, migrations
    from pgtask.engine.app import PgTask

    with database(given, ready=False) as url:
        migrations.migrate(url)
        with (
            closing(connection.connect(url, application_name="pgtask demo", pooled=given.pooled)) as opened,
            PgTask(url) as app,
        ):
            result = _demonstrate(app, opened, given, place, found)
    if json_output:
        print_json(as_json(result))
    else:
        print_demonstration(result)
    for problem in result.problems:
        note(f"Error: {problem}")
    return FAILED if result.problems else DONE


def _find(place: Path) -> Found:
    if not place.exists():
        raise UnusablePathError(f"There is no {clean(str(place))}.")
    found = find_files(place)
    for number, why in ((found.undecodable, "their names are no text"), (found.unreadable, "they may not be read")):
        if number:
            note(f"{plural(number, 'file')} left out: {why}.")
    if not found.paths:
        raise UnusablePathError(f"There is no regular file to work on under {clean(str(place))}.")
    return found


def _demonstrate(app: PgTask, connection: Connection, given: Settings, place: Path, found: Found) -> Demonstration:
    from pgtask.database import demonstration

    tag = f"demo-{secrets.token_hex(4)}"
    with _worker(given) as worker:
        ids, span = _enqueue(app, connection, found.paths, tag)
        half = (len(ids) + 1) // 2
        note(f"{plural(len(ids), 'job')} enqueued: {half:,} by the Python API, {len(ids) - half:,} by INSERT.")
        try:
            _await_end(connection, span, worker, len(ids))
            pickups = _measure_pickup(app, connection, worker, tag)
        except (KeyboardInterrupt, PgTaskError):
            note(f"What has not ended waits in queue {QUEUE}. Cancel it: pgtask jobs cancel --tag {tag}")
            raise
    result = Demonstration(
        path=str(place),
        tag=tag,
        by_python=half,
        by_sql=len(ids) - half,
        totals=demonstration.sum_results(connection, span),
        largest=demonstration.largest_files(connection, span, LARGEST),
        pickups=pickups,
        checked=min(SAMPLE, len(ids)),
    )
    result.problems += _failures(connection, result)
    result.problems += _differences(app, random.sample(list(ids.items()), result.checked))
    return result


@contextmanager
def _worker(given: Settings) -> Iterator[WorkerProcess]:
    """A worker for the built-in tasks, on the same database, while the block runs."""
    from pgtask.engine.child import WorkerProcess
    from pgtask.engine.discovery import BUILT_IN

    # It reads the same configuration; what came from a flag it would not see.
    seen = {"PGTASK_HOME": str(given.home.absolute())}
    if given.database_url is not None:
        seen["PGTASK_DATABASE_URL"] = given.database_url
    worker = WorkerProcess(
        *("--app", BUILT_IN, "--queues", QUEUE, "--log-level", "warning"), environment=os.environ | seen
    )
    try:
        yield worker
    finally:
        worker.stop()


def _enqueue(app: PgTask, connection: Connection, paths: list[str], tag: str) -> tuple[dict[str, int], Span]:
    """Enqueues a job for each path, the first half by the Python API and the rest by INSERT; their ids by path."""
    from pgtask.builtin.file import file
    from pgtask.database import demonstration
    from pgtask.model.payload import encode

    task = app.task(name="file")(file).options(queue=QUEUE, max_retries=0, tags=[tag])
    payloads: list[dict[str, Any]] = [{"path": path, "operation": "all"} for path in paths]
    half = (len(paths) + 1) // 2
    ids = [job.id for job in task.enqueue_many(payloads[:half])]
    ids += demonstration.insert_file_jobs(connection, [encode(payload) for payload in payloads[half:]], QUEUE, tag)
    return dict(zip(paths, ids, strict=True)), demonstration.Span(tag, min(ids), max(ids))


def _await_end(connection: Connection, span: Span, worker: WorkerProcess, total: int) -> None:
    """Waits until all jobs have ended, showing how many. Raises DemoError when that is not to be expected any more."""
    from pgtask.database import demonstration

    with _progress("Running", total) as show:
        before, since = total, time.monotonic()
        while (now := demonstration.count_live(connection, span)).live:
            show(total - now.live)
            _check_worker(worker)
            if now.live != before or now.running:
                before, since = now.live, time.monotonic()
            elif time.monotonic() - since > STALLED_AFTER:
                raise DemoError(_why_stalled(connection, now.first))
            time.sleep(LOOK_EVERY)
        show(total)


@contextmanager
def _progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's stderr; call what it gives with the number done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TextColumn("jobs"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=total)
        yield lambda done: progress.update(bar, completed=done)


def _check_worker(worker: WorkerProcess) -> None:
    if not worker.running:
        raise DemoError(f"The worker has ended. The last that it said: {first_line(worker.log(1)) or 'nothing'}")


def _why_stalled(connection: Connection, job_id: int | None) -> str:
    from pgtask.database import listing

    why = ""
    if job_id is not None:
        why = f" {listing.explain(connection, job_id)[0].text.rstrip('.')}."
    return f"Nothing has run for {STALLED_AFTER:g} s.{why} Look into it: pgtask jobs explain {job_id}"


def _measure_pickup(app: PgTask, connection: Connection, worker: WorkerProcess, tag: str) -> list[float]:
    """Seconds from enqueue to start of single jobs, enqueued one after the other while the worker is idle."""
    from pgtask.builtin.echo import echo
    from pgtask.database import measuring

    task = app.task(name="echo")(echo).options(queue=QUEUE, max_retries=0, tags=[f"{tag}-single"])
    ids = []
    with _progress("Singly", SINGLES) as show:
        time.sleep(FALL_ASLEEP)
        for number in range(SINGLES):
            job = task.enqueue(number=number)
            try:
                job.wait(STALLED_AFTER)
            except TimeoutError as error:
                _check_worker(worker)
                raise DemoError(_why_stalled(connection, job.id)) from error
            ids.append(job.id)
            show(len(ids))
            time.sleep(PAUSE)
    return measuring.pickup_times(connection, ids)


def _failures(connection: Connection, result: Demonstration) -> Iterator[str]:
    from pgtask.database import listing
    from pgtask.model.job_filter import JobFilter
    from pgtask.model.status import FINAL, JobStatus

    totals, jobs = result.totals, result.by_python + result.by_sql
    if totals.failed:
        wanted = JobFilter(statuses=FINAL - {JobStatus.COMPLETED}, tag=result.tag)
        example = listing.list_jobs(connection, wanted, limit=1).jobs[0]
        reason = first_line(example.error) or example.status
        yield f"{plural(totals.failed, 'job')} did not complete. Job {example.id}: {reason}"
    missing = jobs - totals.completed - totals.failed
    if missing:
        yield f"{plural(missing, 'job')} of {jobs:,} left no result in the history."


def _differences(app: PgTask, sample: list[tuple[str, int]]) -> Iterator[str]:
    """What is wrong with the results of these (path, job id) pairs, judged by reading the files here."""
    for path, id in sample:
        record = app.read_job(id)
        try:
            expected = read_file(path)
        except OSError as error:
            yield f"{clean(path)} cannot be checked: {error.strerror}."
            continue
        stored = record.result if isinstance(record.result, dict) else {}
        wrong = [name for name, value in expected.items() if stored.get(name) != value]
        if wrong and record.status == "completed":
            yield (
                f"Job {id} has stored another {' and '.join(wrong)} for {clean(path)} than is read here. "
                "Did the file change meanwhile?"
            )
