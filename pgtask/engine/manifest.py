"""What an application makes known when a worker starts: its tasks, and the schedules that its code declares."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from pgtask.database.connection import lost
from pgtask.database.work import WorkConnection
from pgtask.model.schedule import Schedule

log = logging.getLogger("pgtask.executor")


class Manifest(NamedTuple):
    """Rows of the table tasks, and schedules under the name of their application."""

    tasks: Sequence[dict[str, Any]]
    application: str
    schedules: Sequence[Schedule]

    def register(self, connection: WorkConnection) -> None:
        """Makes all of it known. Jobs are run even when the schedules are refused."""
        connection.register_tasks(self.tasks)
        try:
            refused = connection.declare_schedules(self.application, self.schedules)
        except Exception as error:
            if lost(error):
                raise
            log.exception("the schedules of %s could not be written", self.application)
            return
        for name in refused:
            log.error(
                "schedule %r of %s is not taken over: another application declares it, or it was made at run time. "
                "Give it another name",
                name,
                self.application,
            )
