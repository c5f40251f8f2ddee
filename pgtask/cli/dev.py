"""`pgtask dev`: everything that development needs, in one terminal."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from pgtask.cli.context import State, database, settings
from pgtask.cli.output import on_terminal, print_fields, styled
from pgtask.config import LOG_LEVELS, mask_secrets
from pgtask.database import psql

if TYPE_CHECKING:
    from pgtask.cli.dev_server import Served
    from pgtask.engine.task import Task

_SAMPLES: dict[Any, Any] = {"string": "hi", "integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
"""A value of each type of JSON, for the example."""


@click.command()
@click.option("-A", "--app", metavar="MODULE:NAME", help="Application; the built-in tasks unless given.")
@click.option("-q", "--queues", metavar="A,B", help="Queues to serve; all unless given.")
@click.option("--processes", metavar="NUMBER|auto", help="Executors; one per core unless given.")
@click.option("-c", "--concurrency", metavar="NUMBER|auto", help="Jobs at once in each; 10 unless given.")
@click.option("--bind", metavar="HOST:PORT", help="Where the API listens; 127.0.0.1:8080 or a free port.")
@click.option("--pooled", is_flag=True, default=None, help="The database is behind a transaction pooler (PgBouncer).")
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS),
    metavar="LEVEL",
    help=f"{', '.join(LOG_LEVELS)}; info unless given.",
)
def dev(**flags: object) -> int:
    """Run everything that development needs: database, migrations, a worker and the API, until Ctrl-C.

    Without a database URL, that is an embedded PostgreSQL in .pgtask/. The log follows the addresses;
    the token is good until this ends. A second Ctrl-C does not wait for running jobs.
    """
    given = settings(**flags)
    # Until the worker has its own way with signals, TERM is to leave in order, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from pgtask.cli.dev_server import serving
    from pgtask.database import migrations
    from pgtask.engine.discovery import load_app
    from pgtask.engine.options import WorkerOptions
    from pgtask.engine.supervisor import run_worker

    tasks = load_app(given.app).tasks
    with database(given, ready=False) as url:
        migrations.migrate(url)
        with serving(given, url) as served:
            _print_addresses(url, tasks, served)
            return run_worker(WorkerOptions.chosen(given, url))


def _print_addresses(url: str, tasks: dict[str, Task[Any]], served: Served | None) -> None:
    """Prints how to reach the database and the API, and an INSERT that this worker will run."""
    example = _example(tasks)
    fields = [("Database", mask_secrets(url)), ("psql", _psql(url))]
    if example:
        name, payload = example
        values = f"{_literal(name)}, {_literal(json.dumps(payload))}"
        fields.append(("SQL", f"INSERT INTO pgtask.jobs (task, payload) VALUES ({values});"))  # noqa: S608 - shown, not run
    fields.append(("Watch", "pgtask jobs list    pgtask stats    pgtask workers list"))
    if served is not None:
        fields += [("API", f"{served.url}/api/docs"), ("Token", served.token)]
    print_fields(fields)
    if on_terminal():
        click.echo("\n" + styled("The worker's log. Ctrl-C shuts it down.", "dim"))
    sys.stdout.flush()


def _psql(url: str) -> str:
    """A command to paste into another terminal; pgtask's own where psql is missing or a password would show."""
    target, secrets = psql.connection_arguments(url)
    if shutil.which("psql") and not secrets:
        return f"psql {_quoted(target)}"
    state = click.get_current_context().find_object(State)
    flag = f"--database-url {_quoted(mask_secrets(url))} " if state and state.database_url else ""
    return f"pgtask {flag}db psql"


def _quoted(text: str) -> str:
    """For a shell, in quotes even where none are needed."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _literal(text: str) -> str:
    """As a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _example(tasks: dict[str, Task[Any]]) -> tuple[str, dict[str, Any]] | None:
    """A task with a payload for it: echo where there is one, else the one that asks for least."""
    if "echo" in tasks:
        return "echo", {"n": 1}
    if not tasks:
        return None
    task = min(tasks.values(), key=lambda task: len(task.signature.schema["required"]))
    schema = task.signature.schema
    return task.name, {name: _sample(schema["properties"][name]) for name in schema["required"]}


def _sample(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _sample(schema["anyOf"][0])
    return _SAMPLES.get(schema.get("type"))
