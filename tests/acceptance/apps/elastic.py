"""Tasks that wait or compute, and write down outside the database that they did."""

from __future__ import annotations

import time

from pgtask import PgTask
from pgtask.observability.logging import running_attempt
from tests.scene import Scene

tasks = PgTask()
scene = Scene.here()


def note(what: str) -> None:
    """Notes something of the attempt that runs here."""
    attempt = running_attempt()
    assert attempt is not None
    scene.note(what, attempt.id, attempt.attempt)


@tasks.task(name="wait")
def wait(seconds: float) -> None:
    """Waits, as for an answer."""
    note("start")
    time.sleep(seconds)
    note("end")


@tasks.task(name="compute")
def compute(seconds: float) -> None:
    """Computes for so much time of a processor."""
    note("start")
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    note("end")


@tasks.task(name="hold")
def hold(gate: str) -> None:
    """Waits at a gate."""
    note("start")
    scene.pass_through(gate)
    note("end")
