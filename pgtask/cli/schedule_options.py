"""The options that say what a schedule is to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from pgtask.cli import completion, parameters
from pgtask.model.misfire import Catchup
from pgtask.model.overlap import Overlap

timezone_option = click.option("--timezone", metavar="ZONE", help="IANA name such as Europe/Vienna; UTC.")
seconds_option = click.option(
    "--seconds",
    type=click.Choice(["first", "last", parameters.INHERIT]),
    metavar="PLACE",
    help="Where seconds stand in six fields: first or last.",
)

_JOBS = (
    click.option("-q", "--queue", metavar="NAME", shell_complete=completion.queue_names, help="Queue; the task's."),
    click.option("--priority", type=parameters.or_inherit(parameters.priority), help="low … critical or -100…100."),
    click.option("--max-retries", type=parameters.or_inherit(parameters.retries), help="Retries of each job."),
    click.option("--timeout", type=parameters.or_inherit(parameters.time_limit), help="Longest run of an attempt."),
    click.option("--tag", "tags", metavar="TAG", multiple=True, help="Tag of its jobs; repeatable."),
)
_RULES = (
    click.option(
        "--catchup",
        type=click.Choice([rule.value for rule in Catchup]),
        metavar="RULE",
        help="Missed ticks that fire: none, one (the latest; default) or all.",
    ),
    click.option("--catchup-limit", type=parameters.positive, help="With all: at most so many; 100."),
    click.option("--catchup-max-age", type=parameters.duration, help="With all: none older than this; 7d."),
    click.option(
        "--overlap",
        type=click.Choice([rule.value for rule in Overlap]),
        metavar="RULE",
        help="While earlier jobs live: queue_one (default), skip, allow or cancel_running.",
    ),
    click.option("--jitter", type=parameters.duration, help="Put each job off by up to this; none."),
    click.option("--starts-at", type=parameters.or_inherit(parameters.time), help="No tick before (ISO 8601)."),
    click.option("--ends-at", type=parameters.or_inherit(parameters.time), help="No tick after (ISO 8601)."),
)


def schedule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Time zone, jobs, and rules; what is not given is None, or empty."""
    for option in reversed((timezone_option, seconds_option, *_JOBS, *_RULES)):
        command = option(command)
    return command


# What a schedule may have none of. Elsewhere the word is a name like any other.
_OPTIONAL = {"seconds", "queue", "priority", "max_retries", "timeout", "tags", "starts_at", "ends_at"}


def chosen(options: dict[str, Any]) -> dict[str, Any]:
    """What was given, `inherit` as None where there may be none; no tags then."""
    given = {name: value for name, value in options.items() if value not in (None, ())}
    nothing = (parameters.INHERIT, (parameters.INHERIT,))
    return {name: None if name in _OPTIONAL and value in nothing else value for name, value in given.items()}
