"""`pgtask stats`: throughput, errors and times."""

from __future__ import annotations

import click

from pgtask.cli.completion import queue_names
from pgtask.cli.context import operations
from pgtask.cli.output import json_option, on_terminal, print_json, print_plain, print_table
from pgtask.cli.statistics_views import TALLY_COLUMNS, print_summary, window_option
from pgtask.model.serialise import statistics_as_json


@click.command()
@window_option
@click.option("-q", "--queue", metavar="NAME", shell_complete=queue_names, help="Only this queue.")
@json_option
def stats(window: float, queue: str | None, json_output: bool) -> None:
    """Show throughput, errors and times by queue and task."""
    with operations() as doing:
        statistics = doing.read_statistics(window, queue)
    if json_output:
        print_json(statistics_as_json(statistics))
        return
    print_summary(statistics)
    for kind, tallies in (("queue", statistics.by_queue), ("task", statistics.by_task)):
        if not tallies:
            continue
        rows = [(name, tally, statistics) for name, tally in tallies.items()]
        if on_terminal():
            click.echo()
        else:
            print_plain(kind)
        print_table(rows, TALLY_COLUMNS[kind], empty="")
