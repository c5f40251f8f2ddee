"""Unique jobs enqueued by eight connections at once: one job, whatever the scope and the answer to a conflict."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from pgtask import PgTask
from tests.integration.conftest import Work
from tests.integration.test_unique import KINDS, enqueue
from tests.rows import live, number

Connection = psycopg.Connection[Any]
RACERS = 8
ROUNDS = 15


def race(database: str, action: Callable[[Connection, int, int], Any]) -> list[list[Any]]:
    """What `action` returned to each of eight connections, by rounds that all begin together."""
    barrier = threading.Barrier(RACERS, timeout=30)

    def run(racer: int) -> list[Any]:
        with psycopg.connect(database, autocommit=True, options="-c statement_timeout=20s") as own:
            answers = []
            for turn in range(ROUNDS):
                barrier.wait()
                answers.append(action(own, racer, turn))
            return answers

    with ThreadPoolExecutor(RACERS) as pool:
        return [list(turn) for turn in zip(*pool.map(run, range(RACERS)), strict=True)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("on_conflict", "done"), [("skip", "held"), ("replace", "replaced"), ("reschedule", "rescheduled")]
)
def test_eight_at_once_make_one_job(
    kind: str, on_conflict: str, done: str, database: str, connection: Connection
) -> None:
    def action(own: Connection, racer: int, turn: int) -> tuple[int, str]:
        options = KINDS[kind] | {"unique_key": f"k{turn}", "on_conflict": on_conflict}
        return enqueue(own, payload={"racer": racer}, delay=timedelta(minutes=racer + 1), **options)

    for answers in race(database, action):
        assert Counter(answer for _, answer in answers) == {"created": 1, done: RACERS - 1}
        (id,) = {id for id, _ in answers}
        row = live(connection, id)
        racer = row["payload"]["racer"]
        created = next(place for place, (_, answer) in enumerate(answers) if answer == "created")
        due = round((row["scheduled_at"] - row["created_at"]).total_seconds() / 60) - 1
        # Payload and due time are of one of them, as a whole: of the first, unless another changed them.
        assert (racer == created) is (on_conflict != "replace")
        assert (due == created) is (on_conflict == "skip")
        assert due == racer or on_conflict == "reschedule"
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == ROUNDS


@pytest.mark.parametrize("kind", KINDS)
def test_one_of_eight_is_let_in_where_the_others_get_an_error(kind: str, database: str, connection: Connection) -> None:
    def action(own: Connection, racer: int, turn: int) -> str:
        try:
            return enqueue(own, unique_key=f"k{turn}", on_conflict="error", **KINDS[kind])[1]
        except psycopg.errors.UniqueViolation:
            return "error"

    for answers in race(database, action):
        assert Counter(answers) == {"created": 1, "error": RACERS - 1}
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == ROUNDS


@pytest.mark.parametrize("kind", ["waiting", "active for an hour", "until_success"])
def test_a_key_that_came_free_is_taken_once(kind: str, database: str, work: Work, connection: Connection) -> None:
    first = [enqueue(connection, unique_key=f"k{turn}", **KINDS[kind])[0] for turn in range(ROUNDS)]
    for claimed in work.claim(ROUNDS):
        assert kind == "waiting" or work.end(claimed.id, 1, final=True)

    for turn, answers in enumerate(
        race(database, lambda own, _, turn: enqueue(own, unique_key=f"k{turn}", **KINDS[kind]))
    ):
        assert Counter(answer for _, answer in answers) == {"created": 1, "held": RACERS - 1}
        (id,) = {id for id, _ in answers}
        assert id > first[turn]


def test_pythons_own_connections_race_as_well(database: str, connection: Connection) -> None:
    with PgTask(database) as app:

        @app.task(name="t")
        def take(**values: Any) -> None: ...

        barrier = threading.Barrier(RACERS, timeout=30)

        def run(racer: int) -> list[Any]:
            made = []
            for turn in range(ROUNDS):
                barrier.wait()
                made.append(take.options(unique_by=["turn"], unique_scope="until_success").enqueue(turn=turn, by=racer))
            return made

        with ThreadPoolExecutor(RACERS) as pool:
            for made in zip(*pool.map(run, range(RACERS)), strict=True):
                assert len({job.id for job in made}) == 1
                assert sum(job.created for job in made) == 1
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == ROUNDS


def test_one_waits_at_most_while_jobs_are_claimed_all_the_time(
    database: str, work: Work, connection: Connection
) -> None:
    """Scope waiting: nobody who enqueues is answered with a job that has begun before."""
    over = threading.Event()
    claimed: list[int] = []
    most = []

    def claim() -> None:
        while not over.is_set():
            for row in work.claim():
                claimed.append(row.id)
                work.complete((row.id, row.attempt))

    def watch() -> None:
        with psycopg.connect(database, autocommit=True) as own:
            while not over.is_set():
                most.append(number(own, "SELECT count(*) FROM pgtask.jobs WHERE status = 'pending'"))

    def action(own: Connection, racer: int, turn: int) -> tuple[int, str]:
        with own.transaction():
            id, answer = enqueue(own, unique_scope="waiting")
            row = own.execute("SELECT status FROM pgtask.jobs WHERE id = %s", [id]).fetchone()
            # Locked by this transaction or made in it, so that it waits still.
            assert row == ("pending",)
        return id, answer

    threads = [threading.Thread(target=target) for target in (claim, watch)]
    for thread in threads:
        thread.start()
    try:
        answers = [answer for turn in race(database, action) for answer in turn]
    finally:
        over.set()
        for thread in threads:
            thread.join()

    created = [id for id, answer in answers if answer == "created"]
    assert max(most) == 1
    assert len(created) > 1
    left = [id for (id,) in connection.execute("SELECT id FROM pgtask.jobs")]
    assert len(left) <= 1
    assert sorted(claimed + left) == sorted(created)
