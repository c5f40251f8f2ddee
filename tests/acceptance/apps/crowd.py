"""Jobs that end only once so many of them run at the same time."""

from __future__ import annotations

import asyncio
import threading

from pgtask import PgTask
from tests.acceptance.apps.basic import note

PATIENCE = 60.0

tasks = PgTask()
_barriers: dict[int, threading.Barrier] = {}
_lock = threading.Lock()
_present: dict[int, asyncio.Future[None]] = {}
_arrived: dict[int, int] = {}


@tasks.task(name="meet", max_retries=0)
def meet(count: int) -> None:
    """In threads."""
    note()
    with _lock:
        barrier = _barriers.setdefault(count, threading.Barrier(count))
    barrier.wait(PATIENCE)


@tasks.task(name="meet_async", max_retries=0)
async def meet_async(count: int) -> None:
    """On the event loop."""
    note()
    everyone = _present.setdefault(count, asyncio.get_running_loop().create_future())
    _arrived[count] = _arrived.get(count, 0) + 1
    if _arrived[count] == count:
        everyone.set_result(None)
    async with asyncio.timeout(PATIENCE):
        await everyone


@tasks.task(name="meet_mixed", max_retries=0)
def meet_mixed(count: int) -> None:
    """In threads, together with meet_mixed_async."""
    meet.function(count)


@tasks.task(name="meet_mixed_async", max_retries=0)
async def meet_mixed_async(count: int) -> None:
    note()
    with _lock:
        barrier = _barriers.setdefault(count, threading.Barrier(count))
    await asyncio.to_thread(barrier.wait, PATIENCE)
