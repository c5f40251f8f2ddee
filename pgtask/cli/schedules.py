"""`pgtask schedules`: recurring work."""

from __future__ import annotations

from typing import Any

import click

from pgtask.cli import completion, parameters
from pgtask.cli.context import connected, note
from pgtask.cli.enqueue import read_payload
from pgtask.cli.output import (
    json_option,
    on_terminal,
    print_fields,
    print_heading,
    print_json,
    print_plain,
    print_table,
    styled,
)
from pgtask.cli.queues import user
from pgtask.cli.schedule_options import chosen, schedule_options, seconds_option, timezone_option
from pgtask.cli.schedule_views import (
    SCHEDULE_COLUMNS,
    STATE_STYLES,
    TICK_COLUMNS,
    UPCOMING_COLUMNS,
    print_done,
    schedule_fields,
)
from pgtask.cli.text import as_json, clean, instant
from pgtask.database import schedules as store
from pgtask.model.cron import Seconds
from pgtask.model.errors import ScheduleError
from pgtask.model.payload import encode
from pgtask.model.recurrence import Recurrence
from pgtask.model.schedule import Schedule, ScheduleRecord
from pgtask.model.serialise import page_as_json, record_as_json
from pgtask.model.upcoming import Upcoming, upcoming_as_json, upcoming_from_now, upcoming_of

COMING, PAST = 10, 20
"""Ticks shown: to come, and past."""

EXAMPLES = """\b
Examples:
  pgtask schedules add report "0 7 * * mon-fri" report.build --timezone Europe/Vienna
  pgtask schedules add poll "@every 30s" feed.fetch url=https://example.org
  pgtask schedules preview "0 2 * * sun" --timezone America/New_York"""

name_argument = click.argument("name", shell_complete=completion.schedule_names)
names_argument = click.argument("names", nargs=-1, required=True, shell_complete=completion.schedule_names)


@click.group(epilog=EXAMPLES)
def schedules() -> None:
    """List, add, change, preview, pause, resume, run and delete schedules."""


@schedules.command("list")
@json_option
def list_schedules(json_output: bool) -> None:
    """List schedules.

    In a pipe the columns are: name, state, expression, task, next tick, last tick, time zone,
    application or runtime.
    """
    with connected() as connection:
        found = store.list_schedules(connection)
    if json_output:
        print_json(page_as_json([record_as_json(schedule) for schedule in found]))
    else:
        print_table(found, SCHEDULE_COLUMNS, empty="No schedules. Add one: pgtask schedules add --help")


@schedules.command(epilog=EXAMPLES)
@click.argument("name")
@click.argument("expression")
@click.argument("task", shell_complete=completion.task_names)
@click.argument("payload", nargs=-1)
@schedule_options
@json_option
def add(name: str, expression: str, task: str, payload: tuple[str, ...], json_output: bool, **options: Any) -> None:
    """Add a schedule.

    It enqueues TASK whenever EXPRESSION is due: minute, hour, day of month, month and day of week, or
    @hourly, @daily, @weekly, @monthly, @yearly, or @every 5m. PAYLOAD is as for pgtask enqueue.
    Nothing is enqueued for the time before.
    """
    text = encode(read_payload(payload))
    own = {name: value for name, value in chosen(options).items() if value is not None}
    schedule = Schedule(name=name, expression=expression, task=task, payload=text, **own)
    with connected() as connection:
        store.create_schedule(connection, schedule)
        _print_schedule(store.read_schedule(connection, name), json_output, "added")


@schedules.command("set")
@name_argument
@click.option("--expression", metavar="EXPRESSION", help="When it is due.")
@click.option("--task", metavar="NAME", shell_complete=completion.task_names, help="The task to enqueue.")
@click.option("--payload", metavar="JSON", help="The arguments, a JSON object.")
@schedule_options
@json_option
def set_schedule(name: str, payload: str | None, json_output: bool, **options: Any) -> None:
    """Change a schedule.

    Nothing is enqueued for the past. The word inherit takes a value of its own back, with --seconds for
    an expression of five fields again. What is changed about a schedule that is declared in code holds
    until that declaration changes.
    """
    changes = chosen(options)
    if payload is not None:
        changes["payload"] = encode(read_payload((payload,)))
    if not changes:
        raise click.UsageError("Say what to change, such as --expression '0 8 * * *'.")
    with connected() as connection:
        store.set_schedule(connection, name, changes)
        _print_schedule(store.read_schedule(connection, name), json_output, "changed")


