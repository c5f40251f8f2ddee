"""`pgtask jobs tail`: what happens to jobs, as it happens."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import click

from pgtask.cli.context import note, settings, way
from pgtask.cli.errors import DONE, FAILED
from pgtask.cli.job_views import LEVEL_STYLES, progress_text
from pgtask.cli.output import STATUS_STYLES, on_terminal, print_plain, styled
from pgtask.cli.text import as_json, clean, clean_lines, error_text, instant, shortened
from pgtask.config import mask_secrets
from pgtask.model.errors import DatabaseUnavailableError, ServerUnavailableError, TimeLimitError
from pgtask.model.event import JobEvent, event_as_json
from pgtask.model.job import JobRecord
from pgtask.model.run import RunRecord
from pgtask.model.serialise import instant_as_text
from pgtask.model.status import JobStatus
from pgtask.model.wording import DASH, duration

if TYPE_CHECKING:
    from pgtask.client import Client
    from pgtask.database.operations import DatabaseOperations
    from pgtask.model.job_filter import JobFilter
    from pgtask.model.listing import JobState
    from pgtask.model.operations import Operations

LONGEST_PAUSE = 5.0


def follow_jobs(wanted: JobFilter, interval: float, json_output: bool) -> int:
    """Prints what happens to jobs until interrupted; the exit code."""
    if settings().url is not None:
        return _follow_over_rest(wanted, interval, json_output)
    from pgtask.database.following import Follower

    follower = Follower(wanted)
    looks = 0

    def look(doing: Operations) -> None:
        nonlocal looks
        for event in follower.look(cast("DatabaseOperations", doing).connection):
            print_event(event, json_output)
        if not looks:
            note("Following jobs as they start and end; Ctrl-C ends it.")
        looks += 1

    try:
        persist(look, interval)
    except KeyboardInterrupt:
        return DONE
    return DONE


def _follow_over_rest(wanted: JobFilter, interval: float, json_output: bool) -> int:
    from pgtask.cli.streaming import Streamer

    streamer = Streamer(wanted)
    try:
        persist(
            lambda doing: streamer.look(cast("Client", doing), lambda event: print_event(event, json_output)), interval
        )
    except KeyboardInterrupt:
        return DONE
    return DONE


def follow_job(job_id: int, interval: float, json_output: bool) -> int:
    """Prints what happens to one job until it ends; the exit code."""
    see, page = _job_follower(job_id)
    teller = JobTeller(json_output)

    def look(doing: Operations) -> int | None:
        while True:
            state = see(doing)
            teller.tell(state)
            if len(state.logs) < page:
                break
        if not JobStatus(state.job.status).final:
            return None
        return DONE if state.job.status == JobStatus.COMPLETED else FAILED

    return persist(look, interval)


def _job_follower(job_id: int) -> tuple[Callable[[Operations], JobState], int]:
    """What looks at a job, and how many log lines a look finds at most."""
    if settings().url is not None:
        from pgtask.client import following as remote

        distant = remote.JobFollower(job_id)
        return lambda doing: distant.look(cast("Client", doing)), remote.PAGE
    from pgtask.database.following import PAGE, JobFollower

    follower = JobFollower(job_id)
    return lambda doing: follower.look(cast("DatabaseOperations", doing).connection), PAGE


def persist(look: Callable[[Operations], int | None], interval: float) -> int:
    """Looks every `interval` seconds until a look gives an exit code; an outage is told once and waited out.

    What fails before the first look, such as a wrong URL or a missing schema, is raised.
    """
    back = "The server is back." if settings().url is not None else "The database is back."
    with way() as opened:
        begun = away = False
        pause = 0.1
        while True:
            try:
                with opened() as doing:
                    while True:
                        code = look(doing)
                        if away:
                            note(back)
                        begun, away, pause = True, False, 0.1
                        if code is not None:
                            return code
                        time.sleep(interval)
            except (DatabaseUnavailableError, ServerUnavailableError, TimeLimitError) as error:
                if not begun:
                    raise
                if not away:
                    note(f"{clean(mask_secrets(str(error)))} Trying again until it is back.")
                away = True
            time.sleep(random.uniform(0, pause))
            pause = min(pause * 2, LONGEST_PAUSE)


class JobTeller:
    """Tells of one job what has not been told."""

    def __init__(self, json_output: bool) -> None:
        self._json = json_output
        self._runs: set[tuple[Any, ...]] = set()
        self._started: int | None = None
        self._status: str | None = None
        self._progress: tuple[int | None, str | None] | None = None

    def tell(self, state: JobState) -> None:
        """Prints what is new, in the order of the attempts and, within one, as it happened."""
        job = state.job
        logs = list(state.logs)
        for run in state.runs:
            key = (run.attempt, run.finished_at)
            if key not in self._runs:
                self._runs.add(key)
                self._tell_logs(job, [line for line in logs if line.attempt == run.attempt])
                logs = [line for line in logs if line.attempt != run.attempt]
                self._tell_run(job, run)
        if job.status == JobStatus.RUNNING and self._started != job.attempt:
            self._started = job.attempt
            self._print("started", job.started_at, job, {"attempt": job.attempt, "worker_id": job.worker_id})
        self._tell_logs(job, logs)
        progress = (job.progress, job.progress_message)
        if progress not in {self._progress, (None, None)}:
            self._progress = progress
            self._print("progress", None, job, {"progress": job.progress, "message": job.progress_message})
        if job.status != self._status:
            self._status = job.status
            self._print("status", job.finished_at, job, {"status": job.status})

    def _tell_logs(self, job: JobRecord, lines: list[Any]) -> None:
        for line in lines:
            values = {"attempt": line.attempt, "line": line.line, "level": line.level, "message": line.message}
            self._print("log", line.logged_at, job, values)

    def _tell_run(self, job: JobRecord, run: RunRecord) -> None:
        seconds = None if run.started_at is None else (run.finished_at - run.started_at).total_seconds()
        values = {"attempt": run.attempt, "outcome": run.outcome, "run_seconds": seconds, "worker_id": run.worker_id}
        values |= {"cpu_seconds": run.cpu_seconds, "peak_rss_bytes": run.peak_rss_bytes}
        self._print("ended", run.finished_at, job, values | {"error_type": run.error_type, "error": run.error})

    def _print(self, event: str, at: Any, job: JobRecord, values: dict[str, Any]) -> None:
        if self._json:
            when = None if at is None else instant_as_text(at)
            click.echo(as_json({"event": event, "at": when, "id": job.id} | values, None))
            return
        if not on_terminal():
            print_plain(instant(at), job.id, event, *_plain_values(event, job, values))
            return
        time_text = styled(f"{at.astimezone():%H:%M:%S}" if at is not None else " " * 8, "dim")
        first, *rest = _sentences(event, job, values) or [""]
        click.echo(f"{time_text} {first}")
        for line in rest:
            click.echo(" " * 9 + line)


def _plain_values(event: str, job: JobRecord, values: dict[str, Any]) -> list[object]:
    if event == "ended":
        seconds = values["run_seconds"]
        error = error_text(values["error_type"], values["error"])
        return [values["attempt"], values["outcome"], None if seconds is None else f"{seconds:.6f}", error]
    if event == "progress":
        return [job.attempt, values["progress"], values["message"]]
    return list(values.values())


def _sentences(event: str, job: JobRecord, values: dict[str, Any]) -> list[str]:
    match event:
        case "log":
            level = values["level"]
            lines = clean_lines(values["message"]) or [""]
            return [f"{styled(f'{clean(level):<8}', LEVEL_STYLES.get(level, ''))} {lines[0]}"] + [
                " " * 9 + line for line in lines[1:]
            ]
        case "started":
            return [f"attempt {values['attempt']} started on worker {values['worker_id']}"]
        case "progress":
            return [f"{styled('progress', 'cyan')} {clean(progress_text(job))}"]
        case "ended":
            took = "" if values["run_seconds"] is None else f" after {duration(values['run_seconds'])}"
            which = "ended while it waited" if values["attempt"] is None else f"attempt {values['attempt']}"
            style = "green" if values["outcome"] == "completed" else "yellow"
            error = error_text(values["error_type"], values["error"])
            return [f"{which} {styled(values['outcome'], style)}{took}", *([f"  {error}"] if error else [])]
        case _:
            due = ""
            if job.status in {JobStatus.RETRYING, JobStatus.SCHEDULED}:
                due = f", due {job.scheduled_at.astimezone():%H:%M:%S}"
            return [f"job {job.id} is {styled(job.status, STATUS_STYLES.get(job.status, ''))}{due}"]


def print_event(event: JobEvent, json_output: bool) -> None:
    """Prints an attempt that started or ended."""
    error = error_text(event.error_type, event.error)
    if json_output:
        click.echo(as_json(event_as_json(event), None))
    elif not on_terminal():
        seconds = None if event.seconds is None or event.outcome is None else f"{event.seconds:.6f}"
        what = (event.event, event.status, event.outcome, event.task, event.queue, event.attempt, seconds)
        print_plain(instant(event.at), event.id, *what, event.worker_id, error)
    else:
        import shutil

        started = event.outcome is None
        took = DASH if started or event.seconds is None else duration(event.seconds)
        status = styled(f"{event.status:<11}", STATUS_STYLES.get(event.status, ""))
        attempt = "" if event.attempt in {None, 1} else f" attempt {event.attempt}"
        rest = f"{clean(event.task)}{attempt}" + (f" {DASH} {error}" if error else "")
        room = max(20, shutil.get_terminal_size().columns - 40)
        rest = shortened(rest, room)
        time_text = styled(f"{event.at.astimezone():%H:%M:%S}", "dim")
        click.echo(f"{time_text} {status} {event.id:>8} {took:>9} {rest}")
