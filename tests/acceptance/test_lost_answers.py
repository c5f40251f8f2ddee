"""The database has committed, and its answer never arrives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.acceptance.fleet import Make
from tests.acceptance.proxy import Proxy, proxy
from tests.checker import check
from tests.rows import ended, insert, number, runs
from tests.scene import Scene
from tests.support import eventually

Connection = psycopg.Connection[Any]


@pytest.fixture
def way(database: str) -> Iterator[Proxy]:
    with proxy(database) as made:
        yield made


def all_ended(connection: Connection, ids: list[int]) -> bool:
    return number(connection, "SELECT count(*) FROM pgtask.jobs WHERE id = ANY (%s)", [ids]) == 0


def test_a_claim_whose_answer_is_lost_is_given_back_and_claimed_anew(
    way: Proxy, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    worker = make_worker(url=way.url, lease=60.0)
    executors = {process.pid for process in worker.executors()}
    way.lose_answer_with(b"the answer to lose")

    ids = insert(connection, "quick", {"value": "the answer to lose"}, count=5)
    eventually(lambda: all_ended(connection, ids))

    assert way.cuts == 1
    finals = check(connection, scene, ids)
    assert {run["attempt"] for run in finals} == {2}  # the first was claimed, and never started
    assert [len(runs(connection, id)) for id in ids] == [1] * 5
    assert {run["retry_count"] for run in finals} == {0}
    assert {process.pid for process in worker.executors()} == executors
    assert worker.said("connected again; 5 jobs of an unanswered claim were given back")


def test_what_runs_meanwhile_is_not_given_back(
    way: Proxy, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    make_worker(url=way.url, lease=60.0)
    held = insert(connection, "hold", {"gate": "g"}, count=3) + insert(connection, "hold_async", {"gate": "g"}, count=3)
    eventually(lambda: scene.started() == set(held))
    way.lose_answer_with(b"the answer to lose")

    lost = insert(connection, "quick", {"value": "the answer to lose"}, count=2)
    eventually(lambda: all_ended(connection, lost))
    scene.open("g")
    eventually(lambda: all_ended(connection, held))

    assert {run["attempt"] for run in check(connection, scene, held, faultless=True)} == {1}
    check(connection, scene, lost)


@pytest.mark.parametrize("task", ["quick", "quick_async"])
def test_a_completion_whose_answer_is_lost_counts_once_and_is_not_called_superseded(
    task: str, way: Proxy, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    worker = make_worker(url=way.url, lease=60.0)
    way.lose_answer_to(b"the result whose answer is lost")

    # The claim's answer has the same text, but it travels the other way.
    ids = insert(connection, task, {"value": "the result whose answer is lost"}, count=5)
    eventually(lambda: way.cuts)
    later = insert(connection, task, count=5)
    eventually(lambda: all_ended(connection, ids + later))

    check(connection, scene, ids + later, faultless=True)
    assert [ended(connection, id)["result"] for id in ids] == ["the result whose answer is lost"] * 5
    assert worker.said("connected again")
    assert not worker.said("superseded")


def test_a_failure_whose_answer_is_lost_is_charged_once(
    way: Proxy, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    worker = make_worker(url=way.url, lease=60.0)
    way.lose_answer_to(b"failure 1")

    (id,) = insert(connection, "fail", {"times": 1})
    eventually(lambda: all_ended(connection, [id]))

    assert way.cuts == 1
    (final,) = check(connection, scene, [id], faultless=True)
    assert (final["result"], final["retry_count"]) == (1, 1)
    assert [run["outcome"] for run in runs(connection, id)] == ["failed", "completed"]
    assert not worker.said("superseded")


def test_a_completion_that_never_arrived_is_sent_again(
    database: str, make_worker: Make, scene: Scene, connection: Connection
) -> None:
    """Its backend is ended while it waits for a lock, so that nothing of it was committed."""
    worker = make_worker(lease=60.0)
    with psycopg.connect(database) as blocking:
        blocking.execute("LOCK TABLE pgtask.runs IN SHARE MODE")
        ids = insert(connection, "quick", count=5)
        waiting = (
            "FROM pg_stat_activity WHERE application_name LIKE 'pgtask executor %%' AND wait_event_type = 'Lock' "
            "AND datname = current_database()"
        )
        for _ in range(3):
            eventually(lambda: number(connection, f"SELECT count(*) {waiting}"))
            number(connection, f"SELECT count(pg_terminate_backend(pid, 5000)) {waiting}")
    eventually(lambda: all_ended(connection, ids))

    finals = check(connection, scene, ids, faultless=True)
    assert {(run["attempt"], run["retry_count"]) for run in finals} == {(1, 0)}
    assert not worker.said("superseded")
