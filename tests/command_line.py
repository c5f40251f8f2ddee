"""Runs `pgtask` for tests, and puts rows in for it to show."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import Any
from unittest import mock

import psycopg
from click import testing
from click.testing import CliRunner, Result
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from pgtask.cli.main import main
from tests.rows import await_others


def run(database: str | None, *arguments: str, stdin: str | None = None) -> Result:
    """Runs a command in this process, its output going to a pipe."""
    runner = CliRunner(env={"PGTASK_DATABASE_URL": database})
    return runner.invoke(main, list(arguments), input=stdin)


def lines(result: Result) -> list[list[str]]:
    """The output as lines of fields; the command must have succeeded."""
    assert result.exit_code == 0, result.output
    return [line.split("\t") for line in result.stdout.splitlines()]


def answer(result: Result) -> Any:
    """The output as JSON; the command must have succeeded."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def start(database: str | None, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Starts a command in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if "PGTASK" not in name}
    if database is not None:
        environment["PGTASK_DATABASE_URL"] = database
    return subprocess.Popen(
        [sys.executable, "-m", "pgtask", *arguments],
        env=environment | options.pop("environment", {}),
        text=True,
        **options,
    )


def on_terminal(database: str, *arguments: str, columns: int = 80, stdin: str = "") -> str:
    """What a command shows on a terminal of so many columns, without its colours.

    It runs in this process, whose streams pass for a terminal: `raw_terminal` is the real thing, and slow.
    """
    runner = CliRunner(env={"PGTASK_DATABASE_URL": database, "COLUMNS": str(columns), "TERM": "xterm"})
    with mock.patch.object(testing._NamedTextIOWrapper, "isatty", return_value=True):
        result = runner.invoke(main, list(arguments), input=stdin, color=True)
    return re.sub(r"\x1b\[[0-9;]*[mK]", "", result.output)


def raw_terminal(
    database: str,
    *arguments: str,
    columns: int = 80,
    stdin: str = "",
    environment: dict[str, str] | None = None,
) -> str:
    """What a command sends to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    colours = {"TERM": "xterm-256color", "NO_COLOR": "", "COLUMNS": ""} | (environment or {})
    with start(database, *arguments, stdin=theirs, stdout=theirs, stderr=theirs, environment=colours) as process:
        os.close(theirs)
        os.write(ours, stdin.encode())
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux says so when the other side is closed
                break
            if not part:
                break
            shown += part
        os.close(ours)
        process.wait()
    return shown.decode().replace("\r\n", "\n")


def add_run(
    connection: psycopg.Connection[Any],
    job_id: int,
    status: str | None = "completed",
    **columns: Any,
) -> None:
    """Puts a run in, final when it has a status; unless in a transaction, the feed tells it from now on."""
    outcome = "failed" if status in {"failed", "quarantined", None} else status
    defaults = {"outcome": outcome, "queue": "default", "task": "echo", "priority": 1}
    if status is not None:
        ago = sql.SQL("now() - interval '1 minute'")
        defaults |= {"created_at": ago, "scheduled_at": ago, "started_at": ago, "claims": 1}
        defaults |= {"attempt": 1, "retry_count": 0, "crash_count": 0, "payload": Jsonb({})}
    values = defaults | {"job_id": job_id, "status": status, "final": status is not None} | columns
    _insert(connection, "runs", "job_id", values)
    if connection.info.transaction_status is TransactionStatus.IDLE:
        await_others(connection)


def add_live_worker(connection: psycopg.Connection[Any], name: str = "w", **columns: Any) -> int:
    """Puts a worker in, live for an hour, and returns its id."""
    defaults = {"host": "h", "pid": 1, "version": "0", "executors": 2, "slots": 20, "lease": 30}
    defaults["expires_at"] = sql.SQL("now() + interval '1 hour'")
    return _insert(connection, "workers", "id", defaults | {"name": name} | columns)


def _insert(connection: psycopg.Connection[Any], table: str, returning: str, columns: dict[str, Any]) -> int:
    values = [value if isinstance(value, sql.Composable) else sql.Literal(value) for value in columns.values()]
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING {}").format(
        sql.Identifier("pgtask", table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(values),
        sql.Identifier(returning),
    )
    row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row[0])
