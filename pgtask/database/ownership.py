"""Who owns which running jobs: leases, heartbeats, and freeing the jobs of the dead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from pgtask.database import statements
from pgtask.database.outcomes import Endings, Report

_REGISTER = statements.load("register_worker")
_HEARTBEAT = statements.load("heartbeat")
_END_WORKER = statements.load("end_worker")
_BURY = statements.load("bury_workers")
_OWNERLESS = statements.load("find_ownerless")
_RECENT_DEATHS = statements.load("recent_deaths")
_END_JOBS = statements.load("end_jobs")
_FREE = statements.load("free_jobs")
_FREE_LIMITS = statements.load("free_limits")
_REPAIR_LIMITS = statements.load("repair_limits")
_REPORT = statements.load("report_outcomes")
_REPAIR_CIRCUITS = statements.load("repair_circuits")
_PRUNE_LIMITS = statements.load("prune_limits")
_END_BACKENDS = statements.load("end_backends")
_REMAINING = statements.load("remaining_jobs")
_LEAD = statements.load("lead")
_RESIGN = statements.load("resign")

Pair = tuple[int, int]


@dataclass(slots=True)
class Beat:
    """A heartbeat's answer. `alive` False: this worker was declared dead. Pairs are (job id, attempt)."""

    alive: bool = False
    stop: bool = False
    lost: list[Pair] = field(default_factory=list)
    cancel: list[Pair] = field(default_factory=list)
    suspects: int = 0


def register(
    connection: psycopg.Connection[Any],
    *,
    name: str,
    host: str,
    pid: int,
    version: str,
    queues: Sequence[str] | None,
    executors: int,
    slots: int,
    lease: float,
) -> int:
    """Makes a worker known and gives it an id that no worker had before. `lease` is in seconds."""
    arguments = {
        "name": name,
        "host": host,
        "pid": pid,
        "version": version,
        "queues": None if queues is None else list(queues),
        "executors": executors,
        "slots": slots,
        "lease": lease,
    }
    row = connection.execute(_REGISTER, arguments).fetchone()
    assert row is not None
    return int(row[0])


def heartbeat(
    connection: psycopg.Connection[Any],
    worker_id: int,
    held: Sequence[Pair],
    *,
    tasks: Sequence[str] = (),
    queues: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    running: int,
    cpu_percent: float | None,
    rss_bytes: int | None,
    quiet: bool = False,
    counts: tuple[int | None, int | None] = (None, None),
) -> Beat:
    """Renews the lease; learns what became of the jobs held, and how many suspects wait in these tasks and queues.

    `quiet` tells that this worker has been told to take no more jobs.
    `size` is how many executors and slots there are, `counts` are the attempts that have completed and failed there;
    None leaves what was told before.
    """
    executors, slots = size or (None, None)
    arguments = {
        "worker_id": worker_id,
        "ids": [pair[0] for pair in held],
        "attempts": [pair[1] for pair in held],
        "tasks": list(tasks),
        "queues": None if queues is None else list(queues),
        "executors": executors,
        "slots": slots,
        "running": running,
        "cpu_percent": cpu_percent,
        "rss_bytes": rss_bytes,
        "quiet": quiet,
        "completed": counts[0],
        "unsuccessful": counts[1],
    }
    beat = Beat()
    for kind, id, attempt in connection.execute(_HEARTBEAT, arguments, prepare=True):
        if kind == "lost":
            beat.lost.append((id, attempt))
        elif kind == "cancel":
            beat.cancel.append((id, attempt))
        elif kind == "suspects":
            beat.suspects = id
        else:
            beat.alive = True
            beat.stop = kind == "stop"
    return beat


def end_worker(connection: psycopg.Connection[Any], worker_id: int) -> None:
    """Ends a worker's lease at its orderly shutdown."""
    connection.execute(_END_WORKER, {"worker_id": worker_id})


def bury_dead(connection: psycopg.Connection[Any], worker_id: int) -> list[tuple[int, str, str]]:
    """Declares workers dead whose lease ran out, if this worker may; returns their (id, name, host)."""
    return connection.execute(_BURY, {"worker_id": worker_id}).fetchall()


def died_within(connection: psycopg.Connection[Any], seconds: float) -> bool:
    """Whether any worker ended or died within so many seconds."""
    row = connection.execute(_RECENT_DEATHS, {"seconds": seconds}).fetchone()
    return bool(row and row[0])


def rescue(connection: psycopg.Connection[Any], worker_id: int) -> list[Pair]:
    """Frees the running jobs that no living worker owns, if this worker may; returns (job id, attempt) pairs."""
    dead = [row[0] for row in connection.execute(_OWNERLESS, {"worker_id": worker_id})]
    if not dead:
        return []
    return free(connection, dead, None, started=None, outcome="lost", error="Its worker died.")


