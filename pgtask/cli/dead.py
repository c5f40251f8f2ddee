"""`pgtask dead`: jobs that failed for good, until somebody has dealt with them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import click

from pgtask.cli import completion, job_actions, parameters
from pgtask.cli.context import note, operations
from pgtask.cli.dead_views import DEAD_COLUMNS, GROUP_COLUMNS
from pgtask.cli.job_actions import Select, Selection
from pgtask.cli.jobs import MAX_PAGE, show, yes_option
from pgtask.cli.output import json_option, on_terminal, print_json, print_table
from pgtask.cli.text import brief
from pgtask.model.dead_letter import DeadLetterFilter, Position
from pgtask.model.operations import Operations
from pgtask.model.rate import Rate
from pgtask.model.serialise import instant_as_text, job_as_json, page_as_json, record_as_json

NONE = "There are no dead letters."

EXAMPLES = """\b
Examples:
  pgtask dead stats --since 24h
  pgtask dead retry --task mail.send --error 'Timeout*' --rate 100/min
  pgtask dead resolve 42 --note 'refunded by hand'"""


# What jobs are that are no dead letters, in words that follow "Job 42".
OTHERS = {
    "completed": "has completed: it is no dead letter",
    "cancelled": "was cancelled: it is no dead letter",
    "active": "has not ended: it is no dead letter",
}


def _limit(text: str) -> int:
    return min(parameters.positive(text), MAX_PAGE)


@click.group(epilog=EXAMPLES)
def dead() -> None:
    """List, retry, resolve and delete dead letters.

    These are the jobs that failed for good or were quarantined, until each is retried, resolved or deleted, or leaves
    history.
    """


dead.add_command(show)


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which dead letters, given to the command as the filter `wanted`."""

    @functools.wraps(function)
    def command(
        task: str | None,
        queue: str | None,
        error: str | None,
        since: datetime | None,
        tag: str | None,
        status: str | None,
        **rest: Any,
    ) -> Any:
        wanted = DeadLetterFilter(task=task, queue=queue, error_type=error, since=since, tag=tag, status=status)
        return function(wanted=wanted, **rest)

    decorated: Callable[..., Any] = command
    for option in (
        click.option(
            "-s", "--status", type=click.Choice(["failed", "quarantined"]), help="Those that ended as this one."
        ),
        click.option("--tag", metavar="TAG", help="Jobs with this tag."),
        click.option(
            "--since", type=parameters.since, metavar="WHEN", help="Those that failed since a time, or in the last 24h."
        ),
        click.option("--error", metavar="TYPE", help="Those with this type of error; * stands for any text."),
        click.option(
            "-q", "--queue", metavar="NAME", shell_complete=completion.queue_names, help="Jobs of this queue."
        ),
        click.option(
            "--task",
            metavar="NAME",
            shell_complete=completion.task_names,
            help="Jobs of this task; * stands for any text.",
        ),
    ):
        decorated = option(decorated)
    return decorated


