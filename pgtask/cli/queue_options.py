"""The settings of a queue as options of commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from pgtask.cli import completion, parameters
from pgtask.model.rate import Rate
from pgtask.model.retry import STRATEGIES

_LIMITS = ("max_workers", "rate_limit", "max_size", "retry_budget", "dead_letter_queue")


def setting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The settings of a queue; jobs and tasks that have their own are not concerned."""
    any_of = f"{', '.join(STRATEGIES)} or inherit"
    for option in (
        click.option(
            "--dead-letter-queue",
            metavar="NAME",
            shell_complete=completion.queue_names,
            help="Queue that gets a copy of each job that fails; or none.",
        ),
        click.option(
            "--retry-budget",
            type=parameters.or_none(parameters.share),
            metavar="SHARE",
            help="Retries as a share of starts while it fails, as 20%; or none.",
        ),
        click.option(
            "--max-size",
            type=parameters.or_none(parameters.limit),
            metavar="NUMBER",
            help="Waiting jobs, beyond which no more are enqueued; or none.",
        ),
        click.option(
            "--rate-burst",
            type=parameters.limit,
            metavar="NUMBER",
            help="Starts at once after a quiet time; what the rate gives in a second.",
        ),
        click.option(
            "--rate-limit",
            type=parameters.or_none(parameters.rate),
            metavar="RATE",
            help="Starts of jobs, as 100/min or 5/10s; or none.",
        ),
        click.option(
            "--max-workers-per-key",
            type=parameters.limit,
            metavar="NUMBER",
            help="Jobs of one concurrency key running at once; 1.",
        ),
        click.option(
            "--max-workers",
            type=parameters.or_none(parameters.limit_or_zero),
            metavar="NUMBER",
            help="Jobs running at once, on all workers; or none.",
        ),
        click.option(
            "--timeout",
            type=parameters.or_inherit(parameters.time_limit),
            metavar="DURATION",
            help="Longest run time of an attempt.",
        ),
        click.option(
            "--max-retry-delay",
            type=parameters.or_inherit(parameters.duration),
            help="Longest delay before a retry.",
        ),
        click.option(
            "--retry-delay",
            type=parameters.or_inherit(parameters.duration),
            help="Delay before the first retry.",
        ),
        click.option(
            "--retry-strategy",
            type=click.Choice([*STRATEGIES, parameters.INHERIT]),
            metavar="STRATEGY",
            help=f"How the delay grows: {any_of}.",
        ),
        click.option(
            "--max-retries",
            type=parameters.or_inherit(parameters.retries),
            metavar="NUMBER",
            help="Retries of a job; 0 none, -1 without limit.",
        ),
        click.option(
            "--weight",
            type=click.IntRange(1, 1000),
            metavar="NUMBER",
            help="Its share beside queues of equal priority; 1.",
        ),
        click.option(
            "--priority",
            type=parameters.queue_priority,
            metavar="NUMBER",
            help="Queues with a bigger one are served first; 0.",
        ),
    ):
        command = option(command)
    return command


def changed_settings(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as changes of a queue. Raises UsageError when they contradict each other."""
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in given.items():
        if value == (parameters.NONE if name in _LIMITS else parameters.INHERIT):
            given[name] = None
    if "rate_limit" in given and "rate_burst" in given:
        rate: Rate | None = given["rate_limit"]
        if rate is None:
            raise click.UsageError("Without a rate there is no burst: give a --rate-limit, or leave --rate-burst out.")
        given["rate_limit"] = replace(rate, burst=given.pop("rate_burst"))
    return given
