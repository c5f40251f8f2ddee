"""A worker of one slot in the caller's thread, for tests: mocks, breakpoints and coverage reach what it runs.

Registering, claiming and handing in are the statements that every worker sends, so retries, fencing, history and the
queues' settings are the real ones.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Self

from pgtask.database import jobs, migrations, ownership
from pgtask.database.claims import START, ClaimedRow, ClaimRequest, LaneRow, Position
from pgtask.database.connection import connect
from pgtask.database.work import WorkConnection
from pgtask.engine.app import PgTask
from pgtask.engine.attempt import Attempt
from pgtask.engine.completer import Completer
from pgtask.engine.lane import EXAMINE, KEYS
from pgtask.engine.notes import Notebook
from pgtask.engine.prefetch import Prefetch
from pgtask.model.payload import decode_many
from pgtask.testing import attempts
from pgtask.testing.attempts import Ran, ran_of
from pgtask.version import __version__

# Longer than any test: nobody sends heartbeats.
_LEASE = 86_400.0


class Worker:
    """A worker for the tasks of an application, registered with the database while it is entered."""

    def __init__(self, app: PgTask, queues: Sequence[str] | None) -> None:
        self._app = app
        self._queues = queues
        self._tasks = sorted(app.tasks)
        self._notebook = Notebook()
        self._completer = Completer(Prefetch(1), lambda _: None, app.tasks)
        self._handlers = attempts.handlers_of(app.tasks, self._notebook.progress, self._notebook.log)
        self._timeouts = {name: task.defaults.timeout for name, task in app.tasks.items()}

    def __enter__(self) -> Self:
        url = self._app.database_url
        with ExitStack() as stack:
            self._own = stack.enter_context(closing(connect(url, application_name="pgtask drain")))
            migrations.check(self._own)
            id = ownership.register(
                self._own,
                name="drain",
                host=socket.gethostname(),
                pid=os.getpid(),
                version=__version__,
                queues=self._queues,
                executors=1,
                slots=1,
                lease=_LEASE,
            )
            stack.callback(ownership.end_worker, self._own, id)
            self._connection = stack.enter_context(closing(WorkConnection(url, id, 1)))
            self._connection.register_tasks([task.registration(self._app.version) for task in self._app.tasks.values()])
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def claim(self) -> ClaimedRow | None:
        """Takes the next job, in the order in which a worker would."""
        lanes = self._connection.sweep(self._queues, self._tasks)
        for lane in sorted(lanes, key=lambda lane: (-lane.queue_priority, -lane.priority, lane.queue)):
            rows = self._claim_plain(lane) or self._claim_within_limits(lane)
            if rows:
                return rows[0]
        return None

    def _claim_plain(self, lane: LaneRow) -> list[ClaimedRow]:
        tasks = [task for task in self._tasks if task not in (lane.gated or ())]
        position: Position | None = START
        more = True
        while more and position is not None:
            rows, position, more = self._connection.advance(lane.queue, lane.priority, position, EXAMINE, 1, tasks)
            if rows:
                return rows
        return []

    def _claim_within_limits(self, lane: LaneRow) -> list[ClaimedRow]:
        if lane.limited or lane.gated:
            position = START
            while True:
                request = ClaimRequest([lane.queue], [lane.priority], [position.time], [position.id], 1)
                rows, looked = self._connection.claim_lanes(
                    request, [not lane.limited], lane.gated or [], self._tasks, EXAMINE
                )
                if rows:
                    return rows
                if not looked or looked[0].examined < EXAMINE or looked[0].claimable:
                    break
                position = looked[0].last
        if lane.keyed:
            return self._connection.claim_keyed(lane.queue, lane.priority, "", KEYS, 1, self._tasks)[0]
        return []

    def run(self, row: ClaimedRow) -> Ran:
        """Runs a job that was taken, and hands in how that ended."""
        attempt = self._attempt(row)
        try:
            attempts.run(self._app.tasks[attempt.task], self._handlers, attempt)
        finally:
            self._hand_in(attempt)
        return ran_of(attempt, jobs.read(self._own, attempt.id).status)

    def give_back(self, row: ClaimedRow) -> None:
        """Gives a job back that was taken and not begun."""
        attempt = self._attempt(row)
        attempt.outcome = "released"
        attempt.ended_at = time.monotonic()
        self._hand_in(attempt)

    def _attempt(self, row: ClaimedRow) -> Attempt:
        id, number, task, queue, priority, payload, timeout, retries, _, tick_at = row
        limit = timeout or self._timeouts[task]
        decoded = decode_many([payload])[0]
        attempt = Attempt(id, number, task, queue, priority, decoded, limit, retries, time.monotonic(), tick_at)
        attempt.limited = True
        return attempt

    def _hand_in(self, attempt: Attempt) -> None:
        notes = self._notebook.take(float("inf"))
        if notes is not None:
            self._connection.exchange(None, None, notes, None, self._tasks)
        self._completer.add(attempt)
        self._completer.take()
        self._completer.send_singly(self._connection, self._tasks)
