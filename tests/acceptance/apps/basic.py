"""Handlers that note what they do, wait where they are told to, and end as asked."""

from __future__ import annotations

from typing import Any

from pgtask import JobContext, PgTask, Retry
from pgtask.observability.logging import running_attempt
from tests.scene import Scene

tasks = PgTask()
scene = Scene.here()


def note(what: str = "start") -> None:
    """Notes something of the attempt that runs here."""
    attempt = running_attempt()
    assert attempt is not None
    scene.note(what, attempt.id, attempt.attempt)


@tasks.task(name="quick")
def quick(value: Any = None) -> Any:
    note()
    return value


@tasks.task(name="quick_async")
async def quick_async(value: Any = None) -> Any:
    note()
    return value


@tasks.task(name="hold")
def hold(gate: str) -> str:
    """Waits at a gate; can be interrupted while it does."""
    note()
    scene.pass_through(gate)
    note("end")
    return gate


@tasks.task(name="hold_async")
async def hold_async(gate: str) -> str:
    note()
    await scene.pass_through_async(gate)
    note("end")
    return gate


@tasks.task(name="tell")
def tell(ctx: JobContext, steps: int) -> None:
    """Tells how far it is, and more, until its very end."""
    note()
    for step in range(1, steps + 1):
        ctx.log(f"step {step}", "warning" if step == steps else "info")
        ctx.progress(100 * step / steps, f"{step} of {steps}")


@tasks.task(name="fail", max_retries=2, retry=Retry.fixed(0))
def fail(ctx: JobContext, times: int) -> int:
    """Fails so often before it succeeds."""
    note()
    if ctx.retry_count < times:
        raise ValueError(f"failure {ctx.retry_count + 1}")
    return ctx.retry_count
