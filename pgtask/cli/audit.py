"""`pgtask audit`: who changed what through the API."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click

from pgtask.cli import parameters
from pgtask.cli.context import note, operations
from pgtask.cli.output import Column, json_option, on_terminal, print_json, print_table
from pgtask.cli.text import instant, relative
from pgtask.model.audit import AuditRecord
from pgtask.model.serialise import page_as_json, record_as_json


@click.group()
def audit() -> None:
    """Show who changed what through the API."""


COLUMNS: tuple[Column[AuditRecord], ...] = (
    Column(title="ID", show=lambda change: str(change.id), right=True),
    Column(title="AT", show=lambda change: relative(change.at), plain=lambda change: instant(change.at)),
    Column(title="ACTOR", show=lambda change: change.actor, shrinks=True),
    Column(title="ADDRESS", show=lambda change: change.address or "", wide=True),
    Column(title="ACTION", show=lambda change: change.action),
    Column(title="SUBJECT", show=lambda change: change.subject or "", shrinks=True),
    Column(title="DETAILS", show=lambda change: _compact(change.details), shrinks=True),
    Column(title="REQUEST", show=lambda change: change.request_id or "", wide=True),
)


def _compact(details: Any) -> str:
    return "" if details is None else json.dumps(details, ensure_ascii=False, separators=(",", ":"))


@audit.command("list")
@click.option("--actor", metavar="NAME", help="What this token's holder changed.")
@click.option("--action", metavar="NAME", help="Changes of this kind, such as pause_queue.")
@click.option("--subject", metavar="NAME", help="Changes of this thing.")
@click.option("--since", type=parameters.since, metavar="WHEN", help="Since a time, or in the last 24h.")
@click.option("--before", type=parameters.positive, metavar="ID", help="Go on below this id.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=50, metavar="NUMBER", help="At most so many; 50.")
@json_option
def list_audit(
    actor: str | None,
    action: str | None,
    subject: str | None,
    since: datetime | None,
    before: int | None,
    limit: int,
    json_output: bool,
) -> None:
    """List changes, newest first.

    In a pipe the columns are: id, at, actor, address, action, subject, details, request_id.
    """
    with operations() as doing:
        shown, cursor = doing.list_audit(
            actor=actor, action=action, subject=subject, since=since, before=before, limit=limit
        )
    if json_output:
        print_json(page_as_json([record_as_json(change) for change in shown], cursor))
        return
    print_table(shown, COLUMNS, empty="No changes match, or none was made through the API.")
    if cursor and on_terminal():
        note(f"There are older ones: add --before {cursor}")
