"""How jobs, their runs and their logs look."""

from __future__ import annotations

import click

from pgtask.cli.aftermath_views import aftermath_fields
from pgtask.cli.explanation_views import print_headline
from pgtask.cli.output import (
    STATUS_STYLES,
    Column,
    on_terminal,
    print_fields,
    print_heading,
    print_plain,
    print_table,
    styled,
    styled_status,
)
from pgtask.cli.text import (
    as_json,
    brief,
    clean,
    clean_lines,
    error_text,
    instant,
    relative,
    seconds_since,
    with_relative,
)
from pgtask.model.job import JobRecord
from pgtask.model.listing import JobDetails
from pgtask.model.run import LogLine, RunRecord
from pgtask.model.status import PRIORITIES, JobStatus
from pgtask.model.wording import DASH, duration, size

LONG = 40
"""Lines of a payload or result that a terminal gets; pipes and JSON get all."""

LEVEL_STYLES = {"warning": "yellow", "error": "red", "critical": "bold red", "debug": "dim"}

OUTCOME_STYLES = {
    "completed": "green",
    "failed": "red",
    "timeout": "red",
    "crashed": "red",
    "lost": "yellow",
    "cancelled": "dim",
}

CHARGED = frozenset({"failed", "timeout", "crashed"})
"""Outcomes that count as a retry."""

_PRIORITY_NAMES = {number: name for name, number in PRIORITIES.items()}


def priority_text(priority: int) -> str:
    """A priority by its name where it has one."""
    return _PRIORITY_NAMES.get(priority, str(priority))


def when(job: JobRecord) -> str:
    """The time that matters most now: since the end, of running, until due, or of waiting."""
    if job.finished_at is not None:
        return relative(job.finished_at)
    if job.status == JobStatus.RUNNING and job.started_at is not None:
        return f"runs {brief(seconds_since(job.started_at))}"
    waited = seconds_since(job.scheduled_at)
    return relative(job.scheduled_at) if waited < 0 else f"waits {brief(waited)}"


def remark(job: JobRecord) -> str:
    """One line on how it goes: the error, a request to stop, or the progress."""
    if job.error_type or job.error:
        return error_text(job.error_type, job.error)
    if job.cancel_requested_at is not None and job.finished_at is None:
        return "asked to stop"
    if job.finished_at is None:
        return progress_text(job)
    return ""


def progress_text(job: JobRecord) -> str:
    """Progress in per cent and words, empty for none."""
    percent = "" if job.progress is None else f"{job.progress} %"
    return f"{percent} {job.progress_message or ''}".strip()


JOB_COLUMNS: tuple[Column[JobRecord], ...] = (
    Column(title="ID", show=lambda job: str(job.id), right=True),
    Column(
        title="STATUS",
        show=lambda job: job.status,
        style=lambda job: STATUS_STYLES.get(job.status, ""),
    ),
    Column(title="TASK", show=lambda job: job.task, shrinks=True),
    Column(title="QUEUE", show=lambda job: job.queue, shrinks=True),
    Column(
        title="PRIORITY",
        show=lambda job: "" if job.priority == PRIORITIES["normal"] else priority_text(job.priority),
        plain=lambda job: job.priority,
        wide=True,
    ),
    Column(
        title="TRY",
        show=lambda job: str(job.attempt or DASH),
        plain=lambda job: job.attempt,
        right=True,
    ),
    Column(title="WHEN", show=when, plain=lambda job: instant(job.scheduled_at)),
    Column(
        title="NOTE",
        show=remark,
        style=lambda job: "red" if job.error_type and job.status != "completed" else "",
        shrinks=True,
    ),
    Column(
        title="TAGS",
        show=lambda job: ",".join(job.tags or ()),
        shrinks=True,
        wide=True,
    ),
)

RUN_COLUMNS: tuple[Column[RunRecord], ...] = (
    Column(title="TRY", show=lambda run: str(run.attempt or DASH), right=True),
    Column(
        title="OUTCOME",
        show=lambda run: run.outcome,
        style=lambda run: OUTCOME_STYLES.get(run.outcome, ""),
    ),
    Column(title="ENDED", show=lambda run: relative(run.finished_at)),
    Column(
        title="TOOK",
        show=lambda run: DASH if run.started_at is None else _took(run),
        right=True,
    ),
    Column(
        title="CPU",
        show=lambda run: "" if run.cpu_seconds is None else duration(run.cpu_seconds),
        right=True,
    ),
    Column(
        title="PEAK MEMORY",
        show=lambda run: "" if run.peak_rss_bytes is None else size(run.peak_rss_bytes),
        right=True,
    ),
    Column(title="WORKER", show=lambda run: str(run.worker_id or DASH), right=True),
    Column(title="ERROR", show=lambda run: error_text(run.error_type, run.error), shrinks=True),
)


