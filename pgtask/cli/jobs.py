"""`pgtask jobs`: finding jobs, and acting on them."""

from __future__ import annotations

import click

from pgtask.cli import filters, job_actions, job_edits, parameters, tail
from pgtask.cli.context import note, operations
from pgtask.cli.errors import DONE, NOT_FOUND
from pgtask.cli.explanation_views import print_explanation
from pgtask.cli.job_views import JOB_COLUMNS, print_job
from pgtask.cli.output import json_option, on_terminal, print_json, print_table
from pgtask.model.explanation import NOT_FOUND as UNKNOWN
from pgtask.model.job_filter import JobFilter, Sort
from pgtask.model.listing import LIVE
from pgtask.model.serialise import job_as_json, page_as_json, record_as_json
from pgtask.model.status import FINAL, JobStatus

MAX_PAGE = 1000

EXAMPLES = """\b
Examples:
  pgtask jobs list --status failed,quarantined --queue mail
  pgtask jobs list --task 'email.*' --before 12000
  pgtask jobs list status:failed since:1h payload.user.id:42 --sort=-finished"""


def _limit(text: str) -> int:
    return min(parameters.positive(text), MAX_PAGE)


@click.group()
def jobs() -> None:
    """List, show, follow, change, cancel, retry and delete jobs."""


jobs.add_command(job_edits.edit)
jobs.add_command(job_edits.run_now)


detach_option = click.option(
    "--detach", is_flag=True, help="Leave it to a worker or the server, and print the number of the bulk operation."
)
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@jobs.command("list", epilog=EXAMPLES)
@filters.search_argument
@filters.filter_options
@click.option(
    "--sort",
    type=click.Choice([sort.value for sort in Sort]),
    default=Sort.NEWEST.value,
    help="-created and created are by id; -finished lists ended jobs, scheduled those that wait. Without: -created.",
)
@click.option("--cursor", metavar="CURSOR", help="Go on where a page with the same filter and order ended.")
@click.option("--before", type=parameters.job_id, metavar="ID", help="Go on below this job.")
@click.option(
    "-n", "--limit", type=_limit, metavar="NUMBER", default="50", help="At most so many; 50, never over 1000."
)
@json_option
def list_jobs(
    wanted: JobFilter, sort: str, cursor: str | None, before: int | None, limit: int, json_output: bool
) -> None:
    """List jobs, newest first, or those that a search finds.

    QUERY is a search such as status:failed task:mail.* payload.user.id:42 since:1h. Fields: id, status, queue, task,
    tag, priority, worker, schedule, error, unique_key, concurrency_key, payload.FIELD, since, before, created_after,
    created_before. Commas mean or, - before a term means not: 'queue:mail -tag:vip', in one argument.

    In a pipe the columns are: id, status, task, queue, priority, attempt, scheduled_at, error or
    progress, tags.
    """
    order = Sort(sort)
    if before is not None and (cursor or order is not Sort.NEWEST):
        raise click.UsageError("--before ID is for lists by -created without --cursor; use --cursor.")
    with operations() as doing:
        page = doing.list_jobs(wanted, sort=order, before=before, cursor=cursor, limit=limit)
    if json_output:
        print_json(page_as_json([job_as_json(job) for job in page.jobs], page.next_cursor))
        return
    empty = (
        "No jobs match." if wanted or before or cursor else "No jobs yet. Enqueue one: pgtask enqueue echo message=hi"
    )
    print_table(page.jobs, JOB_COLUMNS, empty=empty)
    if page.more and on_terminal():
        further = f"--before {page.jobs[-1].id}" if order is Sort.NEWEST else f"--cursor {page.next_cursor}"
        note(f"There are {'older' if order is Sort.NEWEST else 'further'} jobs: add {further}")


@jobs.command()
@click.argument("job_id", type=parameters.job_id, metavar="ID")
@json_option
def show(job_id: int, json_output: bool) -> None:
    """Show a job with its runs and logs, and why it waits."""
    with operations() as doing:
        details = doing.show_job(job_id)
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
    with operations() as doing:
        reasons = doing.explain_job(job_id)
    unknown = reasons[0].code == UNKNOWN
    if json_output:
        print_json(page_as_json([record_as_json(reason) for reason in reasons]))
    elif unknown:
        note(f"Error: {reasons[0].text}")
    else:
        print_explanation(reasons)
    return NOT_FOUND if unknown else DONE


@jobs.command()
@filters.ids_or_search_argument
@filters.filter_options
@detach_option
@yes_option
@json_option
def cancel(ids: tuple[int, ...], wanted: JobFilter, **options: bool) -> int:
    """Cancel jobs by id or filter.

    Waiting ones end at once, running ones are asked to stop. A filter without --status means all that have not ended.
    """
    return job_actions.act(job_actions.CANCEL, ids, wanted, LIVE, **options)


@jobs.command()
@filters.ids_or_search_argument
@filters.filter_options
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
@filters.ids_or_search_argument
@filters.filter_options
@detach_option
@yes_option
@json_option
def delete(ids: tuple[int, ...], wanted: JobFilter, **options: bool) -> int:
    """Delete jobs with their runs and logs, by id or filter.

    This cannot be undone. Running ones are left alone. A filter without --status means all that have ended.
    """
    return job_actions.act(job_actions.DELETE, ids, wanted, FINAL, **options)


@jobs.command("tail")
@filters.ids_or_search_argument
@filters.filter_options
@click.option(
    "--interval", type=parameters.time_limit, metavar="DURATION", default="1s", help="Time between two looks; 1s."
)
@json_option
def tail_jobs(ids: tuple[int, ...], wanted: JobFilter, interval: float, json_output: bool) -> int:
    """Follow jobs as they start and end, or one job until it ends.

    A status is the one that the job has afterwards; jobs that wait are in `jobs list`. An attempt shorter than the
    interval shows only its end. An outage of the database is waited out, and nothing that happened meanwhile is left
    out. With ID: its log lines, progress and attempts; exits with 0 when it completed, else 1. In a pipe the columns
    are: time, id, event, status, outcome, task, queue, attempt, seconds, worker, error. JSON is one object a line.
    """
    if len(ids) + bool(wanted) > 1:
        raise click.UsageError("Give an ID or a filter, not both, and one ID only.")
    if ids:
        return tail.follow_job(ids[0], interval, json_output)
    return tail.follow_jobs(wanted, interval, json_output)
