"""`pgtask tasks`: what workers can run, at which rate, and whose jobs are held."""

from __future__ import annotations

import click

from pgtask.cli import completion, parameters
from pgtask.cli.context import operations
from pgtask.cli.output import json_option, print_json, print_table
from pgtask.cli.task_views import TASK_COLUMNS, print_done, rate
from pgtask.model.rate import Rate
from pgtask.model.serialise import page_as_json, record_as_json
from pgtask.model.wording import duration

NONE, INHERIT = "none", "inherit"


@click.group()
def tasks() -> None:
    """List tasks, set their rates, and open or close their circuits."""


@tasks.command("list")
@json_option
def list_tasks(json_output: bool) -> None:
    """List tasks with their defaults, rates and circuits.

    What is not set is inherited from the queue, then built in. A rate set by hand is yellow. Jobs
    of a task whose circuit is open are held, and of one that is half open all but a probe.

    In a pipe the columns are: name, queue, priority, max retries, retry strategy, timeout, last
    seen, live, code version, rate, burst, share of failures, circuit, since, next probe, why.
    """
    with operations() as doing:
        found = doing.list_tasks()
    if json_output:
        print_json(page_as_json([record_as_json(task) for task in found]))
        return
    print_table(
        found,
        TASK_COLUMNS,
        empty="No worker has registered a task yet. Start one: pgtask worker --app module:app",
    )


@tasks.command("open")
@click.argument("name", shell_complete=completion.task_names)
@click.option(
    "--for",
    "hold",
    type=parameters.time_limit,
    metavar="DURATION",
    help="Then one job probes; without it, until the circuit is closed by hand.",
)
@click.option("--reason", help="Shown beside the circuit.")
@json_option
def open_circuit(name: str, hold: float | None, reason: str | None, json_output: bool) -> None:
    """Open a task's circuit, with a breaker or without.

    None of its jobs is started any more; they wait, uncharged, and running ones finish.
    """
    with operations() as doing:
        doing.open_circuit(name, hold, reason)
        task = doing.read_task(name)
    if json_output:
        print_json(record_as_json(task))
    else:
        until = "" if hold is None else f" for {duration(hold)}"
        print_done(name, f"circuit open{until}", f"close it: pgtask tasks close {name}")


@tasks.command("close")
@click.argument("name", shell_complete=completion.task_names)
@json_option
def close_circuit(name: str, json_output: bool) -> None:
    """Close a task's circuit: its jobs start again."""
    with operations() as doing:
        closed = doing.close_circuit(name)
        task = doing.read_task(name)
    if json_output:
        print_json(record_as_json(task))
    else:
        print_done(name, "circuit closed" if closed else "circuit was not open")


def rate_or_word(text: str) -> str:
    """A rate such as 100/min, or a word in its place."""
    if text not in (NONE, INHERIT):
        _parse(text, None)
    return text


rate_or_word.__name__ = "rate"


@tasks.command("set")
@click.argument("name", shell_complete=completion.task_names)
@click.option(
    "--rate-limit",
    type=rate_or_word,
    metavar="RATE",
    help="Starts of its jobs, as 100/min or 5/10s; none, or inherit: as its code says.",
)
@click.option(
    "--rate-burst",
    type=parameters.positive,
    metavar="NUMBER",
    help="Starts at once after a quiet time; what the rate gives in a second.",
)
@json_option
def set_task(name: str, rate_limit: str | None, rate_burst: int | None, json_output: bool) -> None:
    """Set the rate of a task, which then holds across deployments.

    It counts all starts in the whole fleet.
    """
    if rate_limit is None and rate_burst is None:
        raise click.UsageError("Say what to change, such as --rate-limit 100/min.")
    if rate_limit in (NONE, INHERIT) and rate_burst is not None:
        raise click.UsageError(f"--rate-burst belongs to a rate, not to {rate_limit}.")
    with operations() as doing:
        text = rate_limit or rate(doing.read_task(name))
        if not text:
            raise click.UsageError(f"Task '{name}' has no rate: give --rate-limit, too, such as 100/min.")
        if text == INHERIT:
            doing.inherit_rate(name)
        else:
            doing.set_rate(name, None if text == NONE else _parse(text, rate_burst))
        task = doing.read_task(name)
    if json_output:
        print_json(record_as_json(task))
    else:
        print_done(name, f"rate {rate(task) or NONE}" + (f", burst {task.rate_burst}" if task.rate_burst else ""))


def _parse(text: str, burst: int | None) -> Rate:
    try:
        return Rate.parse(text, burst)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None
