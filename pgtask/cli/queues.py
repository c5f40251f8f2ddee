"""`pgtask queues`: the lanes of jobs."""

from __future__ import annotations

import getpass
from typing import Any

import click

from pgtask.cli import completion
from pgtask.cli.context import connected
from pgtask.cli.output import json_option, on_terminal, print_fields, print_json, print_plain, print_table
from pgtask.cli.queue_options import changed_settings, setting_options
from pgtask.cli.queue_views import COUNTS, QUEUE_COLUMNS, counted, oldest, print_done, settings_fields, state
from pgtask.cli.statistics_views import TALLY_COLUMNS, print_summary, window_option
from pgtask.cli.text import instant
from pgtask.database import queues as store
from pgtask.database.statistics import read_statistics
from pgtask.model.queue import QueueRecord
from pgtask.model.serialise import page_as_json, queue_statistics_as_json, record_as_json


@click.group()
def queues() -> None:
    """List, create, change, pause, resume and delete queues."""


@queues.command("list")
@json_option
def list_queues(json_output: bool) -> None:
    """List queues with what waits and runs in them.

    Estimates are marked with ~, lower bounds with +. In a pipe the columns are: name, state,
    priority, pending, scheduled, retrying, running, due time of the oldest, workers, paused by,
    limits.
    """
    with connected() as connection:
        found = store.list_queues(connection)
    if json_output:
        print_json(page_as_json([record_as_json(queue) for queue in found]))
    else:
        print_table(found, QUEUE_COLUMNS, empty="No queues.")


@queues.command()
@click.argument("name")
@setting_options
@json_option
def create(name: str, json_output: bool, **options: Any) -> None:
    """Create a queue.

    Jobs may be enqueued to any queue, created or not; what is created are its settings.
    """
    with connected() as connection:
        store.create_queue(connection, name, changed_settings(options))
        _print_queue(store.read_queue(connection, name), json_output, "created")


@queues.command("set")
@click.argument("name", shell_complete=completion.queue_names)
@setting_options
@json_option
def set_queue(name: str, json_output: bool, **options: Any) -> None:
    """Change settings of a queue.

    The word inherit takes one back, so that the built-in value holds again; none takes a limit back.
    A new --rate-limit brings its own burst unless --rate-burst is given with it.
    """
    changes = changed_settings(options)
    if not changes:
        raise click.UsageError("Say what to change, such as --max-retries 5.")
    with connected() as connection:
        store.set_queue(connection, name, changes)
        _print_queue(store.read_queue(connection, name), json_output, "changed")


@queues.command()
@click.argument("names", nargs=-1, required=True, shell_complete=completion.queue_names)
@json_option
def pause(names: tuple[str, ...], json_output: bool) -> None:
    """Pause queues.

    Nothing more is started, running jobs finish, and jobs may still be enqueued.
    """
    with connected() as connection:
        paused = store.pause_queues(connection, names, user())
    if json_output:
        items = [queue._asdict() | {"paused_at": instant(queue.paused_at)} for queue in paused]
        print_json(page_as_json(items))
        return
    for queue in paused:
        print_done(queue.name, "paused", f"resume it: pgtask queues resume {queue.name}")


@queues.command()
@click.argument("names", nargs=-1, required=True, shell_complete=completion.queue_names)
@json_option
def resume(names: tuple[str, ...], json_output: bool) -> None:
    """Resume queues."""
    with connected() as connection:
        resumed = store.resume_queues(connection, names)
    if json_output:
        items = [{"name": name, "resumed": name in resumed} for name in dict.fromkeys(names)]
        print_json(page_as_json(items))
        return
    for name in dict.fromkeys(names):
        print_done(name, "resumed" if name in resumed else "not paused")


@queues.command()
@click.argument("name", shell_complete=completion.queue_names)
@window_option
@json_option
def stats(name: str, window: float, json_output: bool) -> None:
    """Show a queue, and what came of its jobs by task."""
    with connected() as connection:
        queue = store.read_queue(connection, name)
        statistics = read_statistics(connection, window, name)
    if json_output:
        print_json(queue_statistics_as_json(queue, statistics))
        return
    if on_terminal():
        by = f" by {queue.paused_by}" if queue.paused_by else ""
        print_done(queue.name, state(queue) + by)
        counts = [(field.capitalize(), counted(queue, field)) for field in COUNTS]
        counts += [("Oldest", oldest(queue)), ("Workers", str(queue.workers))]
        print_fields([*counts, *settings_fields(queue)])
        click.echo()
    else:
        for title, value in record_as_json(queue).items():
            print_plain(title, value)
    print_summary(statistics)
    rows = [(task, tally, statistics) for task, tally in statistics.by_task.items()]
    if rows:
        if on_terminal():
            click.echo()
        print_table(rows, TALLY_COLUMNS["task"], empty="")


@queues.command()
@click.argument("name", shell_complete=completion.queue_names)
@json_option
def delete(name: str, json_output: bool) -> None:
    """Delete the settings of a queue.

    Refused while it has jobs that have not ended.
    """
    with connected() as connection:
        store.delete_queue(connection, name)
    if json_output:
        print_json({"name": name, "deleted": True})
    else:
        print_done(name, "deleted")


def user() -> str | None:
    """The name of who is at the keyboard, None when the system has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def _print_queue(queue: QueueRecord, json_output: bool, done: str) -> None:
    if json_output:
        print_json(record_as_json(queue))
        return
    print_done(queue.name, done)
    if on_terminal():
        print_fields(settings_fields(queue))
