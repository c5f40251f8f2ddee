"""How queues look."""

from __future__ import annotations

import click

from pgtask.cli.output import Column, on_terminal, print_plain
from pgtask.cli.text import brief, clean, instant, seconds_since
from pgtask.model.queue import QueueRecord
from pgtask.model.wording import DASH, duration, plural, share

COUNTS = ("pending", "scheduled", "retrying", "running")


def state(queue: QueueRecord) -> str:
    """Whether a queue is active or paused, and for how long."""
    return "active" if queue.paused_at is None else f"paused {brief(seconds_since(queue.paused_at))}"


def counted(queue: QueueRecord, field: str) -> str:
    """A count of a queue's jobs: an estimate with ~ before it, a lower bound with + behind it."""
    number: int = getattr(queue, field)
    if field == "pending" and queue.pending_estimated:
        return f"~{number:,}"
    if not number:
        return DASH
    return f"{number:,}" if queue.counts_exact else f"{number:,}+"


def _count_column(field: str) -> Column[QueueRecord]:
    return Column(
        title=field.upper(),
        show=lambda queue: counted(queue, field),
        plain=lambda queue: getattr(queue, field),
        right=True,
    )


def oldest(queue: QueueRecord) -> str:
    """How long the oldest job has been due."""
    return brief(seconds_since(queue.oldest_due_at)) if queue.oldest_due_at else DASH


def limits(queue: QueueRecord) -> str:
    """The limits that are set, in a few words each."""
    parts = (
        (queue.max_workers, lambda number: plural(number, "worker")),
        (queue.max_workers_per_key if queue.max_workers_per_key != 1 else None, lambda number: f"{number:,} per key"),
        (queue.rate_limit, str),
        (queue.max_size, lambda number: f"{number:,} waiting"),
        (queue.retry_budget, lambda part: f"{share(part)} retries"),
        (queue.dead_letter_queue, lambda name: f"dead to {name}"),
    )
    return ", ".join(show(value) for value, show in parts if value is not None)


QUEUE_COLUMNS: tuple[Column[QueueRecord], ...] = (
    Column(title="QUEUE", show=lambda queue: queue.name, shrinks=True),
    Column(
        title="STATE",
        show=state,
        plain=lambda queue: "active" if queue.paused_at is None else "paused",
        style=lambda queue: "yellow" if queue.paused_at else "",
    ),
    Column(
        title="PRIORITY",
        show=lambda queue: str(queue.priority) if queue.priority else "",
        plain=lambda queue: queue.priority,
        right=True,
        wide=True,
    ),
    *(_count_column(field) for field in COUNTS),
    Column(
        title="OLDEST",
        show=oldest,
        plain=lambda queue: instant(queue.oldest_due_at),
        right=True,
    ),
    Column(
        title="WORKERS",
        show=lambda queue: str(queue.workers),
        style=lambda queue: "bold red" if queue.unserved else "",
        right=True,
    ),
    Column(title="PAUSED BY", show=lambda queue: queue.paused_by or "", shrinks=True, wide=True),
    Column(title="LIMITS", show=limits, shrinks=True, wide=True),
)


def settings_fields(queue: QueueRecord) -> list[tuple[str, str]]:
    """The settings of a queue, of its limits those that are set, for `print_fields`."""

    def seconds(value: float | None) -> str:
        return "inherited" if value is None else duration(value)

    limited: dict[str, str | None] = {
        "Max workers": None if queue.max_workers is None else f"{queue.max_workers:,}",
        "Max workers per key": f"{queue.max_workers_per_key:,}" if queue.max_workers_per_key != 1 else None,
        "Rate limit": queue.rate_limit and f"{queue.rate_limit}, {queue.rate_burst:,} at once",
        "Max size": None if queue.max_size is None else f"{queue.max_size:,}",
        "Retry budget": None if queue.retry_budget is None else share(queue.retry_budget),
        "Dead letter queue": queue.dead_letter_queue,
    }
    retries = "inherited" if queue.max_retries is None else str(queue.max_retries)
    return [
        ("Priority", str(queue.priority)),
        ("Weight", str(queue.weight)),
        ("Max retries", retries.replace("-1", "without limit")),
        ("Retry strategy", queue.retry_strategy or "inherited"),
        ("Retry delay", seconds(queue.retry_delay)),
        ("Max retry delay", seconds(queue.max_retry_delay)),
        ("Timeout", seconds(queue.timeout)),
        *((name, value) for name, value in limited.items() if value is not None),
    ]


def print_done(name: str, done: str, hint: str = "") -> None:
    """Says what was done to a queue."""
    if on_terminal():
        click.echo(clean(f"Queue {name}: {done}." + (f" To {hint}" if hint else "")))
    else:
        print_plain(name, done)
