"""`pgtask bench`: how fast this machine and database are, beside what PostgreSQL alone does."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

import pgtask
from pgtask.benchmark import suite
from pgtask.benchmark.figures import Figure, Target
from pgtask.benchmark.report import Report, amount, verdict
from pgtask.cli import parameters
from pgtask.cli.context import database, note, settings
from pgtask.cli.output import Column, on_terminal, print_json, print_table
from pgtask.config import available_cores
from pgtask.model.wording import DASH, plural

_STYLES = {"met": "green", "not met": "bold red"}
_TELLING = ("fsync", "synchronous_commit", "shared_buffers", "max_wal_size")

FigureRow = tuple[Figure, Target | None, bool]
"""A figure with one of its targets, and whether it is the figure's first row."""


def names(text: str) -> list[str]:
    """Names of measurements, separated by commas, in the order in which they are taken."""
    wanted = {word.strip() for word in text.split(",") if word.strip()}
    unknown = wanted - suite.MEASUREMENTS.keys()
    if unknown or not wanted:
        raise click.BadParameter(
            f"There is no measurement '{min(unknown, default='')}'. There are: {', '.join(suite.MEASUREMENTS)}."
        )
    return [name for name in suite.MEASUREMENTS if name in wanted]


@click.command()
@click.option("--only", type=names, metavar="A,B", help=f"Only these: {', '.join(suite.MEASUREMENTS)}.")
@click.option("--runs", type=parameters.positive, metavar="NUMBER", help=f"Runs of each side, in turns; {suite.RUNS}.")
@click.option("--jobs", type=click.IntRange(100), metavar="NUMBER", help=f"Jobs to drain; {suite.JOBS:,}.")
@click.option("--quick", is_flag=True, help="One run of small sizes: a minute or two instead of ten.")
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, writable=True, allow_dash=True),
    help="Write all samples and settings there; - for stdout.",
)
def bench(only: list[str] | None, runs: int | None, jobs: int | None, quick: bool, json_file: str | None) -> None:
    """Measure pgtask beside the floor: the same work by plain SQL, taken in turns in the same run.

    Trust the ratios more than the numbers, and either only while nothing else runs here. It works on
    a database of its own, made and dropped on the server in use, and leaves that server's durability
    as it is.
    """
    if json_file not in (None, "-") and not Path(json_file).absolute().parent.is_dir():
        raise click.UsageError(f"There is no directory for {json_file}.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = Report(
        runs=runs or (suite.QUICK_RUNS if quick else suite.RUNS),
        jobs=jobs or (suite.QUICK_JOBS if quick else suite.JOBS),
        quick=quick,
    )
    chosen = only or list(suite.MEASUREMENTS)
    with database(settings(), ready=False) as url:
        try:
            with _progress(len(chosen)) as (on_start, say):
                suite.run(url, chosen, report, on_start, say)
        finally:
            # An error or an interruption does not take away what is already known.
            if report.figures:
                _show(report, json_file)


@contextmanager
def _progress(total: int) -> Iterator[tuple[Callable[[str], None], Callable[[str], None]]]:
    """What is under way: a line that changes on a terminal, a line for each measurement elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield (lambda name: note(f"Measuring {name}")), (lambda _: None)
        return
    columns = (BarColumn(bar_width=12), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=total)
        started: list[str] = []

        def on_start(name: str) -> None:
            progress.update(bar, completed=len(started), description=name)
            started.append(name)

        yield on_start, (lambda text: progress.update(bar, description=text))


def _show(report: Report, json_file: str | None) -> None:
    if json_file == "-":
        print_json(report.as_json())
        return
    rows: list[FigureRow] = [
        (figure, target, position == 0)
        for figure in report.figures
        for position, target in enumerate(figure.targets or (None,))
    ]
    print_table(rows, COLUMNS, empty="")
    if on_terminal():
        click.echo()
    note(_conditions(report))
    if json_file is not None:
        Path(json_file).write_text(json.dumps(report.as_json(), indent=2) + "\n")


def _conditions(report: Report) -> str:
    server, kept = report.server, "durable" if report.durable else "NOT durable, so these figures do not count"
    settings = [f"{name} {server.get(name)}" for name in _TELLING]
    sizes = f"{plural(report.runs, 'run')} with {plural(report.jobs, 'job')} each"
    lines = [
        f"Medians of {sizes}, on {available_cores()} cores.",
        f"pgtask {pgtask.__version__}, PostgreSQL {server.get('server_version')}, {', '.join(settings[2:])}.",
        f"The server is {kept}: {', '.join(settings[:2])}.",
    ]
    lines += [f"Left out: {name}, as {reason}." for name, reason in report.left_out.items()]
    if report.disturbed:
        lines.append(f"Something else kept this machine busy (load {report.load:.1f}): trust ratios, if anything.")
    if report.runs < suite.RUNS or report.jobs < suite.JOBS:
        lines.append("Sizes this small show that all works, not how fast it is.")
    if report.pgbench is None:
        lines.append("There is no pgbench here, so most floors are missing: pip install 'pgtask[embedded]'")
    return "\n".join(lines)


def _plain(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"


def _floor(row: FigureRow) -> str:
    figure, _, first = row
    return "" if not first else DASH if figure.floor is None else amount(figure.floor.value, figure.unit)


def _ratio(row: FigureRow) -> str:
    figure, _, first = row
    return "" if not first else DASH if figure.ratio is None else f"{figure.ratio:.2f}"


COLUMNS: tuple[Column[FigureRow], ...] = (
    Column(
        title="MEASURED",
        show=lambda row: row[0].title if row[2] else "",
        plain=lambda row: row[0].name,
        shrinks=True,
    ),
    Column(
        title="PGTASK",
        show=lambda row: amount(row[0].value, row[0].unit) if row[2] else "",
        plain=lambda row: _plain(row[0].value),
        right=True,
    ),
    Column(
        title="FLOOR",
        show=_floor,
        plain=lambda row: None if row[0].floor is None else _plain(row[0].floor.value),
        right=True,
    ),
    Column(title="RATIO", show=_ratio, plain=lambda row: _plain(row[0].ratio), right=True),
    Column(title="TARGET", show=lambda row: DASH if row[1] is None else str(row[1]).removesuffix(" of floor")),
    Column(
        title="",
        show=lambda row: "" if row[1] is None else verdict(row[0], row[1]),
        style=lambda row: _STYLES.get("" if row[1] is None else verdict(row[0], row[1]), ""),
    ),
)
