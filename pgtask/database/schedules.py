"""Schedules as operators see them: listing, making, changing, pausing, running and deleting them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import errors
from psycopg.rows import class_row, scalar_row, tuple_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.reading import in_words, reading
from pgtask.model.errors import ScheduleError, ScheduleNotFoundError, ScheduleStateError
from pgtask.model.schedule import Schedule, ScheduleRecord, TickRecord

_LIST = statements.load("list_schedules")
_KNOWN = statements.load("known_schedules")
_TICKS = statements.load("list_ticks")
_CREATE = statements.load("create_schedule")
_SET = statements.load("set_schedule")
_PAUSE = statements.load("pause_schedules")
_RESUME = statements.load("resume_schedules")
_RUN = statements.load("run_schedule")
_DELETE = statements.load("delete_schedule")
_LOCK = statements.load("lock_schedule")


class Paused(NamedTuple):
    """A schedule that is paused, and since when."""

    name: str
    paused_at: datetime


def list_schedules(connection: Connection) -> list[ScheduleRecord]:
    """All schedules, by name."""
    with reading(connection):
        return _list(connection, None)


def known_schedules(connection: Connection) -> list[str]:
    """The names of all schedules."""
    with reading(connection), connection.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(_KNOWN).fetchall()


def read_schedule(connection: Connection, name: str) -> ScheduleRecord:
    """One schedule. Raises ScheduleNotFoundError."""
    with reading(connection):
        return _read(connection, name)


def find_schedule(connection: Connection, key: str) -> ScheduleRecord:
    """The schedule of this id or, where there is none, of this name. Raises ScheduleNotFoundError."""
    with reading(connection):
        return _find(connection, key)


def lock_schedule(connection: Connection, key: str) -> ScheduleRecord:
    """As `find_schedule`, and nobody else changes it until the caller's transaction ends."""
    with in_words(connection):
        name = _find(connection, key).name
        connection.execute(_LOCK, {"name": name})
        return _read(connection, name)


def list_ticks(
    connection: Connection, schedule_id: int, limit: int, before: datetime | None = None
) -> list[TickRecord]:
    """The latest ticks of a schedule, or of those before an instant, newest first."""
    with reading(connection), connection.cursor(row_factory=class_row(TickRecord)) as cursor:
        values = {"schedule_id": schedule_id, "limit": limit, "before": before}
        return cursor.execute(_TICKS, values).fetchall()


def create_schedule(connection: Connection, schedule: Schedule) -> None:
    """Makes a schedule. Raises ScheduleError for one that cannot be; ScheduleStateError when its name is taken."""
    schedule.check()
    with in_words(connection), connection.transaction():
        with connection.cursor(row_factory=scalar_row) as cursor:
            if schedule.name in cursor.execute(_KNOWN):
                raise ScheduleStateError(
                    f"Schedule '{schedule.name}' exists already. Change it: pgtask schedules set {schedule.name}"
                )
        with _refusals():
            connection.execute(_CREATE, schedule.arguments())


def set_schedule(connection: Connection, name: str, changes: Mapping[str, Any]) -> None:
    """Changes a schedule; `changes` are fields of Schedule, None meaning inherit. Nothing is fired for the past.

    Raises ScheduleNotFoundError, and ScheduleError when it could not be so.
    """
    with in_words(connection), connection.transaction():
        _changed(_read(connection, name), changes).check()
        columns = {"seconds_field" if key == "seconds" else key: value for key, value in changes.items()}
        if "payload" in columns:
            columns["payload"] = json.loads(columns["payload"])
        with _refusals():
            connection.execute(_SET, {"name": name, "changes": json.dumps(columns, default=datetime.isoformat)})


def pause_schedules(connection: Connection, names: Iterable[str], paused_by: str | None) -> list[Paused]:
    """Pauses schedules; one that is paused already stays as it is. Raises ScheduleNotFoundError."""
    with in_words(connection), connection.transaction(), connection.cursor(row_factory=class_row(Paused)) as cursor:
        found = cursor.execute(_PAUSE, {"names": sorted(set(names)), "paused_by": paused_by}).fetchall()
        _require(connection, [name for name, paused_at in found if paused_at is None])
        return found


def resume_schedules(connection: Connection, names: Iterable[str]) -> set[str]:
    """Resumes schedules from now on and returns those that were paused. Raises ScheduleNotFoundError."""
    with in_words(connection), connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        found = cursor.execute(_RESUME, {"names": sorted(set(names))}).fetchall()
        _require(connection, [name for name, resumed in found if resumed is None])
        return {name for name, resumed in found if resumed}


def run_schedule(connection: Connection, name: str) -> int:
    """Enqueues a job of a schedule now, outside of its ticks, and returns its id. Raises ScheduleNotFoundError."""
    with in_words(connection), connection.transaction(), connection.cursor(row_factory=scalar_row) as cursor:
        id = cursor.execute(_RUN, {"name": name}).fetchone()
        if id is None:
            _require(connection, [name])
        return int(id or 0)


def delete_schedule(connection: Connection, name: str) -> None:
    """Deletes a schedule; its jobs stay. Raises ScheduleNotFoundError; ScheduleStateError while code declares it."""
    with in_words(connection), connection.transaction(), connection.cursor(row_factory=scalar_row) as cursor:
        with _refusals():
            deleted = cursor.execute(_DELETE, {"name": name}).fetchone()
        if not deleted:
            _require(connection, [name])


def _list(connection: Connection, name: str | None) -> list[ScheduleRecord]:
    with connection.cursor(row_factory=class_row(ScheduleRecord)) as cursor:
        return cursor.execute(_LIST, {"name": name, "id": None}).fetchall()


def _find(connection: Connection, key: str) -> ScheduleRecord:
    if key.isascii() and key.isdigit() and 0 < int(key) < 2**31:
        with connection.cursor(row_factory=class_row(ScheduleRecord)) as cursor:
            found = cursor.execute(_LIST, {"name": None, "id": int(key)}).fetchone()
        if found is not None:
            return found
    return _read(connection, key)


def _read(connection: Connection, name: str) -> ScheduleRecord:
    found = _list(connection, name)
    if not found:
        _require(connection, [name])
    return found[0]


def _require(connection: Connection, missing: list[str]) -> None:
    """Raises ScheduleNotFoundError for the first of these names, which there are not."""
    if missing:
        with connection.cursor(row_factory=scalar_row) as cursor:
            raise ScheduleNotFoundError(missing[0], cursor.execute(_KNOWN).fetchall())


def _changed(record: ScheduleRecord, changes: Mapping[str, Any]) -> Schedule:
    fields = Schedule.__dataclass_fields__
    stored = {name: getattr(record, name) for name in fields} | {"payload": json.dumps(record.payload)}
    return Schedule(**stored | {"tags": tuple(record.tags or ())} | dict(changes))


@contextmanager
def _refusals() -> Iterator[None]:
    """Turns what the doors refuse into errors of schedules."""
    try:
        yield
    except (errors.UniqueViolation, errors.ObjectInUse) as error:
        raise ScheduleStateError(_sentence(error)) from error
    except (errors.DataError, errors.CheckViolation, errors.ProgramLimitExceeded) as error:
        raise ScheduleError(_sentence(error)) from error


def _sentence(error: errors.Error) -> str:
    message, hint = error.diag.message_primary or str(error), error.diag.message_hint
    return f"{message[:1].upper()}{message[1:]}." + (f" {hint}" if hint else "")
