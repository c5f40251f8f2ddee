"""What a demonstration has shown, for eyes and for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from pgtask.cli.context import State
from pgtask.cli.output import Column, on_terminal, print_fields, print_heading, print_table, styled
from pgtask.database.demonstration import FileResult, FileTotals
from pgtask.model.percentile import percentile
from pgtask.model.wording import duration, plural, size

_FURTHER = (
    ("{name} jobs list --tag {tag}", "these jobs; jobs show ID tells all of one"),
    ("{name} stats", "throughput and times of the last hour"),
    ("{name} db psql", "the tables, such as pgtask.all_jobs"),
    ("{name} dev", "a worker of your own, to send jobs to"),
)


@dataclass(slots=True, kw_only=True)
class Demonstration:
    """A run of `pgtask demo`; it went well when there are no problems."""

    path: str
    tag: str
    by_python: int
    by_sql: int
    totals: FileTotals
    largest: list[FileResult]
    pickups: list[float]
    """Seconds from enqueue to start, of single jobs."""
    checked: int
    problems: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Jobs a second, from the first start to the last end."""
        return (self.totals.completed + self.totals.failed) / max(self.totals.seconds, 1e-6)

    def pickup(self, share: float) -> float:
        """A percentile of the pickup latency, in seconds."""
        return percentile(self.pickups, share)


def as_json(shown: Demonstration) -> dict[str, Any]:
    """The figures."""
    totals = shown.totals
    return {
        "ok": not shown.problems,
        "path": shown.path,
        "tag": shown.tag,
        "jobs": shown.by_python + shown.by_sql,
        "enqueued_by": {"python": shown.by_python, "sql": shown.by_sql},
        "completed": totals.completed,
        "failed": totals.failed,
        "run_seconds": totals.seconds,
        "jobs_per_second": shown.rate,
        "pickup_p50_seconds": shown.pickup(0.5),
        "pickup_p99_seconds": shown.pickup(0.99),
        "pickups": len(shown.pickups),
        "read_bytes": totals.bytes,
        "lines": totals.lines,
        "largest": [_file_as_json(found) for found in shown.largest],
        "checked": shown.checked,
        "problems": shown.problems,
    }


def _file_as_json(found: FileResult) -> dict[str, Any]:
    values = asdict(found)
    return {"size_bytes" if name == "size" else name: value for name, value in values.items()}


def print_demonstration(shown: Demonstration) -> None:
    """Prints the figures, the largest files and what to do next."""
    print_fields(_fields(shown))
    if on_terminal():
        print_heading("Largest files")
    print_table(shown.largest, _columns(shown.path), empty="")
    if on_terminal():
        _print_further(shown)


def _fields(shown: Demonstration) -> list[tuple[str, str]]:
    totals = shown.totals
    jobs = shown.by_python + shown.by_sql
    if not on_terminal():
        return [
            ("path", shown.path),
            ("tag", shown.tag),
            ("jobs", f"{jobs}"),
            ("completed", f"{totals.completed}"),
            ("failed", f"{totals.failed}"),
            ("run_seconds", f"{totals.seconds:.6g}"),
            ("jobs_per_second", f"{shown.rate:.6g}"),
            ("pickup_p50_seconds", f"{shown.pickup(0.5):.6g}"),
            ("pickup_p99_seconds", f"{shown.pickup(0.99):.6g}"),
            ("read_bytes", f"{totals.bytes}"),
            ("lines", f"{totals.lines}"),
            ("checked", f"{shown.checked}"),
        ]
    verdict = "all as read here" if not shown.problems else "see below"
    return [
        ("Files under", shown.path),
        ("Jobs", f"{jobs:,} ({shown.by_python:,} by the Python API, {shown.by_sql:,} by INSERT)"),
        ("Completed", f"{totals.completed:,}"),
        ("Failed", f"{totals.failed:,}"),
        ("Read", f"{size(totals.bytes)}, {plural(totals.lines, 'line')}"),
        ("Throughput", f"{shown.rate:,.0f} jobs/s"),
        ("Pickup latency", f"{duration(shown.pickup(0.5))} p50, {duration(shown.pickup(0.99))} p99"),
        ("Results checked", f"{shown.checked}, {verdict}"),
    ]


def _columns(path: str) -> tuple[Column[FileResult], ...]:
    def relative(found: FileResult) -> str:
        place, file = Path(path).resolve(), Path(found.path)
        return str(file.relative_to(place)) if file.is_relative_to(place) and file != place else found.path

    return (
        Column(title="FILE", show=relative, plain=lambda found: found.path, shrinks=True),
        Column(title="SIZE", show=lambda found: size(found.size), plain=lambda found: found.size, right=True),
        Column(title="LINES", show=lambda found: f"{found.lines:,}", plain=lambda found: found.lines, right=True),
        Column(title="SHA-256", show=lambda found: found.sha256[:16], plain=lambda found: found.sha256),
        Column(title="JOB", show=lambda found: f"{found.id}", right=True),
    )


def _print_further(shown: Demonstration) -> None:
    print_heading("Look further")
    state = click.get_current_context().find_object(State)
    name = "pgtask --database-url …" if state and state.database_url else "pgtask"
    commands = [(command.format(name=name, tag=shown.tag), what) for command, what in _FURTHER]
    width = max(len(command) for command, _ in commands) + 2
    for command, what in commands:
        click.echo(command.ljust(width) + styled(what, "dim"))
