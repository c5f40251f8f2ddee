"""How schedules and their ticks look."""

from __future__ import annotations

import click

from pgtask.cli.output import STATUS_STYLES, Column, on_terminal, print_plain
from pgtask.cli.text import as_json, clean, instant, relative, with_relative
from pgtask.model.errors import ScheduleError
from pgtask.model.recurrence import Recurrence
from pgtask.model.schedule import ScheduleRecord, TickRecord
from pgtask.model.upcoming import Upcoming
from pgtask.model.wording import DASH, duration

STATE_STYLES = {"active": "green", "paused": "yellow", "orphaned": "magenta", "broken": "bold red", "over": "dim"}
OUTCOME_STYLES = {"fired": "green", "skipped": "yellow", "missed": "red"}


def words(schedule: ScheduleRecord) -> str:
    """When it is due, in words; nothing when its expression is not understood."""
    try:
        return Recurrence.parse(schedule.expression, schedule.timezone, schedule.seconds).words()
    except ScheduleError:
        return ""


SCHEDULE_COLUMNS: tuple[Column[ScheduleRecord], ...] = (
    Column(title="SCHEDULE", show=lambda schedule: schedule.name, shrinks=True),
    Column(
        title="STATE",
        show=lambda schedule: schedule.state,
        style=lambda schedule: STATE_STYLES.get(schedule.state, ""),
    ),
    Column(title="EXPRESSION", show=lambda schedule: schedule.expression),
    Column(title="TASK", show=lambda schedule: schedule.task, shrinks=True),
    Column(
        title="NEXT",
        show=lambda schedule: relative(schedule.next_tick_at),
        plain=lambda schedule: instant(schedule.next_tick_at),
    ),
    Column(
        title="LAST",
        show=lambda schedule: relative(schedule.last_tick_at),
        plain=lambda schedule: instant(schedule.last_tick_at),
    ),
    Column(title="ZONE", show=lambda schedule: schedule.timezone, wide=True),
    Column(title="SOURCE", show=lambda schedule: schedule.application or schedule.source, shrinks=True, wide=True),
)


def _took(tick: TickRecord) -> str:
    if tick.started_at is None or tick.finished_at is None:
        return ""
    return duration((tick.finished_at - tick.started_at).total_seconds())


TICK_COLUMNS: tuple[Column[TickRecord], ...] = (
    Column(
        title="TICK",
        show=lambda tick: f"{tick.tick_at.astimezone():%Y-%m-%d %H:%M:%S}",
        plain=lambda tick: instant(tick.tick_at),
    ),
    Column(
        title="OUTCOME",
        show=lambda tick: f"{tick.outcome}, late" if tick.backfill else tick.outcome,
        plain=lambda tick: tick.outcome,
        style=lambda tick: OUTCOME_STYLES[tick.outcome],
    ),
    Column(title="JOB", show=lambda tick: str(tick.job_id or ""), plain=lambda tick: tick.job_id, right=True),
    Column(
        title="STATUS",
        show=lambda tick: tick.status or "",
        style=lambda tick: STATUS_STYLES.get(tick.status or "", ""),
    ),
    Column(title="TOOK", show=_took, right=True),
    Column(title="REASON", show=lambda tick: tick.reason or "", shrinks=True),
)


UPCOMING_COLUMNS: tuple[Column[Upcoming], ...] = (
    Column(
        title="LOCAL",
        show=lambda tick: f"{tick.local:%a %Y-%m-%d %H:%M:%S %Z}",
        plain=lambda tick: tick.local.isoformat(),
    ),
    Column(title="UTC", show=lambda tick: f"{tick.at:%Y-%m-%d %H:%M:%S}", plain=lambda tick: instant(tick.at)),
    Column(title="IN", show=lambda tick: relative(tick.at), plain=lambda _: None),
    Column(title="CLOCK CHANGE", show=lambda tick: tick.change or "", style=lambda _: "yellow"),
)


def schedule_fields(schedule: ScheduleRecord) -> list[tuple[str, str]]:
    """What there is to say about a schedule, for `print_fields`."""
    paused = with_relative(schedule.paused_at) + (f" by {schedule.paused_by}" if schedule.paused_by else "")
    catchup = str(schedule.catchup)
    if catchup == "all":
        catchup += f", at most {schedule.catchup_limit} and {duration(schedule.catchup_max_age)} back"
    fields = [
        ("Due", words(schedule) or DASH),
        ("Expression", schedule.expression + (f" (seconds {schedule.seconds})" if schedule.seconds else "")),
        ("Time zone", schedule.timezone),
        ("Task", schedule.task),
        ("Payload", as_json(schedule.payload, None)),
        ("Queue", schedule.queue or "the task's"),
        ("Priority", "the task's" if schedule.priority is None else str(schedule.priority)),
        ("Max retries", "inherited" if schedule.max_retries is None else str(schedule.max_retries)),
        ("Timeout", "inherited" if schedule.timeout is None else duration(schedule.timeout)),
        ("Tags", ", ".join(schedule.tags or ()) or DASH),
        ("Catchup", catchup),
        ("Overlap", schedule.overlap),
        ("Jitter", duration(schedule.jitter) if schedule.jitter else DASH),
        ("Starts at", with_relative(schedule.starts_at)),
        ("Ends at", with_relative(schedule.ends_at)),
        ("Paused", paused),
        ("Orphaned", with_relative(schedule.orphaned_at)),
        ("Error", schedule.error or DASH),
        ("Declared by", schedule.application or DASH),
        ("Next tick", with_relative(schedule.next_tick_at)),
        ("Last tick", with_relative(schedule.last_tick_at)),
    ]
    return [(name, value) for name, value in fields if value != DASH]


def print_done(name: str, done: str, hint: str = "") -> None:
    """Says what was done to a schedule."""
    if on_terminal():
        click.echo(clean(f"Schedule {name}: {done}." + (f" To {hint}" if hint else "")))
    else:
        print_plain(name, done)
