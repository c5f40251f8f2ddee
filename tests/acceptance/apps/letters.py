"""Tasks that fail in all the ways there are, and one that looks at what it is a copy of."""

from __future__ import annotations

import ctypes
import time

from pgtask import Discard, JobContext, PgTask

tasks = PgTask()


@tasks.task(name="raise")
def fail() -> None:
    """Fails."""
    raise ValueError("no such customer")


@tasks.task(name="brief")
def brief() -> None:
    """Fails after a moment."""
    time.sleep(0.01)
    raise ValueError("no such customer")


@tasks.task(name="discard")
def discard() -> None:
    """Gives up."""
    raise Discard("not wanted")


@tasks.task(name="slow", timeout=0.2)
def slow() -> None:
    """Takes too long."""
    while True:
        time.sleep(0.01)


@tasks.task(name="segfault")
def segfault() -> None:
    """Reads address 0."""
    ctypes.string_at(0)


@tasks.task(name="plain")
def plain(ctx: JobContext) -> str | None:
    """Fails, and its copy tells of what."""
    if ctx.dead_letter is None:
        raise ValueError("no such customer")
    assert ctx.dead_letter is ctx.dead_letter
    return told(ctx)


@tasks.task(name="coroutine")
async def coroutine(ctx: JobContext) -> str | None:
    """As `plain`."""
    if await ctx.dead_letter_async() is None:
        raise ValueError("no such customer")
    return told(ctx)


@tasks.task(name="transactional", transactional=True)
def transactional(ctx: JobContext) -> str | None:
    """As `plain`."""
    if ctx.dead_letter is None:
        raise ValueError("no such customer")
    ctx.connection.execute("SELECT 1")
    return told(ctx)


def told(ctx: JobContext) -> str:
    """What the copy says, in words."""
    letter = ctx.dead_letter
    assert letter is not None
    assert letter.created_at <= letter.finished_at
    return f"{letter.job_id} {letter.queue} {letter.status} {letter.attempt} {letter.error_type}: {letter.error}"
