"""Handlers to be stopped: by their timeout, or because their job is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time

from pgtask import JobCancelled, JobContext, PgTask
from pgtask.observability.logging import running_attempt
from tests.acceptance.apps.basic import note, scene

tasks = PgTask()


@tasks.task(name="spin", max_retries=0)
def spin() -> None:
    """Computes for ever."""
    note()
    while True:
        sum(range(1000))


@tasks.task(name="spin_async", max_retries=0)
async def spin_async() -> None:
    note()
    for n in itertools.count():
        await asyncio.sleep(0.001 * (n % 2))


@tasks.task(name="watch", max_retries=0)
def watch(ctx: JobContext) -> None:
    """Runs until it is told to stop, and ends as cancelled."""
    note()
    while not ctx.cancelled:
        time.sleep(0.005)
    note("told")
    ctx.raise_if_cancelled()


@tasks.task(name="finish", max_retries=0)
def finish(ctx: JobContext) -> str:
    """Is told to stop, and completes all the same."""
    note()
    while not ctx.cancelled:
        time.sleep(0.005)
    return "done"


@tasks.task(name="stumble", max_retries=-1)
def stumble(ctx: JobContext) -> None:
    """Is told to stop, and fails over it."""
    note()
    while not ctx.cancelled:
        time.sleep(0.005)
    raise ValueError("stumbled")


@tasks.task(name="tidy", max_retries=0)
def tidy() -> None:
    """Cleans up when it is stopped, which takes a while."""
    note()
    try:
        scene.pass_through("never")
    finally:
        scene.pass_through("cleaned")
        note("tidied")


@tasks.task(name="tidy_async", max_retries=0)
async def tidy_async() -> None:
    note()
    try:
        await asyncio.sleep(60)
    finally:
        await scene.pass_through_async("cleaned")
        note("tidied")


@tasks.task(name="swallow", max_retries=0)
def swallow() -> str:
    """Does not let itself be stopped, and says what it was told."""
    note()
    try:
        scene.pass_through("never")
    except JobCancelled:
        return "went on"
    return "was not told"


@tasks.task(name="swallow_async", max_retries=0)
async def swallow_async() -> str:
    note()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
        return "was not told"
    return "went on"


@tasks.task(name="brief", max_retries=0, timeout=0.02)
def brief(seconds: float) -> int:
    """About as long as its timeout."""
    note()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    attempt = running_attempt()
    return attempt.id if attempt else 0


@tasks.task(name="brief_async", max_retries=0, timeout=0.02)
async def brief_async(seconds: float) -> int:
    note()
    await asyncio.sleep(seconds)
    attempt = running_attempt()
    return attempt.id if attempt else 0


@tasks.task(name="hold", max_retries=0)
def hold(gate: str) -> None:
    note()
    scene.pass_through(gate)


@tasks.task(name="hold_async", max_retries=0)
async def hold_async(gate: str) -> None:
    note()
    await scene.pass_through_async(gate)
