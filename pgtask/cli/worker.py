"""`pgtask worker`: running jobs."""

from __future__ import annotations

import click

from pgtask.cli import parameters
from pgtask.cli.context import database, settings
from pgtask.config import LOG_FORMATS, LOG_LEVELS


@click.command()
@click.option("-A", "--app", metavar="MODULE:NAME", help="Application; else the built-in tasks.")
@click.option("-q", "--queues", metavar="A,B", help="Queues to serve; all unless given.")
@click.option("--strict", is_flag=True, default=None, help="Serve the queues in this order, not by their weights.")
@click.option("--processes", metavar="NUMBER|auto", help="Executors; one per core unless given.")
@click.option("-c", "--concurrency", metavar="NUMBER|auto", help="Jobs at once in each; 10 unless given.")
@click.option(
    "--isolation",
    type=click.Choice(["thread", "process"]),
    metavar="KIND",
    help="thread, or process: one job at a time in each executor.",
)
@click.option("--lease", type=parameters.time_limit, metavar="DURATION", help="Its jobs are rescued after this; 30s.")
@click.option("--poll", type=parameters.time_limit, metavar="DURATION", help="Longest time between two looks; 1s.")
@click.option("--grace", type=parameters.duration, help="Time for jobs to end at shutdown; 30s.")
@click.option("--kill-after", type=parameters.duration, help="From asking a job to stop to ending it by force; 5s.")
@click.option("--max-jobs", type=parameters.positive, metavar="NUMBER", help="Replace an executor after so many.")
@click.option("--max-rss", metavar="SIZE", help="Replace an executor that has more memory, such as 512MB.")
@click.option("--drain", is_flag=True, help="Exit when nothing is left to run.")
@click.option("--no-listen", is_flag=True, help="Only poll.")
@click.option("--pooled", is_flag=True, default=None, help="The database is behind a transaction pooler (PgBouncer).")
@click.option(
    "--metrics-port",
    metavar="[HOST:]PORT",
    help="Show metrics to Prometheus there, such as 9090; on loopback unless HOST is given.",
)
@click.option("--name", metavar="NAME", help="Name to be listed under; else from the host.")
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS),
    metavar="LEVEL",
    help=f"{', '.join(LOG_LEVELS)}; info unless given.",
)
@click.option(
    "--log-format",
    type=click.Choice(LOG_FORMATS),
    metavar="FORMAT",
    help="text, json or auto: text on a terminal, else JSON.",
)
def worker(drain: bool, no_listen: bool, **flags: object) -> int:
    """Run jobs until stopped.

    The first TERM or INT takes no more jobs and gives the running ones the grace period; the second,
    or QUIT, gives them back at once. HUP replaces the executors one by one, which then run the code
    of now; TSTP takes no more jobs until CONT; USR1 logs what runs, with all stacks.
    """
    from pgtask.engine.options import WorkerOptions
    from pgtask.engine.supervisor import run_worker

    given = settings(listen=False if no_listen else None, **flags)
    if given.strict and given.queues is None:
        raise click.UsageError("--strict serves queues in the order of --queues: name them, best first.")
    if given.isolation == "process" and flags["concurrency"] is not None:
        raise click.UsageError(
            "With isolation process each executor runs one job at a time: choose --processes instead of --concurrency."
        )
    with database(given) as url:
        return run_worker(WorkerOptions.chosen(given, url, drain=drain))
