"""What arguments the registered tasks take, remembered for some seconds by who enqueues without their code."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from psycopg.rows import tuple_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.model.errors import PayloadError
from pgtask.model.signature import check_against

_FIND = statements.load("find_payload_schemas")

REMEMBERED = 5.0
"""Seconds that a schema is believed where it lets a payload through."""

_MOST = 10_000


class Schemas:
    """The schemas that were looked up a moment ago; shared by threads."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Mapping[str, Any] | None]] = {}

    def learn(self, connection: Connection, tasks: Collection[str]) -> None:
        """Looks up those that are not remembered, in one statement."""
        now = time.monotonic()
        wanted = [task for task in tasks if self._known.get(task, (0.0, None))[0] <= now]
        if wanted:
            self._read(connection, wanted)

    def check(self, connection: Connection, task: str, payload: Mapping[str, Any]) -> None:
        """Raises PayloadError, naming what is missing or unknown, unless the task takes these arguments.

        A task that nobody has registered takes any.
        """
        known = self._known.get(task)
        if known is None or known[0] <= time.monotonic():
            self._read(connection, [task])
        elif known[1] is not None:
            try:
                check_against(known[1], task, payload)
            except PayloadError:
                # A newer version of the code may take them.
                self._read(connection, [task])
            else:
                return
        schema = self._known[task][1]
        if schema is not None:
            check_against(schema, task, payload)

    def _read(self, connection: Connection, tasks: Collection[str]) -> None:
        with connection.cursor(row_factory=tuple_row) as cursor:
            found: dict[str, Any] = dict(cursor.execute(_FIND, {"names": list(tasks)}).fetchall())
        if len(self._known) > _MOST:
            self._known = {}
        until = time.monotonic() + REMEMBERED
        self._known |= {task: (until, found.get(task)) for task in tasks}