@schedules.command()
@name_argument
@json_option
def show(name: str, json_output: bool) -> None:
    """Show a schedule, its next and its latest ticks."""
    with connected() as connection:
        schedule = store.read_schedule(connection, name)
        ticks = store.list_ticks(connection, schedule.id, PAST)
    coming = upcoming_of(schedule, COMING) if schedule.state == "active" else []
    if json_output:
        past = page_as_json([record_as_json(tick) for tick in ticks])
        print_json(record_as_json(schedule) | {"next": upcoming_as_json(coming), "ticks": past})
        return
    if not on_terminal():
        for title, value in record_as_json(schedule).items():
            shown = as_json(value, None) if title == "payload" else value
            print_plain(title, ",".join(shown) if isinstance(shown, list) else shown)
        for tick in ticks:
            print_plain("tick", *((column.plain or column.show)(tick) for column in TICK_COLUMNS))
        return
    click.echo(f"{styled(clean(name), 'bold')}  {styled(schedule.state, STATE_STYLES[schedule.state])}")
    print_fields(schedule_fields(schedule))
    if coming:
        print_heading("Next")
        print_table(coming[:5], UPCOMING_COLUMNS, empty="")
    print_heading("Latest ticks")
    print_table(ticks, TICK_COLUMNS, empty="It has not fired yet.")


@schedules.command()
@click.argument("name_or_expression", shell_complete=completion.schedule_names)
@timezone_option
@seconds_option
@click.option("-n", "--limit", type=parameters.positive, default=COMING, metavar="NUMBER", help="How many; 10.")
@json_option
def preview(
    name_or_expression: str, timezone: str | None, seconds: Seconds | None, limit: int, json_output: bool
) -> None:
    """Show when a schedule or an expression is due next.

    Ticks at which clocks change are marked. In a pipe the columns are: local time, UTC, nothing,
    change of clocks.
    """
    ticks, said = _coming(name_or_expression, timezone, seconds, limit)
    if json_output:
        print_json(page_as_json(upcoming_as_json(ticks)))
        return
    if on_terminal():
        click.echo(said)
    print_table(ticks, UPCOMING_COLUMNS, empty="No more ticks.")


def _coming(given: str, timezone: str | None, seconds: Seconds | None, limit: int) -> tuple[list[Upcoming], str]:
    # A name may look like anything, but names of one word are never expressions unless they begin with @.
    if given.startswith("@") or len(given.split()) > 1 or timezone or seconds:
        try:
            recurrence = Recurrence.parse(given, timezone or "UTC", seconds)
        except ScheduleError as refused:
            if timezone or seconds:
                raise
            return _coming_by_name(given, limit, refused)
        return upcoming_from_now(recurrence, limit), recurrence.words()
    return _coming_by_name(given, limit, None)


def _coming_by_name(name: str, limit: int, refused: ScheduleError | None) -> tuple[list[Upcoming], str]:
    with connected() as connection:
        if refused is not None and name not in store.known_schedules(connection):
            raise refused
        schedule = store.read_schedule(connection, name)
    if schedule.state != "active":
        note(f"It is {schedule.state}: none of these fires until that changes.")
    recurrence = Recurrence.parse(schedule.expression, schedule.timezone, schedule.seconds)
    return upcoming_of(schedule, limit), recurrence.words()


@schedules.command()
@names_argument
@json_option
def pause(names: tuple[str, ...], json_output: bool) -> None:
    """Pause schedules.

    They stay so across deployments, and nothing accumulates meanwhile.
    """
    with connected() as connection:
        paused = store.pause_schedules(connection, names, user())
    if json_output:
        print_json(
            page_as_json([schedule._asdict() | {"paused_at": instant(schedule.paused_at)} for schedule in paused])
        )
        return
    for schedule in paused:
        print_done(schedule.name, "paused", f"resume it: pgtask schedules resume {schedule.name}")


@schedules.command()
@names_argument
@json_option
def resume(names: tuple[str, ...], json_output: bool) -> None:
    """Resume schedules from now on."""
    with connected() as connection:
        resumed = store.resume_schedules(connection, names)
    if json_output:
        print_json(page_as_json([{"name": name, "resumed": name in resumed} for name in dict.fromkeys(names)]))
        return
    for name in dict.fromkeys(names):
        print_done(name, "resumed" if name in resumed else "not paused")


@schedules.command()
@name_argument
@json_option
def run(name: str, json_output: bool) -> None:
    """Enqueue a job of a schedule now, outside of its ticks."""
    with connected() as connection:
        id = store.run_schedule(connection, name)
    if json_output:
        print_json({"name": name, "job_id": id})
    elif on_terminal():
        click.echo(f"Job {id} enqueued.")
    else:
        print_plain(id)


@schedules.command()
@name_argument
@json_option
def delete(name: str, json_output: bool) -> None:
    """Delete a schedule; its jobs stay.

    Refused for one that is declared in code: it would come back.
    """
    with connected() as connection:
        store.delete_schedule(connection, name)
    if json_output:
        print_json({"name": name, "deleted": True})
    else:
        print_done(name, "deleted")


def _print_schedule(schedule: ScheduleRecord, json_output: bool, done: str) -> None:
    if json_output:
        print_json(record_as_json(schedule))
        return
    print_done(schedule.name, done)
    if on_terminal():
        print_table(upcoming_of(schedule, 3), UPCOMING_COLUMNS, empty="It has no more ticks.")
