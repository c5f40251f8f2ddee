"""The application of the built-in tasks."""

from __future__ import annotations

from typing import Any

from pgtask.builtin import report as reports
from pgtask.builtin.arithmetic import math
from pgtask.builtin.command import command
from pgtask.builtin.compute import compute
from pgtask.builtin.echo import echo
from pgtask.builtin.fail import fail
from pgtask.builtin.file import file
from pgtask.builtin.mail import email
from pgtask.builtin.request import http
from pgtask.builtin.sleep import sleep
from pgtask.engine.app import PgTask
from pgtask.model.period import PeriodKind

app = PgTask()

for _function in (command, compute, echo, email, fail, file, http, math, sleep):
    app.task(name=_function.__name__)(_function)


@app.task(name="report")
def report(
    type: PeriodKind = "daily",  # noqa: A002 - a payload's key
    at: str | None = None,
    timezone: str = "UTC",
) -> dict[str, Any]:
    """What came of the jobs of the last full hour, day or week before `at` (now), by queue and task."""
    return reports.report(app.database_url, type, at, timezone, pooled=app.pooled)
