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


def test_the_last_that_a_job_tells_is_kept_like_the_first(
    make_worker: Make, scene: Scene, connection: Connection
) -> None:
    """Nothing more can be written of a job that has ended, and nothing by a worker that has."""
    worker = make_worker(lease=60.0)
    ids = [id for steps in (1, 7) for id in insert(connection, "tell", {"steps": steps}, count=10)]
    eventually(lambda: all_ended(connection, ids))
    assert worker.stop() == 0

    check(connection, scene, ids, faultless=True)
    for position, id in enumerate(ids):
        steps = 1 if position < 10 else 7
        run = ended(connection, id)
        assert (run["progress"], run["progress_message"]) == (100, f"{steps} of {steps}")
        lines = connection.execute(
            "SELECT line, level, message FROM pgtask.job_logs WHERE job_id = %s ORDER BY attempt, line", [id]
        ).fetchall()
        levels = ["info"] * (steps - 1) + ["warning"]
        assert lines == [(n, level, f"step {n}") for n, level in enumerate(levels, 1)]
