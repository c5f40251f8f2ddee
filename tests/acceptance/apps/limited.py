"""Tasks for the tests of limits: one that takes a while, and one that shows how many run at once by itself."""

from __future__ import annotations

import asyncio
import time

from pgtask import PgTask

tasks = PgTask()


@tasks.task(name="work", max_retries=0)
def work(seconds: float = 0.005) -> None:
    """Takes so many seconds, in a thread."""
    time.sleep(seconds)


@tasks.task(name="other", max_retries=0)
async def other(seconds: float = 0.005) -> None:
    """Takes so many seconds, on the event loop."""
    await asyncio.sleep(seconds)
