"""Tasks whose every start and end is written down outside the database, for tests that break things meanwhile."""

from __future__ import annotations

import os
import time
from pathlib import Path

from pgtask import JobContext, PgTask

tasks = PgTask()
_FOLDER = Path(os.environ["FAULTS_FOLDER"])
_LEDGER = os.open(_FOLDER / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _note(ctx: JobContext, event: str) -> None:
    os.write(_LEDGER, f"{event} {ctx.id} {ctx.attempt} {os.getpid()}\n".encode())


@tasks.task(name="quick")
def quick(ctx: JobContext) -> int:
    """Ends at once."""
    _note(ctx, "start")
    _note(ctx, "end")
    return ctx.id


@tasks.task(name="hold")
def hold(ctx: JobContext, gate: str = "gate") -> int:
    """Runs until the file `gate` is there."""
    _note(ctx, "start")
    while not (_FOLDER / gate).exists():
        time.sleep(0.01)
    _note(ctx, "end")
    return ctx.id
