"""Suspects, jobs that ran beside others when their process died, are claimed apart from all others and singly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from pgtask.engine.suspects import SuspectClaimer
from tests.integration.conftest import TASKS, Work
from tests.rows import ago, insert, live

Connection = psycopg.Connection[Any]


def suspects(work: Work, limit: int = 10, queues: list[str] | None = None) -> list[int]:
    return [row[0] for row in work.connection.claim_suspects(queues, limit, TASKS)]


def test_no_more_are_taken_than_asked_for_the_longest_due_first(
    work: Work, make_work: Callable[..., Work], connection: Connection
) -> None:
    (younger,) = insert(connection, "t", suspect=True, scheduled_at=ago(10))
    (older,) = insert(connection, "t", suspect=True, scheduled_at=ago(20))

    assert suspects(work, 1) == [older]

    row = live(connection, older)
    assert (row["status"], row["attempt"], row["worker_id"], row["suspect"]) == ("running", 1, work.worker_id, True)
    assert live(connection, younger)["status"] == "pending"
    assert suspects(make_work()) == [younger]


def test_only_suspects_are_taken_that_may_run_here(work: Work, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, paused_at) VALUES ('paused', now())")
    insert(connection, "t")
    insert(connection, "unknown", suspect=True)
    insert(connection, "t", suspect=True, scheduled_at=ago(-60))
    insert(connection, "t", suspect=True, queue="paused")
    (elsewhere,) = insert(connection, "t", suspect=True, queue="elsewhere")
    (here,) = insert(connection, "t", suspect=True)

    assert suspects(work, queues=["default", "paused"]) == [here]
    assert suspects(work) == [elsewhere]


def test_nobody_without_a_lease_takes_any(work: Work, connection: Connection) -> None:
    connection.execute("UPDATE pgtask.workers SET expires_at = now()")
    insert(connection, "t", suspect=True)

    assert suspects(work) == []


def test_others_neither_claim_nor_find_them(work: Work, connection: Connection) -> None:
    insert(connection, "t", suspect=True)
    (other,) = insert(connection, "t")

    assert [row.id for row in work.claim()] == [other]
    rows, _, _ = work.advance()
    assert rows == []


@pytest.mark.parametrize(
    ("outcome", "suspect"), [("crashed", True), ("released", True), ("failed", False), ("snoozed", False)]
)
def test_who_has_come_to_an_end_of_its_own_is_no_suspect_any_more(
    outcome: str, suspect: bool, work: Work, connection: Connection
) -> None:
    (id,) = insert(connection, "t", suspect=True)
    suspects(work)

    assert work.end(id, 1, outcome, delay=0)

    assert (live(connection, id)["status"], live(connection, id)["suspect"]) == ("pending", suspect)


def test_a_claimer_of_suspects_looks_again_at_once_after_a_find_and_else_rests(
    work: Work, connection: Connection
) -> None:
    (id,) = insert(connection, "t", suspect=True)
    claimer = SuspectClaimer(None, TASKS, poll=60.0)

    assert [row[0] for row in claimer.look(work.connection, 1)] == [id]
    assert claimer.look_due()
    assert claimer.look(work.connection, 1) == []
    assert not claimer.look_due()
    assert claimer.rest(work.connection) > 0
    claimer.wake()
    assert claimer.look_due()


def test_held_ones_keep_nobody_from_being_found(work: Work, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, max_workers) VALUES ('limited', 0)")
    connection.execute("INSERT INTO pgtask.queues (name, paused_at) VALUES ('paused', now())")
    connection.execute("SELECT pgtask.open_circuit('u')")
    for queue in ("limited", "paused"):
        insert(connection, "t", suspect=True, queue=queue, count=60, scheduled_at=ago(60))
    insert(connection, "u", suspect=True, count=60, scheduled_at=ago(60))
    insert(connection, "t", suspect=True, count=60, concurrency_key="k", scheduled_at=ago(60))
    (holder,) = insert(connection, "t", suspect=True, concurrency_key="k", scheduled_at=ago(90))
    assert [row[0] for row in work.connection.claim_suspects(None, 1, [*TASKS, "u"])] == [holder]
    (free,) = insert(connection, "t", suspect=True)

    assert [row[0] for row in work.connection.claim_suspects(None, 10, [*TASKS, "u"])] == [free]
