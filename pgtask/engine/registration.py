"""Entering a process among the workers, however long the database takes to answer."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

from pgtask.database import migrations
from pgtask.database.connection import Connection, check_session, connect, lost, one_line, translate_errors
from pgtask.model.errors import DatabaseUnavailableError

_LONGEST_PAUSE = 5.0
_LOG_EVERY = 10.0

log = logging.getLogger("pgtask.supervisor")


def enter(
    url: str, insert: Callable[[Connection], int], ending: Callable[[], bool], *, name: str, pooled: bool
) -> int | None:
    """The id that `insert` gives on a connection whose schema is the right one; None when `ending` says so before.

    While the database is away it tries again. Raises SchemaError when the schema is missing or of another version, and
    what PostgreSQL says when it refuses the credentials or has no such database.
    """
    pause, logged = 0.1, 0.0
    while not ending():
        try:
            with translate_errors(url), connect(url, application_name=name, pooled=pooled) as connection:
                if not pooled:
                    check_session(connection)
                migrations.check(connection)
                return insert(connection)
        except Exception as error:
            if not lost(error) or "authentication failed" in str(error) or "does not exist" in str(error):
                raise
            now = time.monotonic()
            if now - logged > _LOG_EVERY:
                logged = now
                reason = error if isinstance(error, DatabaseUnavailableError) else one_line(error)
                log.warning("%s Trying again.", reason)
            time.sleep(random.uniform(0, pause))
            pause = min(pause * 2, _LONGEST_PAUSE)
    return None
