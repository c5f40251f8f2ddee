"""Where data goes: tables for eyes, tab-separated lines for pipes, JSON for programs.

Data goes to stdout and everything else to stderr. Only a terminal gets colours, relative times and
shortened values.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import click

from pgtask.cli.context import note
from pgtask.cli.text import as_json, clean

json_option = click.option("--json", "json_output", is_flag=True, help="Print JSON; docs/json.md explains its keys.")

WIDE = 110
"""Columns of a terminal from which on columns marked as wide are shown."""

STATUS_STYLES = {
    "pending": "",
    "scheduled": "cyan",
    "retrying": "yellow",
    "running": "bold cyan",
    "completed": "green",
    "failed": "bold red",
    "cancelled": "dim",
    "quarantined": "bold magenta",
}

_BLANK_END = re.compile(r" +((?:\x1b\[[0-9;]*m)*)$")

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[Row]):
    """One column of a table: how a row's value is shown, on a terminal and elsewhere."""

    title: str
    show: Callable[[Row], str]
    plain: Callable[[Row], object] | None = None
    """The value for pipes, None to leave it empty; `show` unless given."""
    style: Callable[[Row], str] | None = None
    right: bool = False
    shrinks: bool = False
    """Cut with an ellipsis where the terminal is too narrow for all."""
    wide: bool = False
    """Shown only on a wide terminal; always in pipes."""


def on_terminal() -> bool:
    """Whether a person is looking at stdout."""
    return sys.stdout.isatty()


def print_json(value: Any) -> None:
    """Prints a JSON document."""
    click.echo(as_json(value))


def print_table(rows: Sequence[Row], columns: Sequence[Column[Row]], *, empty: str) -> None:
    """Prints rows as a table; `empty` says on stderr what to do when there are none."""
    if not rows:
        note(empty)
    elif on_terminal():
        _print_rich(rows, columns)
    else:
        for row in rows:
            print_plain(*((column.plain or column.show)(row) for column in columns))


def print_plain(*values: object) -> None:
    """Prints values as one line for programs: separated by tabs, nothing for None."""
    click.echo("\t".join("" if value is None else clean(str(value)) for value in values))


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Prints names and values, aligned on a terminal; a value may have several lines there."""
    if not on_terminal():
        for name, value in fields:
            print_plain(name.lower().replace(" ", "_"), value)
        return
    width = max(len(name) for name, _ in fields) + 2
    for name, value in fields:
        click.echo(styled(name.ljust(width), "dim") + clean(value))


def print_heading(text: str) -> None:
    """Prints a heading with a blank line before it; for terminals."""
    click.echo("\n" + styled(text, "bold"))


def styled(text: str, style: str) -> str:
    """Text in a style such as "bold red", unless the user wants none."""
    if not on_terminal() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    words = style.split()
    colour = next((word for word in words if word not in {"bold", "dim"}), None)
    return click.style(text, fg=colour, bold="bold" in words, dim="dim" in words)


def styled_status(status: str) -> str:
    """A job's status in its colour."""
    return styled(status, STATUS_STYLES.get(status, ""))


def _print_rich(rows: Sequence[Row], columns: Sequence[Column[Row]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    shown = [
        column
        for column in columns
        if (not column.wide or console.width >= WIDE) and any(column.show(row) for row in rows)
    ]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in shown:
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=not column.shrinks)
    for row in rows:
        table.add_row(
            *(
                Text(
                    clean(column.show(row)),
                    style=column.style(row) if column.style else "",
                    no_wrap=True,
                    overflow="ellipsis",
                )
                for column in shown
            )
        )
    with console.capture() as capture:
        console.print(table)
    # A style that is reset at the end of a line hides the blanks before it.
    click.echo("\n".join(_BLANK_END.sub(r"\1", line) for line in capture.get().splitlines()), color=True)
