"""`pgtask tokens`: who may use the API."""

from __future__ import annotations

import click

from pgtask.cli import parameters
from pgtask.cli.context import note, operations
from pgtask.cli.output import Column, json_option, on_terminal, print_fields, print_json, print_plain, print_table
from pgtask.cli.text import instant, relative, with_relative
from pgtask.model.serialise import page_as_json, record_as_json
from pgtask.model.token import Scope, TokenRecord


@click.group()
def tokens() -> None:
    """Make, list and revoke tokens of the API."""


def _state(token: TokenRecord) -> str:
    from datetime import UTC, datetime

    if token.revoked_at:
        return "revoked"
    return "expired" if token.expires_at and token.expires_at <= datetime.now(UTC) else "live"


COLUMNS: tuple[Column[TokenRecord], ...] = (
    Column(title="ID", show=lambda token: str(token.id), right=True),
    Column(title="NAME", show=lambda token: token.name, shrinks=True),
    Column(title="STATE", show=_state, style=lambda token: "green" if _state(token) == "live" else "dim"),
    Column(title="SCOPES", show=lambda token: ",".join(token.scopes)),
    Column(title="QUEUES", show=lambda token: ",".join(token.queues) if token.queues else "all", shrinks=True),
    Column(
        title="EXPIRES",
        show=lambda token: relative(token.expires_at) if token.expires_at else "never",
        plain=lambda token: instant(token.expires_at),
    ),
    Column(
        title="USED",
        show=lambda token: relative(token.last_used_at),
        plain=lambda token: instant(token.last_used_at),
    ),
)


@tokens.command()
@click.argument("name")
@click.option(
    "-s",
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice([scope.value for scope in Scope]),
    metavar="SCOPE",
    help=f"What it permits: {', '.join(Scope)}; repeatable.",
)
@click.option("-q", "--queue", "queues", multiple=True, metavar="NAME", help="Only this queue's jobs; repeatable.")
@click.option(
    "--expires", type=parameters.time_limit, metavar="DURATION", help="It ends after this; never unless given."
)
@click.option("--rate", type=click.FloatRange(0.001), metavar="NUMBER", help="Requests a second; else the server's.")
@json_option
def create(
    name: str,
    scopes: tuple[str, ...],
    queues: tuple[str, ...],
    expires: float | None,
    rate: float | None,
    json_output: bool,
) -> None:
    """Make a token and print it, this once: only its hash is kept.

    operate includes read, and admin everything. In a pipe the token alone is printed.
    """
    with operations() as doing:
        text, record = doing.create_token(
            name, map(Scope, scopes), queues=queues or None, rate_limit=rate, lifetime=expires
        )
    if json_output:
        print_json(record_as_json(record) | {"token": text})
    elif not on_terminal():
        print_plain(text)
    else:
        print_fields(
            [
                ("Token", text),
                ("Scopes", ", ".join(record.scopes)),
                ("Queues", ", ".join(record.queues) if record.queues else "all"),
                ("Expires", with_relative(record.expires_at) if record.expires_at else "never"),
            ]
        )
        note("Keep it: it is not shown again. Use it as: curl -H 'Authorization: Bearer pgt_…' …")


@tokens.command("list")
@click.option("--before", type=parameters.positive, metavar="ID", help="Go on below this id.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=50, metavar="NUMBER", help="At most so many; 50.")
@json_option
def list_tokens(before: int | None, limit: int, json_output: bool) -> None:
    """List tokens, newest first, also those that have ended.

    In a pipe the columns are: id, name, state, scopes, queues, expires_at, last_used_at.
    """
    with operations() as doing:
        shown, cursor = doing.list_tokens(before=before, limit=limit)
    if json_output:
        print_json(page_as_json([record_as_json(token) for token in shown], cursor))
        return
    print_table(shown, COLUMNS, empty="There are no tokens. Make one: pgtask tokens create NAME --scope admin")
    if cursor and on_terminal():
        note(f"There are older ones: add --before {cursor}")


@tokens.command()
@click.argument("which", metavar="NAME|ID")
@json_option
def revoke(which: str, json_output: bool) -> None:
    """End a token, by its name or id. Servers refuse it within two seconds."""
    with operations() as doing:
        record = doing.revoke_token(int(which) if which.isdecimal() else which)
    if json_output:
        print_json(record_as_json(record))
    elif on_terminal():
        click.echo(f"Token {record.name} is revoked.")
    else:
        print_plain(record.id, record.name, "revoked")
