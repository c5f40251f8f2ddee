"""Running an application's jobs until none is left."""

from __future__ import annotations

from collections.abc import Iterable

from pgtask.engine.app import PgTask
from pgtask.testing.attempts import Ran


def drain(app: PgTask, *, queues: Iterable[str] | None = None, limit: int = 1000) -> list[Ran]:
    """Runs the application's due jobs, and those that they enqueue, until none is left; returns each attempt that ran.

    What is not yet due stays, as do the retries of what fails: `advance` brings them forward. `queues` None serves all.
    Handlers run one after the other in this thread, coroutine functions on an event loop. Timeouts and isolation are
    not applied.
    Raises AssertionError after `limit` attempts, as then jobs seem to enqueue each other for ever.
    """
    from pgtask.testing.worker import Worker

    ran: list[Ran] = []
    with Worker(app, None if queues is None else list(queues)) as worker:
        while (row := worker.claim()) is not None:
            if len(ran) == limit:
                worker.give_back(row)
                raise AssertionError(f"Still not drained after {limit} attempts. The last: {ran[-1]}")
            ran.append(worker.run(row))
    return ran
