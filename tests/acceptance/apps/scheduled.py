"""Schedules declared in code, as many as SCHEDULES in the environment names."""

from __future__ import annotations

import os

from pgtask import JobContext, PgTask
from tests.scene import Scene

tasks = PgTask()
scene = Scene.here()


@tasks.task(name="note")
def note(ctx: JobContext, name: str) -> str | None:
    scene.note(name, ctx.id, ctx.attempt)
    return None if ctx.tick_at is None else ctx.tick_at.isoformat()


for schedule in os.environ["SCHEDULES"].split(","):
    tasks.schedule("@every 1s", note, name=schedule, overlap="allow", payload={"name": schedule})
