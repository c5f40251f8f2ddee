"""`pgtask db`: the schema, and the embedded PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import click

from pgtask.cli import roles
from pgtask.cli.context import database, note, settings
from pgtask.cli.errors import DONE, FAILED
from pgtask.cli.output import json_option, on_terminal, print_fields, print_json, print_plain
from pgtask.config import mask_secrets
from pgtask.database import embedded, migrations, psql

LOOK_EVERY = 0.5


@click.group()
def db() -> None:
    """Migrate the schema; give rights; run the embedded PostgreSQL."""


db.add_command(roles.grant)
db.add_command(roles.revoke)


@db.command()
@json_option
def migrate(json_output: bool) -> None:
    """Bring the schema to the version needed.

    Any number of processes may do so at once: one works, the others wait and find it done.
    """
    with database(settings(), ready=False) as url:
        applied = migrations.migrate(url)
        head = migrations.status(url).head
    if json_output:
        print_json({"applied": applied, "current": head})
    elif not on_terminal():
        for revision in applied:
            print_plain(revision)
    elif applied:
        click.echo(f"Migrated: {', '.join(applied)}.")
    else:
        click.echo(f"Nothing to do: the schema is at {head}.")


@db.command()
@json_option
def status(json_output: bool) -> int:
    """Show the schema's version.

    The exit code is 1 when it is not the one that this pgtask needs.
    """
    given = settings()
    server = None if given.database_url else embedded.status(given.home)
    if server is not None and server.version is None:
        note("There is no embedded PostgreSQL here yet. Create it: pgtask db migrate")
        return FAILED
    with database(given, ready=False) as url:
        found = migrations.status(url)
    if json_output:
        print_json(
            {
                "database_url": mask_secrets(url),
                "current": found.current,
                "head": found.head,
                "pending": found.pending,
                "up_to_date": found.up_to_date,
            }
        )
    else:
        print_fields(
            [
                ("Database", mask_secrets(url)),
                ("Current", found.current or "no schema"),
                ("Needed", found.head),
                ("Pending", ", ".join(found.pending) or "nothing"),
            ]
        )
    if not found.up_to_date:
        note("Migrate it: pgtask db migrate")
        return FAILED
    return DONE


@db.command()
def start() -> None:
    """Keep the embedded PostgreSQL up until Ctrl-C.

    Commands and workers start it by themselves, and it stops after the last of them. This keeps it
    up in between, until Ctrl-C or `pgtask db stop`.
    """
    given = settings()
    if given.database_url is not None:
        raise click.UsageError(
            f"The database is {mask_secrets(given.database_url)} ({given.origin('database_url')}), "
            "so there is no embedded one to start."
        )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with database(given) as url:
        click.echo(url)
        note("The embedded PostgreSQL is up. Ctrl-C stops it unless others use it.")
        try:
            while embedded.status(given.home).url == url:
                time.sleep(LOOK_EVERY)
        except KeyboardInterrupt:
            return
    note("The embedded PostgreSQL was stopped.")


@db.command()
def stop() -> None:
    """Stop the embedded PostgreSQL, whoever uses it."""
    given = settings()
    if embedded.stop(given.home):
        note(f"The embedded PostgreSQL in {given.home} is stopped.")
    else:
        note(f"No embedded PostgreSQL is running in {given.home}.")


@db.command("psql", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run_psql(arguments: tuple[str, ...]) -> int:
    """Open psql on the database. All ARGUMENTS are psql's."""
    program = psql.find_psql()
    with database(settings(), ready=False) as url:
        target, variables = psql.connection_arguments(url)
        # Ctrl-C is psql's: it ends a query there, and must not end the parent that holds the server.
        with subprocess.Popen([program, "--dbname", target, *arguments], env=os.environ | variables) as process:
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                return process.wait()
            finally:
                signal.signal(signal.SIGINT, before)
