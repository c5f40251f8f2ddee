"""A task whose effect is a row in the database, in one transaction with its completion."""

from __future__ import annotations

import time

from pgtask import JobContext, PgTask, Retry
from tests.scene import Scene

tasks = PgTask()
scene = Scene.here()


@tasks.task(name="effect", transactional=True, max_retries=-1, retry=Retry.fixed(0))
def effect(ctx: JobContext, fails: bool = False) -> int:
    """Inserts the job's row; fails after that in its first attempt if it is to."""
    scene.note("start", ctx.id, ctx.attempt)
    ctx.connection.execute("INSERT INTO public.effects (job_id, attempt) VALUES (%s, %s)", [ctx.id, ctx.attempt])
    # Long enough to be hit.
    time.sleep(0.001)
    if fails and ctx.retry_count == 0:
        raise ValueError("it was to fail")
    return ctx.id
