"""How the reasons look for which a job waits, runs or has ended as it did."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

import click

from pgtask.cli.output import on_terminal, print_plain, styled
from pgtask.cli.text import clean
from pgtask.model.explanation import Reason

_LONGEST_LINE = 120


def print_explanation(reasons: Sequence[Reason]) -> None:
    """Prints all reasons, the one that matters most first; those that block are marked.

    In a pipe the columns are: position, code, blocking or empty, text.
    """
    for reason in reasons:
        if not on_terminal():
            print_plain(reason.position, reason.code, "blocking" if reason.blocking else None, reason.text)
        elif reason.position == 1:
            _print_wrapped(reason.text, "", "bold")
        else:
            _print_wrapped(reason.text, "✗ " if reason.blocking else "· ", "" if reason.blocking else "dim")


def print_headline(job_id: int, reasons: Sequence[Reason]) -> None:
    """Prints on a terminal what matters most, and where the rest is told; all of it, by one line each, elsewhere."""
    if not on_terminal():
        for reason in reasons:
            print_plain("explanation", reason.code, reason.text)
        return
    _print_wrapped(reasons[0].text, "", "")
    if len(reasons) > 1:
        click.echo(styled(f"→ pgtask jobs explain {job_id}", "dim"))


def _print_wrapped(text: str, mark: str, style: str) -> None:
    # A command at the end stays in one piece, to be copied.
    width = min(shutil.get_terminal_size().columns, _LONGEST_LINE)
    sentence, colon, command = clean(text).rpartition(": pgtask ")
    body = f"{sentence}:" if colon else clean(text)
    wrapper = textwrap.TextWrapper(
        width, initial_indent=mark, subsequent_indent=" " * len(mark), break_on_hyphens=False
    )
    lines = wrapper.wrap(body)
    if colon:
        if len(lines[-1]) + len(f" pgtask {command}") <= width:
            lines[-1] += f" pgtask {command}"
        else:
            lines.append(f"{' ' * len(mark)}pgtask {command}")
    for line in lines:
        click.echo(styled(line, style) if style else line)
