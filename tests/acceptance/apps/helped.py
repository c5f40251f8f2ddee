"""An application with a process of its own, started when it is imported."""

from __future__ import annotations

import subprocess

from pgtask import PgTask

tasks = PgTask()
_HELPER = subprocess.Popen(["sleep", "600"])


@tasks.task(name="helped")
def helped(litter: bool = False) -> list[int | None]:
    """Tells whether the helper lives, and its id; leaves another process behind on request."""
    if litter:
        subprocess.Popen(["sleep", "600"])
    return [_HELPER.poll(), _HELPER.pid]
