"""What a claimer brings, step by step, from a database that answers slowly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgtask.engine.claimer import Claimer
from tests.integration.conftest import TASKS, Work
from tests.rows import ago, insert

Connection = psycopg.Connection[Any]

# What a claim is said to have taken, in seconds: so long that the claimer takes it for one that stepped over many rows.
SLOWLY = 1.0


def steps(claimer: Claimer, work: Work, limit: int) -> Iterator[list[int]]:
    """The ids that each step brings, as an executor takes them, until nothing is left to do."""
    while True:
        if claimer.look_due():
            rows = claimer.lanes.in_order(claimer.look(work.connection, limit))
        elif claimer.hungry:
            claim = claimer.request(limit, 0)
            rows = []
            if claim is not None:
                request, lanes = claim
                rows = claimer.lanes.in_order(work.exchange(claim=request).claimed)
                claimer.took(rows, limit, lanes, SLOWLY)
        else:
            return
        yield [row[0] for row in rows]


def drained(claimer: Claimer, work: Work) -> list[int]:
    """What 200 steps bring, one job each at most, in turn."""
    return [id for _, ids in zip(range(200), steps(claimer, work, 1), strict=False) for id in ids]


@pytest.fixture
def claimer(work: Work, connection: Connection) -> Claimer:
    """One that knows three lanes, in which a claim found nothing after a long time."""
    for priority in (3, 2, 1):
        insert(connection, "another", priority=priority, scheduled_at=ago(60))
    claimer = Claimer(None, TASKS, 1.0, listen=False)
    assert not drained(claimer, work)
    return claimer


def test_lanes_are_served_in_order_when_all_claims_are_slow(
    claimer: Claimer, work: Work, connection: Connection
) -> None:
    low, middle, high = (insert(connection, "t", priority=priority, count=3) for priority in (1, 2, 3))
    claimer.wake()

    assert drained(claimer, work) == [*high, *middle, *low]


def test_a_rescan_claims_in_the_order_of_the_lanes(claimer: Claimer, work: Work, connection: Connection) -> None:
    low, middle, high = (insert(connection, "t", priority=p, count=3, scheduled_at=ago(30)) for p in (1, 2, 3))
    claimer.rescan.due_at = 0.0

    assert drained(claimer, work) == [*high, *middle, *low]
