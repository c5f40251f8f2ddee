"""What commands share: the settings, and the way to the database or its server."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from pgtask.config import Settings, load_settings

if TYPE_CHECKING:
    from pgtask.database.connection import Connection
    from pgtask.model.operations import Operations


@dataclass(slots=True)
class State:
    """The options of `pgtask` itself."""

    database_url: str | None = None
    url: str | None = None
    token: str | None = None
    verbose: bool = False
    local: str | None = None
    """The command that runs, if it is of no use without the database itself."""


def settings(**flags: object) -> Settings:
    """The settings in force for the running command, with its own flags.

    Raises UsageError for a command that needs a database where only a server is given.
    """
    state = click.get_current_context().find_object(State) or State()
    given = chosen_settings({"database_url": state.database_url, "url": state.url, "token": state.token} | flags)
    if state.local and given.url is not None and given.database_url is None:
        raise click.UsageError(f"pgtask {state.local} needs the database, not its server: set PGTASK_DATABASE_URL.")
    return replace(given, url=None) if state.local else given


def chosen_settings(flags: Mapping[str, object]) -> Settings:
    """The settings in force: of a database and a server, the one that is a flag is meant."""
    given = load_settings(flags)
    if flags.get("url") is not None:
        return replace(given, database_url=None)
    return replace(given, url=None) if flags.get("database_url") is not None else given


@contextmanager
def database(given: Settings, *, ready: bool = True) -> Iterator[str]:
    """The URL of the database in use; an embedded server is started and held meanwhile.

    With `ready`, an embedded server that has no schema yet gets it: nobody else will.
    """
    if given.database_url is not None:
        yield given.database_url
        return
    if given.url is not None:
        name = click.get_current_context().command_path
        raise click.UsageError(f"{name} needs the database, not its server: set PGTASK_DATABASE_URL.")
    from pgtask.database import embedded, migrations

    if embedded.status(given.home).version is None:
        note(f"Creating an embedded PostgreSQL in {given.home} (PGTASK_DATABASE_URL is not set).")
    with embedded.start(given.home) as server:
        if ready and migrations.status(server.url).current is None:
            migrations.migrate(server.url)
        yield server.url


@contextmanager
def connected() -> Iterator[Connection]:
    """A connection to the database in use, whose schema is the one this version needs."""
    from pgtask.database import connection, migrations

    given = settings()
    with database(given) as url:
        name = click.get_current_context().command_path
        with closing(connection.connect(url, application_name=name, pooled=given.pooled)) as opened:
            migrations.check(opened)
            yield opened


@contextmanager
def operations() -> Iterator[Operations]:
    """The way to do things: over REST where a server's URL is set, else on a connection to the database."""
    with way() as opened, opened() as doing:
        yield doing


@contextmanager
def way() -> Iterator[Callable[[], AbstractContextManager[Operations]]]:
    """What opens `operations`, again and again, from any thread."""
    given = settings()
    if given.url is not None:
        from pgtask.client import Client

        server, token = given.url, given.token
        yield lambda: Client(server, token)
        return
    from pgtask.database import connection, migrations
    from pgtask.database.operations import DatabaseOperations

    name = click.get_current_context().command_path
    with database(given) as url:

        @contextmanager
        def opened() -> Iterator[Operations]:
            with closing(connection.connect(url, application_name=name, pooled=given.pooled)) as made:
                migrations.check(made)
                yield DatabaseOperations(made, user())

        yield opened


def user() -> str | None:
    """The name of who is at the keyboard, None when the system has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def note(text: str) -> None:
    """Says something that is no data, on stderr."""
    click.echo(text, err=True)
