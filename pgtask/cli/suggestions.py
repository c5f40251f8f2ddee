"""Names from the database for a shell that completes: soon, or none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

import click
from click.shell_completion import CompletionItem

from pgtask.cli.context import chosen_settings
from pgtask.cli.text import clean
from pgtask.database import embedded
from pgtask.database.connection import connect
from pgtask.database.operations import DatabaseOperations
from pgtask.model.operations import Operations

PATIENCE = 0.5
"""Seconds that a person who pressed Tab waits for the database."""

MOST = 500

Read = Callable[[Operations], list[str]]


def queue_names(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Names of queues."""
    return _items(ctx, lambda doing: doing.known_queues(), incomplete)


def schedule_names(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Names of schedules."""
    return _items(ctx, lambda doing: doing.known_schedules(), incomplete)


def task_names(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Names of tasks that workers have registered."""
    return _items(ctx, lambda doing: [task.name for task in doing.list_tasks()], incomplete)


def _items(ctx: click.Context, read: Read, incomplete: str) -> list[CompletionItem]:
    # The shell would show them as they are, so none may steer the terminal.
    names = [name for name in _read(ctx, read) if name.startswith(incomplete) and clean(name) == name]
    return [CompletionItem(name) for name in names[:MOST]]


def _read(ctx: click.Context, read: Read) -> list[str]:
    """What is read within PATIENCE; nothing when it is not, whatever the reason: a shell has no place for errors."""
    found: list[str] = []

    def ask() -> None:
        try:
            flags = ctx.find_root().params
            settings = chosen_settings({name: flags.get(name) for name in ("database_url", "url", "token")})
            if settings.url is not None:
                from pgtask.client import Client

                with Client(settings.url, settings.token, timeout=PATIENCE, retries=0) as client:
                    found.extend(read(client))
                return
            # An embedded server only if it runs.
            url = settings.database_url or embedded.status(settings.home).url
            if url is None:
                return
            with closing(
                connect(url, application_name="pgtask completion", statement_timeout=PATIENCE, pooled=settings.pooled)
            ) as connection:
                found.extend(read(DatabaseOperations(connection, None)))
        except Exception:  # noqa: BLE001, S110  nothing to say, and nobody to say it to
            pass

    # A thread that the process does not wait for at its end: names of hosts are looked up without a time limit.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return [] if asking.is_alive() else found
