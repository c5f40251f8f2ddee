"""Workers over HTTP: their rows, their heartbeats, and the connections on which a server claims and ends jobs for them.

What is claimed for such a worker is noted in pgtask.holdings in the transaction of the claim, and what it names in a
heartbeat replaces that. So a job that it never heard of, or has forgotten, is found without reading all jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from pgtask.database import ownership, statements
from pgtask.database.claims import ClaimedRow
from pgtask.database.connection import STATEMENT_TIMEOUT, Connection
from pgtask.database.ownership import Beat, Pair
from pgtask.database.reading import in_words
from pgtask.database.work import WorkConnection
from pgtask.model.errors import WorkerGoneError

_REGISTER = statements.load("register_remote_worker")
_FIND = statements.load("find_remote_worker")
_INTRODUCE = statements.load("introduce_tasks")
_REGISTER_TASK = statements.load("register_task")
_NOTE_CLAIM = statements.load("note_claim")
_TAKE_HOLDINGS = statements.load("take_holdings")
_NOTE_HOLDINGS = statements.load("note_holdings")
_FIND_HELD = statements.load("find_held_jobs")
_FIND_OWN_RUNS = statements.load("find_own_runs")

# A claim is several round trips. A server that falls silent between two is not to keep its worker from being buried.
_SETTINGS = {"idle_in_transaction_session_timeout": f"{STATEMENT_TIMEOUT * 1000:.0f}"}

EXECUTOR = 1
"""The only one that a worker over HTTP has."""


@dataclass(frozen=True, slots=True)
class RemoteWorker:
    """A worker's row. `token` is None for one that has a connection to the database of its own."""

    id: int
    token: str | None
    queues: list[str] | None
    tasks: list[str] | None
    slots: int
    lease: float
    heartbeat_at: datetime
    dead: bool
    expired: bool
    stopping: bool


class Briefing(NamedTuple):
    """What a worker is to know of a job beside the claim's row; `timeout` is in seconds."""

    id: int
    timeout: float | None
    max_retries: int
    started_at: datetime
    traceparent: str | None
    tags: list[str] | None
    cancel: bool


class HeldJob(NamedTuple):
    """An attempt that a worker holds; `age` is in seconds.

    `guarded` says that its task has a breaker, `limited` that it holds a place of a limit.
    """

    id: int
    attempt: int
    task: str
    guarded: bool
    age: float
    progress: int | None
    progress_message: str | None
    cancel: bool
    last_line: int
    limited: bool


class OwnRun(NamedTuple):
    """How an attempt ended, and whether its job did."""

    outcome: str
    final: bool
    error_type: str | None


def register(connection: Connection, *, names: Sequence[str], tasks: Sequence[Mapping[str, Any]], **row: Any) -> int:
    """Makes a worker known, and its tasks: `names` alone, `tasks` with what is declared of them; returns its id.

    `row` are `name, host, pid, version, queues, slots, lease` (seconds) and `token`.
    """
    known = sorted({*names, *(str(task["name"]) for task in tasks)})
    with in_words(connection), connection.transaction():
        connection.execute(_INTRODUCE, {"names": known})
        for task in sorted(tasks, key=lambda task: str(task["name"])):
            connection.execute(_REGISTER_TASK, task)
        found = connection.execute(_REGISTER, row | {"tasks": known}).fetchone()
    assert found is not None
    return int(found[0])


class RemoteConnection(WorkConnection):
    """A connection that works for one worker over HTTP after the other. Raises psycopg errors as they come."""

    def __init__(self, url: str, *, pooled: bool = False) -> None:
        super().__init__(url, 0, EXECUTOR, pooled=pooled, name="pgtask server", settings=_SETTINGS)

    @property
    def raw(self) -> psycopg.Connection[Any]:
        """The connection itself, for what the pool of a server looks at."""
        return self._connection

    def act_for(self, worker_id: int) -> None:
        """From now on this is that worker's."""
        self._identity = {"worker_id": worker_id, "executor": EXECUTOR}

    def find(self, worker_id: int) -> RemoteWorker | None:
        """A worker's row, of whatever kind it is."""
        row = self._run(_FIND, {"worker_id": worker_id}).fetchone()
        return row and RemoteWorker(*row)

    def transaction(self) -> Any:
        """A transaction for the block."""
        return self._connection.transaction()

    def note_claim(self, rows: Sequence[ClaimedRow]) -> list[Briefing]:
        """Notes in the transaction of their claim that the worker is given these jobs.

        Raises WorkerGoneError when it died since they were claimed: rescue may have looked for its jobs already.
        """
        arguments = {"ids": [row[0] for row in rows], "attempts": [row[1] for row in rows]}
        briefings = [Briefing._make(row) for row in self._run(_NOTE_CLAIM, arguments)]
        if not briefings:
            raise WorkerGoneError(self._identity["worker_id"])
        return briefings

    def beat(
        self,
        worker: RemoteWorker,
        named: Sequence[Pair],
        *,
        cpu_percent: float | None,
        rss_bytes: int | None,
        quiet: bool,
        counts: tuple[int | None, int | None],
    ) -> tuple[Beat, dict[Pair, bool]]:
        """Renews the lease; returns what became of the attempts named, and which noted ones the worker did not name.

        In a transaction of the caller's, in which those are to be given back. With each it says whether the worker had
        named it before, so that it may have started.
        """
        beat = ownership.heartbeat(
            self._connection,
            worker.id,
            named,
            tasks=worker.tasks or (),
            queues=worker.queues,
            running=len(named),
            cpu_percent=cpu_percent,
            rss_bytes=rss_bytes,
            quiet=quiet,
            counts=counts,
        )
        if not beat.alive:
            return beat, {}
        noted = self._take_holdings(worker, everything=False)
        lost = set(beat.lost)
        held = [pair for pair in named if pair not in lost]
        if held:
            self._run(_NOTE_HOLDINGS, {"ids": [pair[0] for pair in held], "attempts": [pair[1] for pair in held]})
        for pair in named:
            noted.pop(pair, None)
        return beat, noted

    def end_worker(self, worker: RemoteWorker) -> dict[Pair, bool]:
        """Ends the worker's lease; returns the attempts that it may still hold, as `beat` does."""
        ownership.end_worker(self._connection, worker.id)
        return self._take_holdings(worker, everything=True)

    def _take_holdings(self, worker: RemoteWorker, *, everything: bool) -> dict[Pair, bool]:
        arguments = {"everything": everything, "previous": worker.heartbeat_at, "lease": worker.lease}
        noted: dict[Pair, bool] = {}
        for named, ids, attempts in self._run(_TAKE_HOLDINGS, arguments):
            for pair in zip(ids, attempts, strict=True):
                noted[pair] = noted.get(pair, False) or named
        return noted

    def held(self, pairs: Sequence[Pair]) -> dict[Pair, HeldJob]:
        """Those of these attempts that the worker holds. Ids must ascend, each once."""
        arguments = {"ids": [pair[0] for pair in pairs], "attempts": [pair[1] for pair in pairs]}
        found = [HeldJob._make(row) for row in self._run(_FIND_HELD, arguments)]
        return {(job.id, job.attempt): job for job in found}

    def own_runs(self, pairs: Sequence[Pair]) -> dict[Pair, OwnRun]:
        """How those of these attempts ended that the worker has brought to an end."""
        arguments = {"ids": [pair[0] for pair in pairs], "attempts": [pair[1] for pair in pairs]}
        return {(row[0], row[1]): OwnRun(*row[2:]) for row in self._run(_FIND_OWN_RUNS, arguments)}
