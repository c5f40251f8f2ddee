"""The tasks that are measured. An application has functions of one kind: one with both lets them share their slots."""

from __future__ import annotations

import asyncio
import time

from pgtask.engine.app import PgTask

PLAIN, COROUTINES = "pgtask.benchmark.app:plain", "pgtask.benchmark.app:coroutines"

plain = PgTask()
coroutines = PgTask()


@plain.task(name="noop")
def noop(n: int) -> None:
    """Nothing, in a thread."""


@coroutines.task(name="noop")
async def noop_coroutine(n: int) -> None:
    """Nothing, on the event loop."""


@plain.task(name="nap")
def nap(n: int) -> None:  # noqa: ARG001 - the jobs are all alike
    """A second's wait in a thread."""
    time.sleep(1)


@coroutines.task(name="nap")
async def nap_coroutine(n: int) -> None:  # noqa: ARG001 - likewise
    """A second's wait on the event loop."""
    await asyncio.sleep(1)
