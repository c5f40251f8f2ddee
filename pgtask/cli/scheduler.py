"""`pgtask scheduler`: firing schedules and doing upkeep, without running jobs."""

from __future__ import annotations

import click

from pgtask.cli import parameters
from pgtask.cli.context import database, settings
from pgtask.config import LOG_FORMATS, LOG_LEVELS


@click.command()
@click.option("--lease", type=parameters.time_limit, metavar="DURATION", help="It counts as dead after this; 30s.")
@click.option("--no-listen", is_flag=True, help="Only poll.")
@click.option("--pooled", is_flag=True, default=None, help="The database is behind a transaction pooler (PgBouncer).")
@click.option("--name", metavar="NAME", help="Name to be listed under; else from the host.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), metavar="LEVEL", help=f"{', '.join(LOG_LEVELS)}; info.")
@click.option("--log-format", type=click.Choice(LOG_FORMATS), metavar="FORMAT", help="text, json or auto.")
def scheduler(no_listen: bool, **flags: object) -> int:
    """Fire schedules, rescue jobs of dead workers and do other upkeep, until stopped.

    Not needed where workers run: each of them can. Any number may run; each tick fires once.
    """
    from pgtask.engine.timekeeper import TimekeeperOptions, run_scheduler

    given = settings(listen=False if no_listen else None, **flags)
    with database(given) as url:
        return run_scheduler(
            TimekeeperOptions(
                database_url=url,
                lease=given.lease,
                listen=given.listen,
                pooled=given.pooled,
                name=given.name,
                log_level=given.log_level,
                log_format=given.log_format,
            )
        )