def free(
    connection: psycopg.Connection[Any],
    worker_ids: list[int],
    executor: int | None,
    *,
    started: Sequence[int] | None,
    outcome: str,
    error: str | None,
    held: Sequence[Pair] = (),
    suspects: Sequence[int] = (),
) -> list[Pair]:
    """Frees the running jobs of workers, or of one executor, but those `held`; returns (job id, attempt) pairs.

    `started` are the ids that leave a run with `outcome` and `error`; None means all. `suspects` next run alone.
    """
    arguments = {
        "worker_ids": worker_ids,
        "executor": executor,
        "held_ids": [pair[0] for pair in held],
        "held_attempts": [pair[1] for pair in held],
        "started_ids": None if started is None else list(started),
        "outcome": outcome,
        "error_type": None,
        "error": error,
        "suspect_ids": list(suspects),
    }
    freed = sorted((row[0], row[1]) for row in connection.execute(_FREE, arguments, prepare=False))
    _free_limits(connection, freed)
    _report(connection, [], freed, dict.fromkeys((id for id, _ in freed), outcome))
    return freed


def _free_limits(connection: psycopg.Connection[Any], pairs: Sequence[Pair]) -> None:
    if pairs:
        ids, attempts = (list(column) for column in zip(*pairs, strict=True))
        connection.execute(_FREE_LIMITS, {"ids": ids, "attempts": attempts}, prepare=False)


def _report(
    connection: psycopg.Connection[Any], charged: Iterable[str], pairs: Sequence[Pair], outcomes: Mapping[int, str]
) -> None:
    """Hands in failures, a task for each, and how the attempts ended of which one may be a circuit's probe."""
    if pairs:
        failures = Counter(charged)
        counts = list(failures.values())
        report = Report(
            list(failures),
            [0] * len(counts),
            counts,
            counts,
            [pair[0] for pair in pairs],
            [pair[1] for pair in pairs],
            [outcomes[pair[0]] for pair in pairs],
        )
        connection.execute(_REPORT, report.arguments(), prepare=False)


def repair_circuits(connection: psycopg.Connection[Any]) -> int:
    """Has circuits probe again whose probe runs no more; returns how many."""
    row = connection.execute(_REPAIR_CIRCUITS).fetchone()
    return int(row[0]) if row else 0


def repair_limits(connection: psycopg.Connection[Any]) -> int:
    """Frees what attempts that run no more still hold of limits; returns how many counts were wrong."""
    row = connection.execute(_REPAIR_LIMITS).fetchone()
    return int(row[0]) if row else 0


def prune_limits(connection: psycopg.Connection[Any]) -> None:
    """Forgets concurrency keys of which nothing runs."""
    connection.execute(_PRUNE_LIMITS)


def end(connection: psycopg.Connection[Any], worker_id: int, executor: int, endings: Endings) -> None:
    """Ends attempts of an executor that can no longer do so itself."""
    owner = {"worker_id": worker_id, "executor": executor}
    rows = connection.execute(_END_JOBS, owner | endings.arguments(), prepare=False).fetchall()
    pairs = sorted(zip(endings.ids, endings.attempts, strict=True))
    _free_limits(connection, pairs)
    outcomes = dict(zip(endings.ids, endings.outcomes, strict=True))
    charged = [task for id, _, task, _ in rows if outcomes[id] in ("crashed", "timeout")]
    _report(connection, charged, pairs, outcomes)


def end_backends(connection: psycopg.Connection[Any], application_name: str) -> int:
    """Ends the other server processes of that name and returns how many there still were."""
    row = connection.execute(_END_BACKENDS, {"application_name": application_name}).fetchone()
    return int(row[0]) if row else 0


def anything_left(
    connection: psycopg.Connection[Any],
    worker_id: int,
    tasks: Sequence[str],
    queues: Sequence[str] | None,
) -> bool:
    """Whether a draining worker has anything left to run."""
    arguments = {
        "worker_id": worker_id,
        "tasks": list(tasks),
        "queues": None if queues is None else list(queues),
    }
    row = connection.execute(_REMAINING, arguments).fetchone()
    return bool(row and row[0])


def lead(
    connection: psycopg.Connection[Any],
    name: str,
    worker_id: int,
    seconds: float,
    *,
    unbroken: bool = True,
    beside: Sequence[str] = (),
) -> bool:
    """Takes or renews a leadership for so many seconds; False while another worker holds it, or one of those `beside`.

    With `unbroken` only a worker may whose own lease has been so for a full period, as it must for rescuing.
    """
    arguments = {
        "name": name,
        "names": [name, *beside],
        "worker_id": worker_id,
        "seconds": seconds,
        "unbroken": unbroken,
    }
    return connection.execute(_LEAD, arguments, prepare=True).fetchone() is not None


def resign(connection: psycopg.Connection[Any], name: str, worker_id: int) -> None:
    """Gives a leadership up."""
    connection.execute(_RESIGN, {"name": name, "worker_id": worker_id})
