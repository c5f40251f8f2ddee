"""Cancel, retry and delete: by ids, or by filter with a preview."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import click

from pgtask.cli.context import note, operations
from pgtask.cli.errors import DONE, FAILED, NOT_FOUND
from pgtask.cli.output import on_terminal, print_json, print_plain
from pgtask.cli.text import clean
from pgtask.model.answer import Answer
from pgtask.model.bulk_operation import BulkAction
from pgtask.model.job_filter import JobFilter
from pgtask.model.operations import Act, Operations
from pgtask.model.serialise import page_as_json, record_as_json
from pgtask.model.status import JobStatus
from pgtask.model.wording import plural


class Selection(NamedTuple):
    """How many jobs match, at least `number` unless `exact`, and their ids, batch by batch."""

    number: int
    exact: bool
    batches: Iterator[list[int]]


Select = Callable[[Operations], Selection]
"""Finds the jobs that a filter means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something done to jobs, and what its answers mean."""

    verb: str
    function: Callable[[Operations], Act]
    done: Mapping[str, str]
    """Answers that mean it was done, in words that follow "Job 42"."""
    refused: Mapping[str, str]
    """Answers that mean it was not, likewise."""
    asks_for_ids: bool = False
    """Whether it asks even when the jobs are named."""


CANCEL = Action(
    verb="cancel",
    function=lambda doing: doing.cancel_jobs,
    done={"cancelled": "cancelled", "requested": "runs and was asked to stop"},
    refused={
        "completed": "had completed already",
        "failed": "had failed already",
        "quarantined": "is quarantined already",
    },
)
RETRY = Action(
    verb="retry",
    function=lambda doing: doing.retry_jobs,
    done={"pending": "is pending again"},
    refused={
        "completed": "has completed; to run it again, enqueue a new job",
        "active": "has not ended",
        "held": "was refused",
    },
)
DELETE = Action(
    verb="delete",
    function=lambda doing: doing.delete_jobs,
    done={"deleted": "deleted"},
    refused={"running": "runs; cancel it first"},
    asks_for_ids=True,
)


def act(
    action: Action,
    ids: Sequence[int],
    wanted: JobFilter,
    default: frozenset[JobStatus],
    *,
    yes: bool,
    json_output: bool,
    detach: bool = False,
) -> int:
    """Does it to the jobs named, or to all that match; the exit code.

    A filter without a status means those in `default`. With `detach` it is left to a worker or the server.
    """
    if wanted and not wanted.statuses:
        wanted = replace(wanted, statuses=default)
    if detach:
        if ids or not wanted:
            raise click.UsageError(
                "--detach is for a filter such as --queue mail; jobs that are named are done at once."
            )
        return _hand_over(action, wanted, yes, json_output)
    return act_on(action, ids, partial(_select, wanted) if wanted else None, yes=yes, json_output=json_output)


def _hand_over(action: Action, wanted: JobFilter, yes: bool, json_output: bool) -> int:
    with operations() as doing:
        matching = doing.count_jobs(wanted)
        if matching.number:
            what = plural(matching.number, "job", matching.exact)
            verb = "matches" if matching.number == 1 else "match"
            _confirm(f"{what} {verb}. {action.verb.capitalize()} {_pronoun(matching.number)}?", yes)
        operation = doing.create_bulk_operation(BulkAction(action.verb), wanted)
    if json_output:
        print_json(record_as_json(operation))
    elif on_terminal():
        click.echo(f"Bulk operation {operation.id} is {operation.status}. See: pgtask bulk watch {operation.id}")
    else:
        print_plain(operation.id)
    return DONE


def _select(wanted: JobFilter, doing: Operations) -> Selection:
    matching = doing.count_jobs(wanted)
    return Selection(matching.number, matching.exact, doing.job_batches(wanted, matching.newest))


def act_on(
    action: Action,
    ids: Sequence[int],
    select: Select | None,
    *,
    yes: bool,
    json_output: bool,
    how: Callable[[int], str] = lambda number: "",  # noqa: ARG005
) -> int:
    """`act` with the jobs found by a function. `how` tells, of so many, what the question is to say besides."""
    if bool(ids) == bool(select):
        raise click.UsageError(
            f"Say which jobs to {action.verb}: by their ids, or by a filter such as --queue mail, not both."
        )
    with operations() as doing:
        if ids:
            if action.asks_for_ids:
                _confirm(f"{action.verb.capitalize()} {plural(len(ids), 'job')}?", yes)
            return _act_on_ids(action, action.function(doing), ids, json_output)
        assert select is not None
        return _act_on_matches(action, action.function(doing), select(doing), how, yes, json_output)


def _act_on_ids(action: Action, do: Act, ids: Sequence[int], json_output: bool) -> int:
    answers = do(list(dict.fromkeys(ids)))
    if json_output:
        print_json(page_as_json([answer._asdict() for answer in answers]))
    for answer in () if json_output else answers:
        if on_terminal():
            click.echo(sentence(action, answer))
        else:
            print_plain(answer.id, answer.answer or "not found", answer.detail)
    if any(answer.answer is None for answer in answers):
        return NOT_FOUND
    return FAILED if any(answer.answer not in action.done for answer in answers) else DONE


def sentence(action: Action, answer: Answer) -> str:
    """What came of it, for people."""
    if answer.answer is None:
        return f"There is no job {answer.id}."
    if answer.detail:
        detail = clean(answer.detail)
        return f"{detail[:1].upper()}{detail[1:]}."
    words = action.done.get(answer.answer) or action.refused.get(answer.answer, answer.answer)
    return f"Job {answer.id} {words}."


def _act_on_matches(
    action: Action,
    do: Act,
    matching: Selection,
    how: Callable[[int], str],
    yes: bool,
    json_output: bool,
) -> int:
    totals: Counter[str] = Counter()
    if matching.number:
        what = plural(matching.number, "job", matching.exact)
        verb = "matches" if matching.number == 1 else "match"
        act = f"{action.verb.capitalize()} {_pronoun(matching.number)}{how(matching.number)}"
        _confirm(f"{what} {verb}. {act}?", yes)
        for ids in matching.batches:
            answers = do(ids)
            totals.update(answer.answer or "gone" for answer in answers)
            if sys.stderr.isatty() and totals.total() < matching.number:
                click.echo(f"\r{totals.total():,} of {what}", err=True, nl=False)
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", err=True, nl=False)
    if json_output:
        print_json({"matched": totals.total(), "answers": dict(totals)})
    elif not on_terminal():
        for answer, number in totals.items():
            print_plain(answer, number)
    elif totals:
        click.echo(", ".join(f"{number:,} {answer}" for answer, number in totals.items()) + ".")
    else:
        note("No jobs match, so nothing was changed.")
    # Jobs that moved on between the count and the act are no failure of the act.
    return DONE


def _pronoun(number: int) -> str:
    return "it" if number == 1 else "them"


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} There is no terminal to ask on: add --yes.")
    if not click.confirm(question, err=True):
        note("Nothing was changed.")
        click.get_current_context().exit(FAILED)
