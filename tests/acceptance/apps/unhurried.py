"""A task that takes longer than what workers fetch ahead for."""

from __future__ import annotations

import time

from pgtask import PgTask

tasks = PgTask()


@tasks.task(name="unhurried")
def unhurried() -> None:
    """Takes a while."""
    time.sleep(0.12)
