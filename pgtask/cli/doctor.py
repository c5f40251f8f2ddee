"""`pgtask doctor`: what is wrong, or will be, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pgtask.cli.context import database, settings
from pgtask.cli.errors import DONE, FAILED, UNREACHABLE
from pgtask.cli.output import json_option, on_terminal, print_json, print_plain, styled
from pgtask.cli.text import clean
from pgtask.config import mask_secrets
from pgtask.database import fleet, health, migrations, queues
from pgtask.database.connection import connect
from pgtask.model import feed_checks, fleet_checks, schema_checks, server_checks
from pgtask.model.diagnosis import Check, Verdict, ok, problem, unknown, worst
from pgtask.model.errors import DatabaseUnavailableError, PgTaskError, SchemaError
from pgtask.model.serialise import record_as_json
from pgtask.model.wording import plural

if TYPE_CHECKING:
    from pgtask.database.connection import Connection

_SIGNS = {
    Verdict.OK: ("✓", "green"),
    Verdict.UNKNOWN: ("?", "cyan"),
    Verdict.WARNING: ("!", "bold yellow"),
    Verdict.PROBLEM: ("✗", "bold red"),
}


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, json_output: bool) -> int:
    """Check the server, the schema, and whether all jobs will be run.

    Each check is ok, a warning or a problem, with what to do about it, or unknown where this role may not look. It only
    reads, for five seconds a look at most. Exits with 0 when nothing is a problem, else 1, and 4 when the database does
    not answer. In a pipe the columns are: status, check, found, remedy.
    """
    checks: list[Check] = []
    code = None
    try:
        given = settings()
        with database(given, ready=False) as url:
            for check in examine(url, ctx.command_path, pooled=given.pooled):
                checks.append(check)
                if not json_output:
                    _print(check)
    except DatabaseUnavailableError as error:
        code = UNREACHABLE
        checks.append(problem("connection", mask_secrets(str(error)), "Start PostgreSQL, or correct the URL."))
        if not json_output:
            _print(checks[-1])
    verdict = worst(checks)
    if json_output:
        print_json({"status": verdict.value, "checks": [record_as_json(check) for check in checks]})
    elif on_terminal():
        _print_sum(checks)
    return code or (FAILED if verdict == Verdict.PROBLEM else DONE)


def examine(url: str, application_name: str, *, pooled: bool) -> Iterator[Check]:
    """All checks, one by one; `pooled` as set for the sessions of pgtask. Raises DatabaseUnavailableError."""
    with closing(connect(url, application_name=application_name, statement_timeout=None, pooled=pooled)) as connection:
        yield from _look(
            "route",
            lambda: server_checks.check_route(
                health.read_route(url, connection, application_name, pooled=pooled), pooled
            ),
        )
        yield from _look("server", lambda: server_checks.check_server(health.read_server(connection)))
        yield from _look("horizon", lambda: server_checks.check_horizon(*health.read_horizon(connection)))
        schema = _check_schema(url)
        yield schema
        if schema.status == Verdict.OK:
            yield from _examine_schema(connection)
            yield from _examine_fleet(connection)


def _check_schema(url: str) -> Check:
    try:
        status = migrations.status(url)
    except SchemaError as error:
        return problem("schema", str(error), "Use a role that may read it.")
    if status.current is None:
        return problem("schema", "schema pgtask is not there", "Create it: pgtask db migrate")
    if status.pending:
        behind = f"revision {status.current}, {plural(len(status.pending), 'revision')} behind"
        return problem("schema", behind, "pgtask db migrate")
    if not status.up_to_date:
        return problem("schema", f"revision {status.current} is newer than this release", "Upgrade pgtask here.")
    return ok("schema", f"revision {status.current}, as this release needs")


def _examine_schema(connection: Connection) -> Iterator[Check]:
    looks: tuple[tuple[str, Callable[[], Iterable[Check]]], ...] = (
        ("grants", lambda: [schema_checks.check_grants(health.read_grants(connection))]),
        ("tables", lambda: schema_checks.check_tables(health.read_tables(connection))),
        ("indexes", lambda: schema_checks.check_indexes(health.read_indexes(connection))),
        ("sequences", lambda: schema_checks.check_sequences(health.read_sequences(connection))),
        ("feed", lambda: feed_checks.check_feed(health.read_feed(connection))),
        ("partitions", lambda: schema_checks.check_partitions(health.read_partitions(connection))),
    )
    for name, look in looks:
        yield from _look(name, look)


def _examine_fleet(connection: Connection) -> Iterator[Check]:
    def look() -> Iterator[Check]:
        workers = fleet.list_workers(connection)
        live = fleet_checks.alive(workers)
        server = health.read_server(connection)
        yield server_checks.check_connections(server, len(live), sum(worker.executors for worker in live))
        found, now = queues.list_queues(connection), datetime.now(UTC)
        yield from fleet_checks.check_workers(workers, sum(queue.pending for queue in found), now)
        yield from fleet_checks.check_queues(found, now)
        yield fleet_checks.check_tasks(health.find_unknown_tasks(connection), len(live))

    yield from _look("workers", look)


def _look(name: str, look: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """The checks, and one more that says why where this role could not look on."""
    try:
        yield from look()
    except DatabaseUnavailableError:
        raise
    except PgTaskError as error:
        yield unknown(name, str(error), "Run it again as the owner of the schema, or as a superuser.")


def _print(check: Check) -> None:
    if not on_terminal():
        print_plain(check.status.value, check.name, check.found, check.remedy)
        return
    sign, style = _SIGNS[check.status]
    _print_wrapped(f"{styled(sign, style)} {check.name:<18}", clean(check.found), "")
    if check.remedy and check.status != Verdict.OK:
        _print_wrapped(" " * 20, f"→ {clean(check.remedy)}", "dim")


def _print_wrapped(head: str, text: str, style: str) -> None:
    import shutil
    import textwrap

    width = max(40, shutil.get_terminal_size().columns)
    first, *rest = textwrap.wrap(text, width - 21, break_on_hyphens=False) or [""]
    click.echo(head + styled(first, style))
    for line in rest:
        click.echo(" " * 20 + styled(line, style))


def _print_sum(checks: list[Check]) -> None:
    counts = {verdict: sum(check.status == verdict for check in checks) for verdict in Verdict}
    if worst(checks) == Verdict.OK:
        click.echo(f"\n{styled('All is well.', 'bold green')}")
        return
    parts = [
        plural(counts[verdict], verdict.value) for verdict in (Verdict.PROBLEM, Verdict.WARNING) if counts[verdict]
    ]
    click.echo(f"\n{styled(', '.join(parts), 'bold')}")
