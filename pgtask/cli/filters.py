"""How commands are told which jobs: options, and searches."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from pgtask.cli import completion, parameters
from pgtask.model.job_filter import JobFilter
from pgtask.model.search import merge, parse_search
from pgtask.model.status import JobStatus

search_argument = click.argument("search", nargs=-1, metavar="[QUERY]...")
"""A search, for a command with `filter_options`."""


def ids_or_search_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Ids of jobs, given to the command as `ids`, or a search, for a command with `filter_options`."""

    @click.argument("search", nargs=-1, metavar="[ID|QUERY]...")
    @functools.wraps(function)
    def command(search: tuple[str, ...], **rest: Any) -> Any:
        if all(text.isdigit() for text in search):
            return function(ids=tuple(map(parameters.job_id, search)), search=(), **rest)
        return function(ids=(), search=search, **rest)

    return command


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which jobs, given to the command with what is searched for as the filter `wanted`."""

    @functools.wraps(function)
    def command(
        search: tuple[str, ...],
        statuses: tuple[list[JobStatus], ...],
        queue: str | None,
        task: str | None,
        tag: str | None,
        **rest: Any,
    ) -> Any:
        given = JobFilter(statuses=parameters.flatten(statuses), queue=queue, task=task, tag=tag)
        return function(wanted=merge(given, parse_search(" ".join(search))), **rest)

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
