"""`pgtask server`: serving the REST API."""

from __future__ import annotations

import click

from pgtask.cli.context import database, note, settings
from pgtask.config import LOG_FORMATS, LOG_LEVELS, Settings
from pgtask.model.errors import ConfigurationError

MISSING = "The server needs more packages: pip install 'pgtask[server]'."


@click.command()
@click.option("--bind", metavar="HOST:PORT", help="Where to listen, also unix:/path; 127.0.0.1:8080 unless given.")
@click.option("--processes", "server_processes", type=click.IntRange(1), metavar="NUMBER", help="2 unless given.")
@click.option("--threads", "server_threads", type=click.IntRange(1), metavar="NUMBER", help="In each; 16 unless given.")
@click.option("--pooled", is_flag=True, default=None, help="The database is behind a transaction pooler (PgBouncer).")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), metavar="LEVEL", help=f"{', '.join(LOG_LEVELS)}; info.")
@click.option("--log-format", type=click.Choice(LOG_FORMATS), metavar="FORMAT", help="text, json or auto.")
@click.option("--fd", type=click.IntRange(0), hidden=True)
def server(fd: int | None, **flags: object) -> int:
    """Serve the REST API until stopped; its documentation is at /api/docs.

    Everything but that asks for a token: pgtask tokens create. Listening where other machines reach it needs one to
    exist. TERM ends it when the requests at hand are answered, within the grace period; HUP replaces its processes.
    """
    try:
        from pgtask.web.listening import Place, only_here
        from pgtask.web.server import serve
    except ModuleNotFoundError as error:
        raise ConfigurationError(MISSING) from error
    import socket
    from contextlib import closing

    from pgtask.observability import logging

    given = settings(**flags)
    with (
        closing(Place.parse(given.bind).listen() if fd is None else socket.socket(fileno=fd)) as listener,
        database(given) as url,
    ):
        _check(given, url, only_here=only_here(listener))
        logging.configure(given.log_level, given.log_format)
        return int(serve(given, url, listener))


def _check(given: Settings, url: str, *, only_here: bool) -> None:
    """Refuses to start on another schema, or open to others while nobody is known who may come."""
    from contextlib import closing

    from pgtask.database import connection, migrations, tokens

    with closing(connection.connect(url, application_name="pgtask server", pooled=given.pooled)) as opened:
        migrations.check(opened)
        known = tokens.any_live(opened)
    if known:
        return
    if not only_here:
        raise ConfigurationError(
            f"There is no token, so nobody could be told from a stranger at {given.bind}. "
            "Make one first: pgtask tokens create NAME --scope admin"
        )
    note("There is no token yet, so all requests are refused. Make one: pgtask tokens create NAME --scope admin")
