"""`pgtask bulk`: actions on all jobs that a filter means, and how far they are."""

from __future__ import annotations

import json
import time

import click

from pgtask.cli import parameters
from pgtask.cli.context import note, operations
from pgtask.cli.errors import DONE, FAILED
from pgtask.cli.output import Column, json_option, on_terminal, print_fields, print_json, print_table
from pgtask.cli.text import instant, relative
from pgtask.model.bulk_operation import BulkOperation
from pgtask.model.serialise import page_as_json, record_as_json
from pgtask.model.wording import DASH, plural

_LOOK_EVERY = 0.5


def progress(operation: BulkOperation) -> str:
    """How far an operation is, such as "1,500 of 12,480"."""
    return f"{operation.processed:,} of {plural(operation.matched, 'job', operation.exact)}"


COLUMNS: tuple[Column[BulkOperation], ...] = (
    Column(title="ID", show=lambda operation: str(operation.id), right=True),
    Column(title="STATUS", show=lambda operation: operation.status),
    Column(title="ACTION", show=lambda operation: operation.action),
    Column(
        title="ON", show=lambda operation: operation.target.replace("_", " "), plain=lambda operation: operation.target
    ),
    Column(
        title="DONE", show=progress, plain=lambda operation: f"{operation.processed}/{operation.matched}", right=True
    ),
    Column(
        title="CREATED",
        show=lambda operation: relative(operation.created_at),
        plain=lambda operation: instant(operation.created_at),
    ),
    Column(title="BY", show=lambda operation: operation.created_by or DASH, shrinks=True),
    Column(title="FILTER", show=lambda operation: json.dumps(operation.filter), shrinks=True, wide=True),
)


@click.group()
def bulk() -> None:
    """List, show, watch and cancel bulk operations.

    They are made by `jobs cancel`, `retry` and `delete` with --detach and over REST, and worked off by a worker or the
    server.
    """


@bulk.command("list")
@click.option("--before", type=parameters.positive, metavar="ID", help="Go on below this operation.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=50, metavar="NUMBER", help="At most so many; 50.")
@json_option
def list_operations(before: int | None, limit: int, json_output: bool) -> None:
    """List operations, the latest first.

    In a pipe the columns are: id, status, action, target, processed/matched, created_at, created_by, filter.
    """
    with operations() as doing:
        shown, cursor = doing.list_bulk_operations(before=before, limit=limit)
    if json_output:
        print_json(page_as_json([record_as_json(operation) for operation in shown], cursor))
        return
    print_table(shown, COLUMNS, empty="There are no bulk operations.")
    if cursor and on_terminal():
        note(f"There are older ones: add --before {cursor}")


@bulk.command()
@click.argument("operation_id", type=parameters.positive, metavar="ID")
@json_option
def show(operation_id: int, json_output: bool) -> None:
    """Show an operation: how far it is, and what was refused."""
    with operations() as doing:
        operation = doing.read_bulk_operation(operation_id)
    print_operation(operation, json_output)


@bulk.command()
@click.argument("operation_id", type=parameters.positive, metavar="ID")
@json_option
def cancel(operation_id: int, json_output: bool) -> None:
    """Stop an operation after the chunk under way. What it has done stays done."""
    with operations() as doing:
        operation = doing.cancel_bulk_operation(operation_id)
    print_operation(operation, json_output)


@bulk.command()
@click.argument("operation_id", type=parameters.positive, metavar="ID")
@json_option
def watch(operation_id: int, json_output: bool) -> int:
    """Wait for an operation to end.

    Exits with 0 when it was done, else 1.
    """
    with operations() as doing:
        operation = doing.read_bulk_operation(operation_id)
        while not operation.ended:
            if on_terminal():
                click.echo(f"\r\x1b[K{operation.status}: {progress(operation)}", err=True, nl=False)
            time.sleep(_LOOK_EVERY)
            operation = doing.read_bulk_operation(operation_id)
    if on_terminal():
        click.echo("\r\x1b[K", err=True, nl=False)
    print_operation(operation, json_output)
    return DONE if operation.status == "completed" else FAILED


def print_operation(operation: BulkOperation, json_output: bool) -> None:
    """Prints all there is about an operation."""
    if json_output:
        print_json(record_as_json(operation))
        return
    answers = ", ".join(f"{number:,} {answer}" for answer, number in operation.answers.items())
    values = {
        "Id": str(operation.id),
        "Status": operation.status,
        "Action": f"{operation.action} {operation.target.replace('_', ' ')}",
        "Filter": json.dumps(operation.filter),
        "Done": progress(operation),
        "Answers": answers,
        "Created": f"{relative(operation.created_at)}, by {operation.created_by or DASH}",
        "Ended": relative(operation.finished_at) if operation.finished_at else "",
        "Error": operation.error or "",
        "Refused": "\n".join(
            f"{refusal['id']}: {refusal['detail'] or refusal['answer'] or 'not found'}"
            for refusal in operation.refusals
        ),
    }
    print_fields([(name, value) for name, value in values.items() if value])
