"""Schedules that code declares, taken over into the database when a worker starts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from psycopg.rows import tuple_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.model.schedule import Schedule

_NOTE = statements.load("note_declarations")
_DECLARE = statements.load("declare_schedule")


def declare(connection: Connection, worker_id: int, application: str, schedules: Iterable[Schedule]) -> list[str]:
    """Takes over all that an application declares now; returns the names that are not its own to declare."""
    declared = sorted(schedules, key=lambda schedule: schedule.name)
    refused = []
    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        names = [schedule.name for schedule in declared]
        cursor.execute(_NOTE, {"worker_id": worker_id, "application": application, "schedules": names})
        for schedule in declared:
            values = schedule.arguments()
            owner = {"worker_id": worker_id, "application": application, "declared": _as_json(values)}
            # Once more for one that another worker has made since this one looked.
            answers = (cursor.execute(_DECLARE, values | owner).fetchone() for _ in range(2))
            if all(answer == ("refused",) for answer in answers):
                refused.append(schedule.name)
    return refused


def _as_json(values: dict[str, Any]) -> str:
    """The declaration in a form that is the same whenever it says the same."""
    instants = {
        name: value.astimezone(UTC).isoformat() for name, value in values.items() if isinstance(value, datetime)
    }
    return json.dumps(values | instants | {"payload": json.loads(values["payload"])})
