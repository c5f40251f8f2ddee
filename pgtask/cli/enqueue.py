"""`pgtask enqueue`: one job from the command line."""

from __future__ import annotations

import difflib
import json
import sys
from contextlib import suppress
from datetime import datetime
from typing import Any

import click

from pgtask.cli import completion, parameters
from pgtask.cli.context import note, operations
from pgtask.cli.errors import DONE, FAILED
from pgtask.cli.output import (
    json_option,
    on_terminal,
    print_json,
    print_plain,
    styled_status,
)
from pgtask.cli.text import as_json, clean, first_line
from pgtask.model.enqueued import EnqueuedByName
from pgtask.model.errors import NotAllowedError
from pgtask.model.job import JobRecord
from pgtask.model.operations import Operations
from pgtask.model.serialise import job_as_json
from pgtask.model.status import JobStatus
from pgtask.model.unique import CONFLICTS, SCOPES
from pgtask.model.wording import duration

EXAMPLES = """\b
Examples:
  pgtask enqueue echo message=hi
  pgtask enqueue email.send '{"to": "a@b.c"}' --queue mail --delay 5m
  pgtask enqueue report.build year=2026 --wait
  pgtask enqueue index.rebuild shop=7 --unique-by shop --delay 10s --on-conflict reschedule"""


@click.command(epilog=EXAMPLES)
@click.argument("task", shell_complete=completion.task_names)
@click.argument("payload", nargs=-1)
@click.option(
    "-q", "--queue", metavar="NAME", shell_complete=completion.queue_names, help="Queue; the task's unless given."
)
@click.option("--priority", type=parameters.priority, help="low, normal, high, critical or -100…100.")
@click.option("--delay", type=parameters.duration, help="Run it this much later, as 90s or 1h30m.")
@click.option("--at", "scheduled_at", type=parameters.time, help="Run it at this time (ISO 8601).")
@click.option("--expires", type=parameters.time_limit, metavar="DURATION", help="Cancel it unless started within this.")
@click.option(
    "--concurrency-key",
    type=parameters.concurrency_key,
    metavar="KEY",
    help="Run few jobs of one key at once: the queue's --max-workers-per-key.",
)
@click.option("--unique-key", metavar="KEY", help="Enqueue nothing while a live job has this key.")
@click.option(
    "--unique-by",
    metavar="PATH",
    multiple=True,
    help="A key from the value at this path of the payload, as order.id; repeatable; . is all of it.",
)
@click.option("--unique-scope", type=click.Choice(SCOPES), help="Until when the key is held; active unless given.")
@click.option("--unique-window", type=parameters.time_limit, metavar="DURATION", help="Hold it no longer than this.")
@click.option("--on-conflict", type=click.Choice(CONFLICTS), help="What to do where it is held; skip unless given.")
@click.option("--max-wait", type=parameters.duration, metavar="DURATION", help="Reschedule no later after the first.")
@click.option("--max-retries", type=parameters.retries, metavar="NUMBER", help="Retries; 0 none, -1 without limit.")
@click.option("--timeout", type=parameters.time_limit, metavar="DURATION", help="Longest run time of an attempt.")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="Tag to find it by; repeatable.")
@click.option("--wait", is_flag=True, help="Wait for its end; exit 1 unless it completes.")
@click.option("--timeout-wait", type=parameters.time_limit, metavar="DURATION", help="Wait no longer than this.")
@json_option
def enqueue(
    task: str,
    payload: tuple[str, ...],
    delay: float | None,
    scheduled_at: datetime | None,
    wait: bool,
    timeout_wait: float | None,
    json_output: bool,
    unique_by: tuple[str, ...],
    **options: Any,
) -> int:
    """Enqueue a job for TASK.

    PAYLOAD is a JSON object, key=value pairs, or - to read a JSON object from stdin. A value is JSON
    where it can be read as such, else text.
    """
    if delay is not None and scheduled_at is not None:
        raise click.UsageError("Give --delay or --at, not both.")
    if timeout_wait is not None and not wait:
        raise click.UsageError("--timeout-wait needs --wait.")
    values = read_payload(payload)
    paths = () if unique_by == (".",) else unique_by or None

    with operations() as doing:
        readable = not (wait or json_output) or doing.may_read_jobs()
        if wait and not readable:
            raise NotAllowedError("This database role may not read jobs, so it cannot --wait. Nothing was enqueued.")
        enqueued = doing.enqueue(task, values, delay=delay, scheduled_at=scheduled_at, unique_by=paths, **options)
        _hint(doing, enqueued, task)
        if wait:
            return _print_end(doing.await_job(enqueued.id, timeout_wait), json_output)
        if json_output and not readable:
            print_json({"id": enqueued.id})
        elif json_output:
            print_json(job_as_json(doing.read_job(enqueued.id)))
        elif on_terminal():
            click.echo(f"Job {enqueued.id}" + (" enqueued." if enqueued.created else ""))
        else:
            print_plain(enqueued.id)
    return DONE


def read_payload(parts: tuple[str, ...]) -> dict[str, Any]:
    """The payload that the arguments spell. Raises UsageError when they spell none."""
    if parts == ("-",):
        return _read_object(sys.stdin.read(), "stdin")
    if len(parts) == 1 and parts[0].lstrip().startswith(("{", "[", '"')):
        return _read_object(parts[0], "the payload")
    payload: dict[str, Any] = {}
    for part in parts:
        key, separator, value = part.partition("=")
        if not separator or not key:
            raise click.UsageError(f"{part!r} is no payload: give key=value pairs or one JSON object.")
        if key in payload:
            raise click.UsageError(f"The payload has '{key}' twice.")
        try:
            payload[key] = _parse_json(value)
        except ValueError:
            payload[key] = value
    return payload


def _read_object(text: str, where: str) -> dict[str, Any]:
    try:
        value = _parse_json(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"There is no JSON in {where}: {error}.") from None
    if not isinstance(value, dict):
        raise click.UsageError("The payload must be a JSON object: its keys are the arguments.")
    return value


def _parse_json(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def _hint(doing: Operations, enqueued: EnqueuedByName, task: str) -> None:
    if not enqueued.created:
        done = "" if enqueued.answer == "held" else f" and was {enqueued.answer}"
        note(f"Nothing new enqueued: job {enqueued.id} holds this unique key{done}.")
        return
    with suppress(NotAllowedError):
        names = [known.name for known in doing.list_tasks()]
        if task in names:
            return
        close = difflib.get_close_matches(task, names, 1)
        hint = f"Did you mean '{close[0]}'?" if close else "Start one: pgtask worker"
        note(clean(f"No worker has registered task '{task}' yet: the job waits. {hint}"))


def _print_end(job: JobRecord, json_output: bool) -> int:
    if json_output:
        print_json(job_as_json(job))
    elif not on_terminal():
        print_plain(job.id, job.status, as_json(job.result, None), first_line(job.error) or None)
    else:
        took = ""
        if job.started_at and job.finished_at:
            took = f" in {duration((job.finished_at - job.started_at).total_seconds())}"
        reason = f": {first_line(job.error)}" if job.error else ""
        click.echo(f"Job {job.id} {styled_status(job.status)}{took}{reason}")
        if job.result is not None:
            click.echo(as_json(job.result))
    if not JobStatus(job.status).final:
        note(f"Job {job.id} has not ended; follow it: pgtask jobs show {job.id}")
    return DONE if job.status == JobStatus.COMPLETED else FAILED