def _took(run: RunRecord) -> str:
    assert run.started_at is not None
    return duration((run.finished_at - run.started_at).total_seconds())


def print_job(details: JobDetails) -> None:
    """Prints all there is about a job."""
    job = details.job
    if on_terminal():
        click.echo(f"{styled(f'Job {job.id}', 'bold')}  {styled_status(job.status)}")
        print_headline(job.id, details.explanation)
        click.echo()
    else:
        print_plain("id", job.id)
        print_plain("status", job.status)
        print_headline(job.id, details.explanation)
    print_fields(_fields(job) + aftermath_fields(details))
    if on_terminal():
        _print_value("Payload", job.payload)
        if job.result is not None:
            _print_value("Result", job.result)
    else:
        print_plain("payload", as_json(job.payload, None))
        print_plain("result", None if job.result is None else as_json(job.result, None))
    _print_runs(details.runs)
    _print_last_error(details.runs)
    _print_logs(details.logs)


def _fields(job: JobRecord) -> list[tuple[str, str]]:
    shown = with_relative if on_terminal() else instant
    fields = [
        ("Task", job.task),
        ("Queue", job.queue),
        ("Priority", priority_text(job.priority) if on_terminal() else str(job.priority)),
        ("Attempts", str(job.attempt)),
        ("Retries", _retries(job)),
        ("Created at", shown(job.created_at)),
        ("Tick", shown(job.tick_at)),
        ("Scheduled at", shown(job.scheduled_at)),
        ("Start by", shown(job.start_by)),
        ("Started at", shown(job.started_at)),
        ("Finished at", shown(job.finished_at)),
        ("Timeout", "" if job.timeout is None else duration(job.timeout)),
        ("Unique key", job.unique_key or ""),
        ("Unique scope", job.unique_scope or ""),
        ("Unique until", shown(job.unique_until)),
        ("Concurrency key", job.concurrency_key or ""),
        ("Tags", ", ".join(job.tags or ())),
        ("Progress", progress_text(job)),
    ]
    return [(name, value) for name, value in fields if value not in {"", DASH}]


def _retries(job: JobRecord) -> str:
    # The failure that ended it is counted as well, but was not followed by a retry.
    made = job.retry_count - (job.finished_at is not None and job.outcome in CHARGED)
    if job.max_retries is None:
        return str(made)
    if job.max_retries < 0:
        return f"{made} without limit"
    return f"{made} of {job.max_retries}"


def _print_value(title: str, value: object) -> None:
    lines = as_json(value).splitlines()
    print_heading(title)
    for line in lines[:LONG]:
        click.echo(f"  {line}")
    if len(lines) > LONG:
        click.echo(styled(f"  … {len(lines) - LONG} more lines: use --json", "dim"))


def _print_runs(runs: list[RunRecord]) -> None:
    if not on_terminal():
        for run in runs:
            times = instant(run.started_at), instant(run.finished_at)
            error = error_text(run.error_type, run.error)
            used = run.cpu_seconds, run.peak_rss_bytes
            print_plain("run", run.attempt, run.outcome, *times, run.worker_id, *used, error)
    elif runs:
        print_heading("Runs")
        print_table(runs, RUN_COLUMNS, empty="")


def _print_last_error(runs: list[RunRecord]) -> None:
    """The whole of the last error, which the table of runs has no room for, with its traceback."""
    run = next((run for run in reversed(runs) if run.error or run.traceback), None)
    if run is None or not on_terminal():
        return
    print_heading("Last error" if run.attempt is None else f"Last error, try {run.attempt}")
    error, traceback = clean_lines(run.error or ""), clean_lines(run.traceback or "")
    # A traceback of Python ends with the error already.
    if not traceback or "\n".join(error) not in "\n".join(traceback):
        first = error_text(run.error_type, run.error)
        for line in [first, *error[1:]]:
            click.echo(f"  {line}")
    for line in traceback:
        click.echo(f"  {line}".rstrip())


def _print_logs(logs: list[LogLine]) -> None:
    if not on_terminal():
        for line in logs:
            print_plain("log", line.attempt, instant(line.logged_at), line.level, line.message)
    elif logs:
        print_heading("Logs")
        for line in logs:
            time = styled(f"{line.logged_at.astimezone():%H:%M:%S}", "dim")
            level = styled(f"{clean(line.level):<8}", LEVEL_STYLES.get(line.level, ""))
            message = clean_lines(line.message) or [""]
            click.echo(f"  {time} {line.attempt} {level} {message[0]}")
            for more in message[1:]:
                click.echo(" " * 22 + more)
