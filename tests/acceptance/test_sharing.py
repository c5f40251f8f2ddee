"""Which jobs a real worker starts first: shares of queues, the order they are listed in, jobs that have waited long."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests import rows
from tests.acceptance.operated import Fleet
from tests.support import eventually

Connection = psycopg.Connection[Any]


def order(connection: Connection, count: int) -> list[tuple[str, int]]:
    """The queue and priority of the first jobs that ran, in the order in which they were started."""
    eventually(lambda: rows.number(connection, "SELECT count(*) FROM pgtask.runs") >= count)
    found = connection.execute("SELECT queue, priority FROM pgtask.runs ORDER BY started_at LIMIT %s", [count])
    return [(row[0], row[1]) for row in found]


def test_queues_of_equal_priority_share_a_worker_by_their_weights(workers: Fleet, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, weight) VALUES ('a', 1), ('b', 3)")
    rows.insert(connection, "unhurried", count=30, queue="a", priority=9)
    rows.insert(connection, "unhurried", count=30, queue="b")

    workers.start("--processes", "1", "--concurrency", "2", app="unhurried")

    started = [queue for queue, _ in order(connection, 24)]
    assert 16 <= started.count("b") <= 20


def test_queues_come_as_they_are_listed_when_that_is_asked_for(workers: Fleet, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, weight) VALUES ('a', 9)")
    rows.insert(connection, "unhurried", count=6, queue="a", priority=9)
    rows.insert(connection, "unhurried", count=6, queue="b")

    workers.start("--processes", "1", "--concurrency", "1", "--queues", "b,a", "--strict", app="unhurried")

    assert [queue for queue, _ in order(connection, 12)] == ["b"] * 6 + ["a"] * 6


@pytest.mark.parametrize(("step", "expected"), [(60, 0), (0, 10), (3600, 10)])
def test_a_job_that_has_waited_long_is_not_starved_by_urgent_ones(
    workers: Fleet, connection: Connection, step: int, expected: int
) -> None:
    connection.execute("UPDATE pgtask.settings SET value = to_jsonb(%s::int) WHERE name = 'ageing_step'", [step])
    rows.insert(connection, "unhurried", count=10, priority=3)
    (low,) = rows.insert(connection, "unhurried", priority=0, scheduled_at=rows.ago(190))

    workers.start("--processes", "1", "--concurrency", "1", app="unhurried")

    started = [priority for _, priority in order(connection, 11)]
    assert started.index(0) == expected
    assert (rows.final(connection, low) or {})["priority"] == 0