def which(function: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments of a command that acts on dead letters: ids, a filter or all, as `ids` and `select`."""

    @functools.wraps(function)
    def command(ids: tuple[int, ...], wanted: DeadLetterFilter, everything: bool, **rest: Any) -> Any:
        if bool(ids) == bool(wanted or everything):
            raise click.UsageError(
                "Say which dead letters: by their ids, or by a filter such as --task mail.send, or with --all."
            )
        select = None if ids else partial(_select, wanted)
        return function(ids=ids, select=select, **rest)

    decorated = filter_options(command)
    for option in (
        json_option,
        yes_option,
        click.option("--all", "everything", is_flag=True, help="All of them, or all that the filter lets through."),
        click.argument("ids", type=parameters.job_id, nargs=-1, metavar="[ID]..."),
    ):
        decorated = option(decorated)
    return decorated


def _select(wanted: DeadLetterFilter, doing: Operations) -> Selection:
    matching = doing.count_dead_letters(wanted)
    found = iter(()) if matching.latest is None else doing.dead_letter_batches(wanted, matching.latest)
    return Selection(matching.number, matching.exact, found)


@dead.command("list")
@filter_options
@click.option("--before", type=parameters.position, metavar="PLACE", help="Go on below this place, or before a time.")
@click.option(
    "-n", "--limit", type=_limit, metavar="NUMBER", default="50", help="At most so many; 50, never over 1000."
)
@json_option
def list_dead(wanted: DeadLetterFilter, before: tuple[datetime, int] | None, limit: int, json_output: bool) -> None:
    """List dead letters, the latest failure first.

    In a pipe the columns are: id, status, task, queue, attempts, finished_at, error, tags.
    """
    with operations() as doing:
        page = doing.list_dead_letters(wanted, before=Position(*before) if before else None, limit=limit)
    cursor = f"{instant_as_text(page.next.finished_at)}/{page.next.id}" if page.next else None
    if json_output:
        print_json(page_as_json([job_as_json(job) for job in page.jobs], cursor))
        return
    print_table(page.jobs, DEAD_COLUMNS, empty="No dead letters match." if wanted or before else NONE)
    if cursor and on_terminal():
        note(f"There are older ones: add --before {cursor}")


@dead.command()
@filter_options
@json_option
def stats(wanted: DeadLetterFilter, json_output: bool) -> None:
    """Count dead letters by task and type of error, most first.

    In a pipe the columns are: count, task, error type, first_at, last_at, last id.
    """
    with operations() as doing:
        groups = doing.group_dead_letters(wanted)
    if json_output:
        print_json(page_as_json([record_as_json(group) for group in groups]))
        return
    print_table(groups, GROUP_COLUMNS, empty="No dead letters match." if wanted else NONE)


@dead.command()
@which
@click.option(
    "--rate",
    type=parameters.rate,
    metavar="RATE",
    help="Have them start at this rate, such as 100/min, oldest first.",
)
def retry(ids: tuple[int, ...], select: Select | None, rate: Rate | None, yes: bool, json_output: bool) -> int:
    """Put them back with fresh retries, by id, filter or all.

    With a rate the command returns at once; the jobs become due one after the other.
    """
    if rate is None:
        return job_actions.act_on(job_actions.RETRY, ids, select, yes=yes, json_output=json_output)
    spacing = rate.period / rate.limit

    def pacing(number: int) -> str:
        return f", one every {spacing:g} s until {brief(spacing * (number - 1))} from now"

    paced = replace(job_actions.RETRY, function=lambda doing: doing.paced_retry(rate))
    return job_actions.act_on(paced, ids, select, how=pacing, yes=yes, json_output=json_output)


@dead.command()
@which
@click.option("--note", metavar="TEXT", help="What was done about it.")
def resolve(ids: tuple[int, ...], select: Select | None, note: str | None, yes: bool, json_output: bool) -> int:
    """Mark them as dealt with, by id, filter or all.

    They stay in history, with the note and your name, and are dead letters no longer.
    """
    action = job_actions.Action(
        verb="resolve",
        function=lambda doing: partial(doing.resolve_jobs, note=note),
        done={"resolved": "is resolved"},
        refused=OTHERS,
    )
    return job_actions.act_on(action, ids, select, yes=yes, json_output=json_output)


@dead.command()
@click.argument("ids", type=parameters.job_id, nargs=-1, required=True, metavar="ID...")
@json_option
def unresolve(ids: tuple[int, ...], json_output: bool) -> int:
    """Make resolved jobs dead letters again."""
    action = job_actions.Action(
        verb="unresolve",
        function=lambda doing: doing.unresolve_jobs,
        done={"unresolved": "is a dead letter again"},
        refused={
            "failed": "is not resolved",
            "quarantined": "is not resolved",
            **OTHERS,
        },
    )
    return job_actions.act_on(action, ids, None, yes=True, json_output=json_output)


@dead.command()
@which
def delete(ids: tuple[int, ...], select: Select | None, yes: bool, json_output: bool) -> int:
    """Delete them with runs and logs, by id, filter or all.

    This cannot be undone. Jobs that are no dead letters are left alone.
    """
    action = replace(job_actions.DELETE, function=lambda doing: doing.delete_dead_letters, refused=OTHERS)
    return job_actions.act_on(action, ids, select, yes=yes, json_output=json_output)
