"""What the integration tests share: executors' connections, and claims made through them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import psycopg
import pytest

from pgtask.database.claims import START, ClaimedRow, ClaimRequest
from pgtask.database.outcomes import Completions, Endings
from pgtask.database.work import Exchanged, WorkConnection
from tests.rows import add_worker

TASKS = ["t"]
Lane = tuple[str, int]


class Claimed(NamedTuple):
    """A claimed job, its columns by their names."""

    id: int
    attempt: int
    task: str
    queue: str
    priority: int
    payload: str
    timeout: float | None
    retry_count: int
    scheduled_at: Any
    tick_at: Any


class Work:
    """One executor's connection with the identity it acts under."""

    def __init__(self, url: str, worker_id: int, executor: int) -> None:
        self.url = url
        self.worker_id = worker_id
        self.executor = executor
        self.connection = WorkConnection(url, worker_id, executor)

    def claim(self, limit: int = 10, *lanes: Lane, tasks: list[str] | None = None) -> list[Claimed]:
        """Claims from lanes (default: queue default, priority 1), each from its start; in the order of the ids."""
        rows = self.exchange(claim=request(limit, *lanes), tasks=tasks).claimed
        return sorted(map(Claimed._make, rows))

    def advance(self, **arguments: Any) -> tuple[list[ClaimedRow], Any, bool]:
        """Looks at a stretch of the lane (default, 1)."""
        values = {"queue": "default", "priority": 1, "after": START, "examine": 100, "limit": 100, "tasks": TASKS}
        return self.connection.advance(**{**values, **arguments})

    def exchange(
        self,
        completions: Completions | None = None,
        endings: Endings | None = None,
        claim: ClaimRequest | None = None,
        tasks: list[str] | None = None,
    ) -> Exchanged:
        """One exchange."""
        return self.connection.exchange(completions, endings, None, claim, TASKS if tasks is None else tasks)

    def complete(self, *done: tuple[int, int], results: list[str | None] | None = None) -> set[int]:
        """Hands in (job id, attempt) pairs as completed; returns the ids that were accepted."""
        completions = Completions()
        for position, (id, attempt) in enumerate(done):
            completions.ids.append(id)
            completions.attempts.append(attempt)
            completions.started.append(0.5)
            completions.ended.append(0.25)
            completions.results.append(results[position] if results else None)
        return self.exchange(completions).completed

    def complete_limited(self, *done: tuple[int, int]) -> None:
        """Hands in (job id, attempt) pairs as completed, by ascending ids, and frees what they held of limits."""
        ages = [0.0] * len(done)
        completions = Completions(
            [id for id, _ in done], [attempt for _, attempt in done], ages, ages, [None] * len(done)
        )
        self.connection.exchange(completions, None, None, None, TASKS, limited=done)

    def running_keys(self, queue: str) -> Counter[str]:
        """How many jobs of a queue run now, by concurrency key, in one look; without a key under no text."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute(
                "SELECT coalesce(concurrency_key, ''), count(*) FROM pgtask.jobs"
                " WHERE queue = %s AND status = 'running' GROUP BY 1",
                [queue],
            )
            return Counter(dict(found.fetchall()))

    def end(
        self,
        id: int,
        attempt: int,
        outcome: str = "failed",
        *,
        final: bool = False,
        delay: float | None = None,
        started: float | None = 0.5,
        error: str | None = "it failed",
    ) -> bool:
        """Hands in an attempt that ended otherwise; returns whether it was accepted."""
        error_type = None if error is None else "Error"
        ending = Endings([id], [attempt], [started], [0.25], [outcome], [final], [delay], [error_type], [error], [None])
        return self.exchange(endings=ending).ended == {id}

    def close(self) -> None:
        """Closes the connection."""
        self.connection.close()


def request(limit: int, *lanes: Lane) -> ClaimRequest:
    """A claim over lanes from their start (default: queue default, priority 1)."""
    chosen = lanes or (("default", 1),)
    return ClaimRequest(
        [lane[0] for lane in chosen],
        [lane[1] for lane in chosen],
        [START.time] * len(chosen),
        [START.id] * len(chosen),
        limit,
    )


@pytest.fixture
def make_work(database: str, connection: psycopg.Connection) -> Iterator[Callable[..., Work]]:
    """Makes executors' connections, each of a worker of its own unless one is given."""
    made: list[Work] = []

    def make(worker_id: int | None = None, executor: int = 1) -> Work:
        made.append(Work(database, add_worker(connection) if worker_id is None else worker_id, executor))
        return made[-1]

    yield make
    for work in made:
        work.close()


@pytest.fixture
def work(make_work: Callable[..., Work]) -> Work:
    """The connection of an executor whose worker lives."""
    return make_work()


@pytest.fixture
def standing_connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection in a transaction, for which no time passes until it commits."""
    with psycopg.connect(database) as opened:
        yield opened
        opened.rollback()
