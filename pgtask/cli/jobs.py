"""`pgtask jobs`: finding jobs, and acting on them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from pgtask.cli import completion, job_actions, job_edits, parameters, tail
from pgtask.cli.context import connected, note
from pgtask.cli.errors import DONE, NOT_FOUND
from pgtask.cli.explanation_views import print_explanation
from pgtask.cli.job_views import JOB_COLUMNS, print_job
from pgtask.cli.output import json_option, on_terminal, print_json, print_table
from pgtask.database import listing
from pgtask.database.listing import JobFilter
from pgtask.model.explanation import NOT_FOUND as UNKNOWN
from pgtask.model.serialise import job_as_json, page_as_json, record_as_json
from pgtask.model.status import FINAL, JobStatus

MAX_PAGE = 1000

EXAMPLES = """\b
Examples:
  pgtask jobs list --status failed,quarantined --queue mail
  pgtask jobs list --task 'email.*' --before 12000"""


def _limit(text: str) -> int:
    return min(parameters.positive(text), MAX_PAGE)


@click.group()
def jobs() -> None:
    """List, show, follow, change, cancel, retry and delete jobs."""


jobs.add_command(job_edits.edit)
jobs.add_command(job_edits.run_now)


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which jobs, given to the command as the filter `wanted`."""

    @functools.wraps(function)
    def command(
        statuses: tuple[list[JobStatus], ...], queue: str | None, task: str | None, tag: str | None, **rest: Any
    ) -> Any:
        wanted = JobFilter(statuses=parameters.flatten(statuses), queue=queue, task=task, tag=tag)
        return function(wanted=wanted, **rest)

    decorated: Callable[..., Any] = command
    for option in (
        click.option("--tag", metavar="TAG", help="Jobs with this tag."),
        click.option(
            "--task",
            metavar="NAME",
            shell_complete=completion.task_names,
            help="Jobs of this task; * stands for any text.",
        ),
        click.option(
            "-q", "--queue", metavar="NAME", shell_complete=completion.queue_names, help="Jobs of this queue."
        ),
        click.option(
            "-s",
            "--status",
            "statuses",
            type=parameters.status,
            multiple=True,
            shell_complete=completion.statuses,
            help=f"Jobs with one of these: {', '.join(JobStatus)}.",
        ),
    ):
        decorated = option(decorated)
    return decorated


detach_option = click.option(
    "--detach", is_flag=True, help="Leave it to a worker or the server, and print the number of the bulk operation."
)
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@jobs.command("list", epilog=EXAMPLES)
@filter_options
@click.option("--before", type=parameters.job_id, metavar="ID", help="Go on below this job.")
@click.option(
    "-n", "--limit", type=_limit, metavar="NUMBER", default="50", help="At most so many; 50, never over 1000."
)
@json_option
def list_jobs(wanted: JobFilter, before: int | None, limit: int, json_output: bool) -> None:
    """List jobs, newest first.

    In a pipe the columns are: id, status, task, queue, priority, attempt, scheduled_at, error or
    progress, tags.
    """
    with connected() as connection:
        page = listing.list_jobs(connection, wanted, before=before, limit=limit)
    cursor = str(page.jobs[-1].id) if page.more else None
    if json_output:
        print_json(page_as_json([job_as_json(job) for job in page.jobs], cursor))
        return
    empty = "No jobs match." if wanted or before else "No jobs yet. Enqueue one: pgtask enqueue echo message=hi"
    print_table(page.jobs, JOB_COLUMNS, empty=empty)
    if cursor and on_terminal():
        note(f"There are older jobs: add --before {cursor}")


@jobs.command()
@click.argument("job_id", type=parameters.job_id, metavar="ID")
@json_option
def show(job_id: int, json_output: bool) -> None:
    """Show a job with its runs and logs, and why it waits."""
    with connected() as connection:
        details = listing.show_job(connection, job_id)
    if json_output:
        print_json(
            job_as_json(details.job)
            | {
                "explanation": [record_as_json(reason) for reason in details.explanation],
                "runs": [record_as_json(run) for run in details.runs],
                "logs": [record_as_json(line) for line in details.logs],
                "aftermath": details.aftermath and record_as_json(details.aftermath),
            }
        )
        return
    print_job(details)


@jobs.command()
@click.argument("job_id", type=parameters.job_id, metavar="ID")
@json_option
def explain(job_id: int, json_output: bool) -> int:
    """Say why a job waits, has run twice, failed or was stopped.

    What matters most comes first; ✗ marks what else keeps it from being started. SQL gives the same sentences:
    SELECT * FROM pgtask.explain(ID). In a pipe the columns are: position, code, blocking, text.
    """
    with connected() as connection:
        reasons = listing.explain(connection, job_id)
    unknown = reasons[0].code == UNKNOWN
    if json_output:
        print_json(page_as_json([record_as_json(reason) for reason in reasons]))
    elif unknown:
        note(f"Error: {reasons[0].text}")
    else:
        print_explanation(reasons)
    return NOT_FOUND if unknown else DONE


@jobs.command()
@click.argument("ids", type=parameters.job_id, nargs=-1, metavar="[ID]...")
@filter_options
@detach_option
@yes_option
@json_option
def cancel(ids: tuple[int, ...], wanted: JobFilter, **options: bool) -> int:
    """Cancel jobs by id or filter.

    Waiting ones end at once, running ones are asked to stop. A filter without --status means all that have not ended.
    """
    return job_actions.act(job_actions.CANCEL, ids, wanted, listing.LIVE, **options)


@jobs.command()
@click.argument("ids", type=parameters.job_id, nargs=-1, metavar="[ID]...")
@filter_options
@detach_option
@yes_option
@json_option
def retry(ids: tuple[int, ...], wanted: JobFilter, **options: bool) -> int:
    """Put ended jobs back with fresh retries, by id or filter.

    A filter without --status means failed and quarantined ones.
    """
    failures = frozenset({JobStatus.FAILED, JobStatus.QUARANTINED})
    return job_actions.act(job_actions.RETRY, ids, wanted, failures, **options)


@jobs.command()
@click.argument("ids", type=parameters.job_id, nargs=-1, metavar="[ID]...")
@filter_options
@detach_option
@yes_option
@json_option
def delete(ids: tuple[int, ...], wanted: JobFilter, **options: bool) -> int:
    """Delete jobs with their runs and logs, by id or filter.

    This cannot be undone. Running ones are left alone. A filter without --status means all that have ended.
    """
    return job_actions.act(job_actions.DELETE, ids, wanted, FINAL, **options)


@jobs.command("tail")
@click.argument("job_id", type=parameters.job_id, metavar="[ID]", required=False)
@filter_options
@click.option(
    "--interval", type=parameters.time_limit, metavar="DURATION", default="1s", help="Time between two looks; 1s."
)
@json_option
def tail_jobs(job_id: int | None, wanted: JobFilter, interval: float, json_output: bool) -> int:
    """Follow jobs as they start and end, or one job until it ends.

    A status is the one that the job has afterwards; jobs that wait are in `jobs list`. An attempt shorter than the
    interval shows only its end. An outage of the database is waited out, and nothing that happened meanwhile is left
    out. With ID: its log lines, progress and attempts; exits with 0 when it completed, else 1. In a pipe the columns
    are: time, id, event, status, outcome, task, queue, attempt, seconds, worker, error. JSON is one object a line.
    """
    if job_id is not None and wanted:
        raise click.UsageError("Give an ID or a filter, not both.")
    if job_id is not None:
        return tail.follow_job(job_id, interval, json_output)
    return tail.follow_jobs(wanted, interval, json_output)
