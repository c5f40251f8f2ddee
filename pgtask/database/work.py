"""An executor's connection: claiming jobs, handing in how they ended, and what goes with it.

All calls here are batches. Completing one batch and claiming the next is one pipeline, hence one transaction
and one round trip.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import psycopg

from pgtask.database import arrays, declaring, ownership, statements
from pgtask.database import connection as connections
from pgtask.database.arrays import Float8Array, Int4Array, Int8Array
from pgtask.database.claims import ClaimedRow, ClaimRequest, LaneRow, Looked, Position, Served
from pgtask.database.fencing import Fence
from pgtask.database.outcomes import Completions, Endings, Notes, Report
from pgtask.model.schedule import Schedule

_CLAIM = statements.load("claim_jobs")
_CLAIM_SUSPECTS = statements.load("claim_suspects")
_CLAIM_LANES = statements.load("claim_lanes")
_CLAIM_KEYED = statements.load("claim_keyed")
_FREE_LIMITS = statements.load("free_limits")
_ADVANCE = statements.load("advance_lane")
_SWEEP = statements.load("sweep_lanes")
_GATE = statements.load("open_gate")
_COMPLETE = statements.load("complete_jobs")
_END = statements.load("end_jobs")
_FIND_RUNS = statements.load("find_run_attempts")
_REGISTER_TASK = statements.load("register_task")
_REPORT = statements.load("report_outcomes")
_PROGRESS = statements.load("write_progress")
_LOGS = statements.load("write_logs")


class Exchanged(NamedTuple):
    """What one exchange brought: the ids whose completion and ending were accepted, and the jobs claimed."""

    completed: set[int]
    ended: set[int]
    claimed: list[ClaimedRow]


class WorkConnection:
    """One executor's connection to the database.

    Every method raises psycopg errors as they come: `connection.lost` tells which mean that this connection is
    done for, and then what was sent may or may not have happened.
    """

    def __init__(
        self,
        url: str,
        worker_id: int,
        executor: int,
        *,
        pooled: bool = False,
        name: str | None = None,
        settings: dict[str, str] | None = None,
    ) -> None:
        """`name` is what PostgreSQL shows of a connection that is not the executor's own, and not fenced either;
        `settings` are further ones of its session."""
        self._connection = connections.connect(
            url,
            application_name=name or executor_name(worker_id, executor),
            settings=connections.HOT_SETTINGS | (settings or {}),
            pooled=pooled,
        )
        arrays.register(self._connection)
        self._identity = {"worker_id": worker_id, "executor": executor}
        self.fence = Fence(self._connection, worker_id, executor, on=name is None)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def register_tasks(self, tasks: Iterable[dict[str, Any]]) -> None:
        """Makes tasks known with their defaults, in the order of their names."""
        with self._connection.transaction():
            for task in sorted(tasks, key=lambda task: str(task["name"])):
                self._connection.execute(_REGISTER_TASK, task)

    def declare_schedules(self, application: str, schedules: Sequence[Schedule]) -> list[str]:
        """Takes over the schedules that an application declares; returns the names that are not its own."""
        return declaring.declare(self._connection, self._identity["worker_id"], application, schedules)

    def exchange(
        self,
        completions: Completions | None,
        endings: Endings | None,
        notes: Notes | None,
        claim: ClaimRequest | None,
        tasks: list[str],
        meanwhile: Callable[[], None] = lambda: None,
        limited: Sequence[tuple[int, int]] = (),
        report: Report | None = None,
    ) -> Exchanged:
        """Hands in what ended and claims what is next, all or nothing.

        `meanwhile` is called once the statements are sent: the server is at work on them. `limited` are the (job id,
        attempt) pairs, by ascending ids, of what ended that was claimed within limits.
        """
        completed = ended = claimed = None
        # Without BEGIN the statements of one pipeline are one implicit transaction, committed at its end.
        with self._connection.pipeline():
            if notes is not None:
                self._write_notes(notes)
            if completions is not None:
                completed = self._run(
                    _COMPLETE,
                    {
                        "ids": Int8Array(completions.ids),
                        "attempts": Int4Array(completions.attempts),
                        "started": Float8Array(completions.started),
                        "ended": Float8Array(completions.ended),
                        "results": completions.results if any(completions.results) else None,
                        "cpu_seconds": completions.cpu_seconds or None,
                        "peak_rss_bytes": completions.peak_rss_bytes or None,
                    },
                )
            if endings is not None:
                ended = self._run(_END, endings.arguments())
            if limited:
                ids, attempts = (list(column) for column in zip(*limited, strict=True))
                self._run(_FREE_LIMITS, {"ids": ids, "attempts": attempts})
            if claim is not None:
                claimed = self._run(
                    _CLAIM,
                    {
                        "queues": claim.queues,
                        "priorities": claim.priorities,
                        "after_times": claim.after_times,
                        "after_ids": claim.after_ids,
                        "limit": claim.limit,
                        "tasks": tasks,
                    },
                )
            if report is not None:
                # Last, as it may lock what the whole fleet reports to.
                self._run(_REPORT, report.arguments())
            meanwhile()
        return Exchanged(
            {row[0] for row in completed.fetchall()} if completed else set(),
            {row[0] for row in ended.fetchall()} if ended else set(),
            claimed.fetchall() if claimed else [],
        )

    def _run(self, query: bytes, arguments: dict[str, Any]) -> psycopg.Cursor[Any]:
        return self._connection.execute(query, self._identity | arguments, prepare=True, binary=True)

    def _write_notes(self, notes: Notes) -> None:
        if notes.progress:
            ids, values = zip(*sorted(notes.progress.items()), strict=True)
            attempts, progress, messages = (list(column) for column in zip(*values, strict=True))
            self._run(
                _PROGRESS,
                {"ids": list(ids), "attempts": attempts, "progress": progress, "messages": messages},
            )
        if notes.logs:
            names = ("ids", "ages", "attempts", "lines", "levels", "messages")
            columns = [list(column) for column in zip(*notes.logs, strict=True)]
            now = time.monotonic()
            columns[1] = [now - instant for instant in columns[1]]
            self._run(_LOGS, dict(zip(names, columns, strict=True)))

    def advance(
        self, queue: str, priority: int, after: Position, examine: int, limit: int, tasks: list[str]
    ) -> tuple[list[ClaimedRow], Position | None, bool]:
        """Looks at up to `examine` due rows of a lane and claims up to `limit` of them.

        Returns the jobs, the position reached (None when more was claimable than `limit`, or nothing was there), and
        whether the lane's due rows go on beyond it.
        """
        rows = self._run(
            _ADVANCE,
            {
                "queue": queue,
                "priority": priority,
                "after_time": after.time,
                "after_id": after.id,
                "examine": examine,
                "limit": limit,
                "tasks": tasks,
            },
        ).fetchall()
        *claims, (last_id, examined, _, _, _, _, _, claimable, last_time, _) = rows
        claimed: list[ClaimedRow] = claims
        if last_id is None:
            return claimed, None, False
        if claimable > limit:
            return claimed, None, True
        return claimed, Position(last_time, last_id), examined == examine

    def claim_lanes(
        self, lanes: ClaimRequest, only: list[bool], gated: list[str], tasks: list[str], examine: int
    ) -> tuple[list[ClaimedRow], dict[int, Looked]]:
        """Looks at up to `examine` due rows of each of these lanes and claims those that limits let through.

        `only` says of which lanes only the tasks in `gated` are wanted. Returns the jobs, and by the place of a lane
        how far it was looked at; nothing for those without due rows.
        """
        rows = self._run(
            _CLAIM_LANES,
            {
                "queues": lanes.queues,
                "priorities": lanes.priorities,
                "after_times": lanes.after_times,
                "after_ids": lanes.after_ids,
                "limit": lanes.limit,
                "only": only,
                "gated": gated,
                "tasks": tasks,
                "examine": examine,
            },
        ).fetchall()
        claimed: list[ClaimedRow] = [row[:10] for row in rows if row[10] is None]
        looked = {
            row[10] - 1: Looked(row[1], row[7], bool(row[4]), Position(row[8], row[0]))
            for row in rows
            if row[10] is not None
        }
        return claimed, looked

    def claim_keyed(
        self, queue: str, priority: int, after_key: str, keys: int, limit: int, tasks: list[str]
    ) -> tuple[list[ClaimedRow], Served]:
        """Claims up to `limit` jobs with concurrency keys from a lane, a job of each key in turn, after a key."""
        arguments = {"queue": queue, "priority": priority, "after_key": after_key, "keys": keys}
        *claimed, end = self._run(_CLAIM_KEYED, arguments | {"limit": limit, "tasks": tasks}).fetchall()
        return claimed, Served(end[3] or "", end[1], end[7])

    def claim_suspects(self, queues: Sequence[str] | None, limit: int, tasks: list[str]) -> list[ClaimedRow]:
        """Claims up to `limit` suspects in these queues (None: all)."""
        arguments = {"queues": None if queues is None else list(queues), "limit": limit, "tasks": tasks}
        rows: list[ClaimedRow] = self._run(_CLAIM_SUSPECTS, arguments).fetchall()
        return rows

    def sweep(self, queues: Sequence[str] | None, tasks: list[str]) -> list[LaneRow]:
        """The lanes that hold jobs in these queues (None: all); those of these tasks count for ageing."""
        return self.survey(queues, tasks)[0]

    def survey(self, queues: Sequence[str] | None, tasks: list[str]) -> tuple[list[LaneRow], list[str] | None]:
        """The lanes as `sweep` finds them, and the tasks not to be claimed without a look at limits."""
        arguments = {"queues": None if queues is None else list(queues), "tasks": tasks}
        rows = [LaneRow._make(row) for row in self._run(_SWEEP, arguments)]
        gated, lanes = rows[0].gated, [row for row in rows if row.instant is not None]
        if lanes:
            self.fence.heard(lanes[0].instant)
        return lanes, gated

    def open_gate(self, seconds: float) -> None:
        """Asks for notifications for so many seconds from now."""
        self._run(_GATE, {"milliseconds": int(seconds * 1000)})

    def recorded(self, pairs: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
        """Which of these (job id, attempt) pairs have a run."""
        arguments = {"ids": [pair[0] for pair in pairs], "attempts": [pair[1] for pair in pairs]}
        return {(row[0], row[1]) for row in self._run(_FIND_RUNS, arguments)}

    def end_predecessor(self) -> None:
        """Ends the server process of this executor's earlier connection.

        What it still had under way, a claim or a completion, would otherwise commit behind our back, after we have
        looked whether it did. Behind a pooler, each transaction waits for that by itself.
        """
        if self.fence.straggling:
            return
        name = executor_name(self._identity["worker_id"], self._identity["executor"])
        deadline = time.monotonic() + connections.STATEMENT_TIMEOUT
        while ownership.end_backends(self._connection, name) and time.monotonic() < deadline:
            time.sleep(0.01)

    def release_unanswered(self, held: Sequence[tuple[int, int]]) -> int:
        """Frees what this executor claimed on an earlier connection without getting the answer; returns how many.

        `held` are the (job id, attempt) pairs that did arrive. Only after `end_predecessor`.
        """
        freed = ownership.free(
            self._connection,
            [self._identity["worker_id"]],
            self._identity["executor"],
            started=[],
            outcome="released",
            error=None,
            held=held,
        )
        return len(freed)


def executor_name(worker_id: int, executor: int) -> str:
    """The application_name under which an executor's connection is found in pg_stat_activity."""
    return f"pgtask executor {worker_id}.{executor}"
