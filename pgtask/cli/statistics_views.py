"""How statistics look."""

from __future__ import annotations

import click

from pgtask.cli import parameters
from pgtask.cli.output import Column, on_terminal, print_plain, styled
from pgtask.model.statistics import Bucket, Statistics, Tally
from pgtask.model.wording import DASH, duration, plural, share

window_option = click.option(
    "--window",
    type=parameters.time_limit,
    metavar="DURATION",
    default="1h",
    help="How far back to look; 1h.",
)

BARS = "▁▂▃▄▅▆▇█"

TallyRow = tuple[str, Tally, Statistics]
"""A queue or task with what came of its attempts, and the statistics that it is part of."""


def rate(per_second: float) -> str:
    """Attempts per second, minute or hour, whichever says most."""
    if per_second == 0:
        return DASH
    amount, unit = per_second, "s"
    for larger in ("m", "h"):
        if amount < 1:
            amount, unit = amount * 60, larger
    return f"{amount:,.0f}/{unit}" if amount >= 9.95 else f"{amount:.1f}/{unit}"


def sparkline(timeline: list[Bucket]) -> str:
    """The attempts along time as bars; a dot where there were none."""
    numbers = [bucket.completed + bucket.unsuccessful for bucket in timeline]
    top = max(numbers, default=0)
    return "".join(BARS[max(0, -(-n * len(BARS) // top) - 1)] if n else "·" for n in numbers)


def _seconds(value: float | None) -> str:
    return DASH if value is None else duration(value)


def _columns(title: str) -> tuple[Column[TallyRow], ...]:
    return (
        Column(title=title, show=lambda row: row[0], shrinks=True),
        Column(title="DONE", show=lambda row: f"{row[1].completed:,}", plain=_done, right=True),
        Column(
            title="FAILED",
            show=lambda row: f"{row[1].failed:,}" if row[1].failed else DASH,
            plain=lambda row: row[1].failed,
            style=lambda row: "red" if row[1].failed else "",
            right=True,
        ),
        Column(
            title="RETRIED",
            show=lambda row: f"{row[1].retried:,}" if row[1].retried else DASH,
            plain=lambda row: row[1].retried,
            right=True,
        ),
        Column(
            title="RATE",
            show=lambda row: rate(row[2].rate(row[1])),
            plain=lambda row: f"{row[2].rate(row[1]):.6g}",
            right=True,
        ),
        Column(
            title="ERRORS",
            show=lambda row: share(row[1].error_rate),
            plain=lambda row: _plain(row[1].error_rate),
            right=True,
        ),
        Column(
            title="RUN",
            show=lambda row: _seconds(row[1].average_run),
            plain=lambda row: _plain(row[1].average_run),
            right=True,
        ),
        Column(
            title="LONGEST",
            show=lambda row: _seconds(row[1].max_run_seconds if row[1].attempts else None),
            plain=lambda row: _plain(row[1].max_run_seconds),
            right=True,
        ),
        Column(
            title="WAIT",
            show=lambda row: _seconds(row[1].average_wait),
            plain=lambda row: _plain(row[1].average_wait),
            right=True,
        ),
    )


def _done(row: TallyRow) -> int:
    return row[1].completed


def _plain(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"


TALLY_COLUMNS = {"queue": _columns("QUEUE"), "task": _columns("TASK")}


def print_summary(statistics: Statistics) -> None:
    """Prints the whole in three lines on a terminal, as names and values elsewhere."""
    tally = statistics.total
    if not on_terminal():
        print_plain("completed", tally.completed)
        print_plain("failed", tally.failed)
        print_plain("retried", tally.retried)
        print_plain("cancelled", tally.cancelled)
        print_plain("lost", tally.lost)
        print_plain("attempts_per_second", f"{statistics.rate(tally):.6g}")
        print_plain("error_rate", _plain(tally.error_rate))
        return
    window = duration(statistics.window)
    if not tally.attempts:
        click.echo(f"No attempt has ended in the last {window}.")
        return
    attempts = plural(tally.attempts, "attempt")
    click.echo(
        f"{styled(f'Last {window}', 'bold')}  {attempts}, {rate(statistics.rate(tally))}, "
        f"{share(tally.error_rate)} errors"
    )
    click.echo(
        f"ran {_seconds(tally.average_run)} on average, {duration(tally.max_run_seconds)} at most; "
        f"waited {_seconds(tally.average_wait)}, {duration(tally.max_wait_seconds)} at most"
    )
    besides = [
        f"{number:,} {what}" for number, what in ((tally.cancelled, "cancelled"), (tally.lost, "lost")) if number
    ]
    if besides:
        click.echo(f"besides {' and '.join(besides)}")
    click.echo(styled(sparkline(statistics.timeline), "cyan"))
