"""Running one attempt in the caller's thread, by the engine's own rules for handlers, errors and verdicts.

What only a worker can do is left out: no timeout or limit of memory is applied, and nothing interrupts the handler.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any

from pgtask.engine import classify
from pgtask.engine.attempt import Attempt
from pgtask.engine.handler import Handlers
from pgtask.engine.task import Task
from pgtask.model.payload import decode_many
from pgtask.model.verdict import JobInterrupted

# What ends an attempt. A Ctrl-C, and what a test runner raises to end a test, belong to the caller instead.
_ENDS = (Exception, SystemExit, JobInterrupted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """An attempt that was run, and the status of its job after it: `retrying` when it will be tried again.

    `retry_in` are the seconds that a verdict (`Retry`, `Snooze`) asked for, else None.
    """

    job_id: int
    task: str
    queue: str
    payload: Any
    attempt: int
    outcome: str
    status: str
    result: Any
    error_type: str | None
    error: str | None
    traceback: str | None
    retry_in: float | None

    def __str__(self) -> str:
        ending = f": {self.error_type}: {self.error}" if self.error is not None else ""
        return f"job {self.job_id} {self.task} attempt {self.attempt} {self.outcome}, now {self.status}{ending}"


def ran_of(attempt: Attempt, status: str) -> Ran:
    """What is told of an attempt that has ended."""
    return Ran(
        job_id=attempt.id,
        task=attempt.task,
        queue=attempt.queue,
        payload=attempt.payload,
        attempt=attempt.attempt,
        outcome=attempt.outcome,
        status=status,
        result=None if attempt.result is None else decode_many([attempt.result])[0],
        error_type=attempt.error_type,
        error=attempt.error,
        traceback=attempt.traceback,
        retry_in=attempt.delay,
    )


def handlers_of(
    tasks: Mapping[str, Task[Any]],
    on_progress: Callable[[Attempt, int, str | None], None],
    on_log: Callable[[Attempt, float, int, str, str], None],
) -> Handlers:
    """How tasks are called here: without their limits of memory, which would hold for the whole of the test process."""
    unlimited = {
        name: Task(task.app, task.function, name, replace(task.defaults, memory_limit=None))
        if task.defaults.memory_limit is not None
        else task
        for name, task in tasks.items()
    }
    return Handlers(unlimited, on_progress, on_log)


def run(task: Task[Any], handlers: Handlers, attempt: Attempt) -> None:
    """Runs an attempt to its end; a coroutine function gets an event loop of its own."""
    attempt.started_at = time.monotonic()
    try:
        value = handlers.call(attempt)
        if task.is_coroutine:
            value = _run_coroutine(value)
    except BaseException as error:
        if not isinstance(error, (*_ENDS, asyncio.CancelledError)):
            _released(attempt)
            raise
        _failed(handlers, attempt, error)
    else:
        _returned(attempt, value)


async def run_async(task: Task[Any], handlers: Handlers, attempt: Attempt) -> None:
    """`run` in the running event loop, which a coroutine function then shares."""
    attempt.started_at = time.monotonic()
    try:
        value = handlers.call(attempt)
        if task.is_coroutine:
            value = await value
    except _ENDS as error:
        _failed(handlers, attempt, error)
    except BaseException:
        _released(attempt)
        raise
    else:
        _returned(attempt, value)


def _failed(handlers: Handlers, attempt: Attempt, error: BaseException) -> None:
    attempt.ended_at = time.monotonic()
    trace = error.__traceback__
    # The first frame is this module's call.
    handlers.conclude(attempt, error.with_traceback(trace.tb_next if trace else None))


def _released(attempt: Attempt) -> None:
    attempt.ended_at = time.monotonic()
    attempt.outcome = "released"


def _returned(attempt: Attempt, value: Any) -> None:
    attempt.ended_at = time.monotonic()
    classify.returned(attempt, value)


def _run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    # This thread's loop is busy with whoever called us.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(copy_context().run, asyncio.run, coroutine).result()
