"""`pgtask jobs edit` and `run-now`: changing a job that waits."""

from __future__ import annotations

from typing import Any

import click

from pgtask.cli import completion, parameters
from pgtask.cli.context import connected
from pgtask.cli.enqueue import read_payload
from pgtask.cli.output import json_option, on_terminal, print_json, print_plain
from pgtask.database import editing
from pgtask.model.job import JobRecord
from pgtask.model.payload import encode
from pgtask.model.serialise import instant_as_text, job_as_json

EXAMPLES = """\b
Examples:
  pgtask jobs edit 42 --queue urgent --priority high
  pgtask jobs edit 42 --delay 10m --timeout inherit
  pgtask jobs edit 42 --payload '{"to": "a@b.c"}'"""


@click.command(epilog=EXAMPLES)
@click.argument("job_id", type=parameters.job_id, metavar="ID")
@click.option("-q", "--queue", metavar="NAME", shell_complete=completion.queue_names, help="Move it to this queue.")
@click.option("--priority", type=parameters.priority, help="low, normal, high, critical or -100…100.")
@click.option("--delay", type=parameters.duration, help="Run it so much later than now, as 90s or 1h30m.")
@click.option("--at", "scheduled_at", type=parameters.time, help="Run it at this time (ISO 8601).")
@click.option("--payload", metavar="JSON", help="Other arguments, a JSON object; a unique key stays as it is.")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="Tags in place of its own; repeatable; none.")
@click.option("--max-retries", type=parameters.or_inherit(parameters.retries), metavar="NUMBER", help="Or inherit.")
@click.option("--timeout", type=parameters.or_inherit(parameters.time_limit), metavar="DURATION", help="Or inherit.")
@click.option(
    "--start-by",
    type=parameters.or_none(parameters.time),
    metavar="TIME",
    help="Cancel it unless started by then; none.",
)
@json_option
def edit(job_id: int, payload: str | None, tags: tuple[str, ...], json_output: bool, **given: Any) -> None:
    """Change a job that waits; what is not given stays as it is.

    One that runs or has ended is left alone. In a pipe the columns are: id, status, queue, priority, scheduled_at.
    """
    delay, scheduled_at = given["delay"], given["scheduled_at"]
    if delay is not None and scheduled_at is not None:
        raise click.UsageError("Give --delay or --at, not both.")
    words = (parameters.NONE, parameters.INHERIT)
    changes = {name: value for name, value in given.items() if value is not None}
    changes |= {name: None for name in ("max_retries", "timeout", "start_by") if given[name] in words}
    if payload is not None:
        changes["payload"] = encode(read_payload((payload,)))
    if tags:
        changes["tags"] = () if tags == (parameters.NONE,) else tags
    if not changes:
        raise click.UsageError("Say what to change, as --priority high.")
    with connected() as connection:
        _print(editing.edit_job(connection, job_id, changes), "changed", json_output)


@click.command("run-now")
@click.argument("job_id", type=parameters.job_id, metavar="ID")
@json_option
def run_now(job_id: int, json_output: bool) -> None:
    """Make a job that waits due now."""
    with connected() as connection:
        _print(editing.run_job_now(connection, job_id), "is due", json_output)


def _print(job: JobRecord, done: str, json_output: bool) -> None:
    if json_output:
        print_json(job_as_json(job))
    elif on_terminal():
        click.echo(f"Job {job.id} {done}.")
    else:
        print_plain(job.id, job.status, job.queue, job.priority, instant_as_text(job.scheduled_at))
