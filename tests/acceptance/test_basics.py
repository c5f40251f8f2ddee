"""A worker runs what it is given, and ends when it is told to or nothing is left."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.acceptance.fleet import Make
from tests.checker import check
from tests.rows import ended, insert, number
from tests.scene import Scene
from tests.support import eventually

Connection = psycopg.Connection[Any]


def all_ended(connection: Connection, ids: list[int]) -> bool:
    return number(connection, "SELECT count(*) FROM pgtask.jobs WHERE id = ANY (%s)", [ids]) == 0


def test_jobs_are_run_and_their_results_kept(make_worker: Make, scene: Scene, connection: Connection) -> None:
    make_worker()
    ids = [insert(connection, task, {"value": n})[0] for n in range(20) for task in ("quick", "quick_async")]

    eventually(lambda: all_ended(connection, ids))

    check(connection, scene, ids, faultless=True)
    assert [ended(connection, id)["result"] for id in ids] == [n for n in range(20) for _ in range(2)]
