"""`pgtask events` and `pgtask feed`: every ended attempt in turn, and who reads them by name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

import click

from pgtask.cli import completion, parameters
from pgtask.cli.context import connected, note, settings
from pgtask.cli.errors import DONE
from pgtask.cli.output import Column, json_option, on_terminal, print_json, print_plain, print_table
from pgtask.cli.tail import persist, print_event
from pgtask.cli.text import as_json, brief, clean, instant, seconds_since
from pgtask.model.event import FeedConsumer, FeedEvent, feed_event_as_json
from pgtask.model.serialise import page_as_json, record_as_json
from pgtask.model.wording import DASH

if TYPE_CHECKING:
    from pgtask.client import Client
    from pgtask.database.connection import Connection
    from pgtask.database.operations import DatabaseOperations
    from pgtask.model.operations import Operations

PAGE = 500

CONSUMER_COLUMNS: tuple[Column[FeedConsumer], ...] = (
    Column(title="CONSUMER", show=lambda consumer: consumer.name, shrinks=True),
    Column(
        title="BEHIND",
        show=lambda consumer: (
            "events lost"
            if consumer.interrupted
            else brief(seconds_since(consumer.next_event_at))
            if consumer.next_event_at
            else DASH
        ),
        plain=lambda consumer: "lost" if consumer.interrupted else instant(consumer.next_event_at),
        style=lambda consumer: "bold red" if consumer.interrupted else "",
        right=True,
    ),
    Column(
        title="ACKNOWLEDGED",
        show=lambda consumer: brief(seconds_since(consumer.acknowledged_at)) if consumer.acknowledged_at else DASH,
        plain=lambda consumer: instant(consumer.acknowledged_at),
        right=True,
    ),
    Column(title="POSITION", show=lambda consumer: consumer.position, wide=True),
)


@click.command()
@click.option("--consumer", metavar="NAME", help="Go on where this consumer was, and acknowledge what is printed.")
@click.option("--after", metavar="POSITION", help="Go on after this position.")
@click.option("--from-start", is_flag=True, help="Begin with the oldest that is kept; a consumer, when it is new.")
@click.option("--once", is_flag=True, help="End when there is nothing more.")
@click.option("-q", "--queue", metavar="QUEUE", shell_complete=completion.queue_names, help="Print only this queue's.")
@click.option("--task", metavar="TASK", shell_complete=completion.task_names, help="Print only this task's.")
@click.option("--interval", type=parameters.time_limit, default="1s", metavar="DURATION", help="Between looks; 1s.")
@json_option
def events(
    consumer: str | None,
    after: str | None,
    from_start: bool,
    once: bool,
    queue: str | None,
    task: str | None,
    interval: float,
    json_output: bool,
) -> int:
    """Print each attempt that ends, none skipped, as it ends.

    Unlike jobs tail it can go on where it was: after the position of the last event, or as a named consumer.
    """
    if sum((consumer is not None, after is not None)) > 1 or (after is not None and from_start):
        raise click.UsageError("Give --consumer or --after, and --from-start not with --after.")
    if settings().url is not None:
        if consumer is not None or from_start or once:
            raise click.UsageError(
                "--consumer, --from-start and --once need the database, not its server: set PGTASK_DATABASE_URL."
            )
        return _stream(after, queue, task, interval, json_output)
    reader = _Reader(consumer, after, from_start)

    def look(doing: Operations) -> int | None:
        connection = cast("DatabaseOperations", doing).connection
        while found := reader.page(connection):
            for each in found:
                if each.event is None or (queue in (None, each.event.queue) and task in (None, each.event.task)):
                    _print(each, json_output)
            # What is acknowledged must have been printed.
            sys.stdout.flush()
            reader.done(connection, found[-1].position)
        return DONE if once else None

    try:
        return persist(look, interval)
    except KeyboardInterrupt:
        return DONE


def _stream(after: str | None, queue: str | None, task: str | None, interval: float, json_output: bool) -> int:
    """Prints what a server tells, stream after stream."""
    place = after

    def look(doing: Operations) -> None:
        nonlocal place
        stream = cast("Client", doing).stream_events(after=place, topics=("jobs",), queue=queue, task=task)
        try:
            for found in stream:
                if isinstance(found, FeedEvent):
                    _print(found, json_output)
                    sys.stdout.flush()
        finally:
            place = stream.position

    try:
        return persist(look, interval)
    except KeyboardInterrupt:
        return DONE


class _Reader:
    """How far the events have been printed, known here or, for a named consumer, to the database."""

    def __init__(self, consumer: str | None, after: str | None, from_start: bool) -> None:
        self._consumer = consumer
        self._place = after
        self._from_start = from_start

    def page(self, connection: Connection) -> list[FeedEvent]:
        """The next events."""
        from pgtask.database import feed

        if self._consumer is not None:
            return feed.consume(connection, self._consumer, PAGE, from_start=self._from_start)
        if self._place is None:
            self._place = feed.position(connection, at_start=self._from_start)
        return feed.read(connection, self._place, PAGE)

    def done(self, connection: Connection, position: str) -> None:
        """Says that all up to a position has been printed."""
        from pgtask.database import feed

        self._place = position
        if self._consumer is not None:
            feed.acknowledge(connection, self._consumer, position)


@click.group()
def feed() -> None:
    """List and drop named consumers of events."""


@feed.command("list")
@json_option
def list_consumers(json_output: bool) -> None:
    """List consumers with how far they are behind.

    In a pipe the columns are: name, time of the next event, time of the last acknowledgement, position.
    """
    from pgtask.database import feed as store

    with connected() as connection:
        found = store.consumers(connection)
    if json_output:
        print_json(page_as_json([record_as_json(consumer) for consumer in found]))
    else:
        print_table(found, CONSUMER_COLUMNS, empty="No consumers. Make one: pgtask events --consumer NAME")


@feed.command()
@click.argument("name")
@json_option
def drop(name: str, json_output: bool) -> None:
    """Forget a consumer."""
    from pgtask.database import feed as store

    with connected() as connection:
        store.drop(connection, name)
    if json_output:
        print_json({"name": name, "deleted": True})
    elif on_terminal():
        click.echo(clean(f"Consumer {name}: dropped."))
    else:
        print_plain(name, "dropped")


def _print(found: FeedEvent, json_output: bool) -> None:
    if json_output:
        click.echo(as_json(feed_event_as_json(found), None))
    elif found.event is None:
        note(f"Events are missing here. {clean(found.reason or '')}")
    else:
        print_event(found.event, False)
