"""How tasks look."""

from __future__ import annotations

import click

from pgtask.cli.job_views import priority_text
from pgtask.cli.output import Column, on_terminal, print_plain
from pgtask.cli.text import brief, clean, instant, relative, seconds_since
from pgtask.model.fleet import TaskRecord
from pgtask.model.rate import Rate
from pgtask.model.wording import DASH, duration


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


def rate(task: TaskRecord) -> str:
    """Its rate as it is written, empty for none."""
    if task.rate_limit is None or task.rate_period_seconds is None or task.rate_burst is None:
        return ""
    return str(Rate(task.rate_limit, task.rate_period_seconds, task.rate_burst))


def circuit(task: TaskRecord) -> str:
    """What its circuit is, and for how long, if it is not closed."""
    if task.circuit == "closed" or task.circuit_changed_at is None:
        return ""
    return f"{task.circuit.replace('_', ' ')} {brief(seconds_since(task.circuit_changed_at))}"


def next_probe(task: TaskRecord) -> str:
    """When a job of a task that is held may probe."""
    if task.circuit == "closed":
        return ""
    if task.circuit == "half_open":
        return f"job {task.probe_job_id}"
    if task.next_probe_at is None:
        return "by hand"
    return relative(task.next_probe_at) if seconds_since(task.next_probe_at) < 0 else "due"


def why(task: TaskRecord) -> str:
    """Why its circuit is not closed, and by whom."""
    by = f"by {task.circuit_changed_by}" if task.circuit_changed_by and task.circuit != "closed" else ""
    return ": ".join(part for part in (by, task.circuit_reason or "") if part)


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
    Column(
        title="RATE",
        show=rate,
        style=lambda task: "yellow" if task.rate_set_by else "",
        right=True,
    ),
    Column(
        title="BURST",
        show=lambda task: str(task.rate_burst or ""),
        plain=lambda task: task.rate_burst,
        right=True,
        wide=True,
    ),
    Column(
        title="FAILING",
        show=lambda task: DASH if task.error_rate is None else f"{task.error_rate:.0%}",
        plain=lambda task: task.error_rate,
        right=True,
        wide=True,
    ),
    Column(
        title="CIRCUIT",
        show=circuit,
        plain=lambda task: task.circuit,
        style=lambda task: "" if task.circuit == "closed" else "bold red",
    ),
    Column(
        title="SINCE",
        show=lambda task: relative(task.circuit_changed_at),
        plain=lambda task: instant(task.circuit_changed_at),
        wide=True,
    ),
    Column(title="NEXT PROBE", show=next_probe, plain=lambda task: instant(task.next_probe_at)),
    Column(title="WHY", show=why, shrinks=True),
)


def print_done(name: str, done: str, hint: str = "") -> None:
    """Says what was done to a task."""
    if on_terminal():
        click.echo(clean(f"Task {name}: {done}." + (f" To {hint}" if hint else "")))
    else:
        print_plain(name, done)
