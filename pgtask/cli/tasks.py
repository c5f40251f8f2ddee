"""`pgtask tasks`: what workers can run."""

from __future__ import annotations

import click

from pgtask.cli.context import connected
from pgtask.cli.job_views import priority_text
from pgtask.cli.output import Column, json_option, print_json, print_table
from pgtask.cli.text import instant, relative
from pgtask.database import fleet
from pgtask.model.fleet import TaskRecord
from pgtask.model.serialise import page_as_json, record_as_json
from pgtask.model.wording import DASH, duration


@click.group()
def tasks() -> None:
    """List the tasks that workers have registered."""


def _retries(task: TaskRecord) -> str:
    if task.max_retries is None:
        return DASH
    return "no limit" if task.max_retries < 0 else str(task.max_retries)


def _backoff(task: TaskRecord) -> str:
    words = [task.retry_strategy or ""]
    if task.retry_delay is not None:
        words.append(duration(task.retry_delay))
    if task.max_retry_delay is not None:
        words.append(f"up to {duration(task.max_retry_delay)}")
    return " ".join(word for word in words if word) or DASH


TASK_COLUMNS: tuple[Column[TaskRecord], ...] = (
    Column(title="TASK", show=lambda task: task.name, shrinks=True),
    Column(title="QUEUE", show=lambda task: task.queue, shrinks=True),
    Column(
        title="PRIORITY",
        show=lambda task: priority_text(task.priority),
        plain=lambda task: task.priority,
    ),
    Column(title="RETRIES", show=_retries, plain=lambda task: task.max_retries, right=True),
    Column(title="BACKOFF", show=_backoff, plain=lambda task: task.retry_strategy, wide=True),
    Column(
        title="TIMEOUT",
        show=lambda task: DASH if task.timeout is None else duration(task.timeout),
        plain=lambda task: task.timeout,
        right=True,
    ),
    Column(
        title="SEEN",
        show=lambda task: relative(task.last_seen_at),
        plain=lambda task: instant(task.last_seen_at),
    ),
    Column(
        title="LIVE",
        show=lambda task: "yes" if task.live else "no",
        style=lambda task: "" if task.live else "yellow",
    ),
    Column(
        title="VERSION",
        show=lambda task: task.code_version or DASH,
        plain=lambda task: task.code_version,
        shrinks=True,
        wide=True,
    ),
)


@tasks.command("list")
@json_option
def list_tasks(json_output: bool) -> None:
    """List tasks with their defaults.

    What is not set is inherited from the queue, then built in.

    In a pipe the columns are: name, queue, priority, max retries, retry strategy, timeout, last
    seen, live, code version.
    """
    with connected() as connection:
        found = fleet.list_tasks(connection)
    if json_output:
        print_json(page_as_json([record_as_json(task) for task in found]))
        return
    print_table(
        found,
        TASK_COLUMNS,
        empty="No worker has registered a task yet. Start one: pgtask worker --app module:app",
    )
