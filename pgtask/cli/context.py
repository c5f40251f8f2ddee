"""What commands share: the settings, and the way to the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from pgtask.config import Settings, load_settings

if TYPE_CHECKING:
    from pgtask.database.connection import Connection


@dataclass(slots=True)
class State:
    """The options of `pgtask` itself."""

    database_url: str | None = None
    verbose: bool = False


def settings(**flags: object) -> Settings:
    """The settings in force for the running command, with its own flags."""
    state = click.get_current_context().find_object(State)
    url = state.database_url if state else None
    return load_settings({"database_url": url} | flags)


@contextmanager
def database(given: Settings, *, ready: bool = True) -> Iterator[str]:
    """The URL of the database in use; an embedded server is started and held meanwhile.

    With `ready`, an embedded server that has no schema yet gets it: nobody else will.
    """
    if given.database_url is not None:
        yield given.database_url
        return
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


def note(text: str) -> None:
    """Says something that is no data, on stderr."""
    click.echo(text, err=True)
