"""Which errors are retried and when, as a task's code says, in a real worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests import rows
from tests.acceptance.operated import Fleet
from tests.support import eventually

Connection = psycopg.Connection[Any]


@pytest.mark.parametrize(
    ("task", "error", "attempts", "reason"),
    [
        ("plain", "connection", 3, "as told"),
        ("plain", "value", 1, "as told (not retried: retry_on of its task)"),
        ("coroutine", "connection", 2, "as told"),
        ("coroutine", "value", 1, "as told (not retried: stop_on of its task)"),
    ],
)
def test_errors_are_retried_as_the_task_says(
    workers: Fleet, connection: Connection, task: str, error: str, attempts: int, reason: str
) -> None:
    workers.start("--processes", "1", app="ruled")

    (id,) = rows.insert(connection, task, {"error": error})

    record = eventually(lambda: rows.final(connection, id) or {})
    assert (record["status"], record["error"]) == ("failed", reason)
    assert [run["outcome"] for run in rows.runs(connection, id)] == ["failed"] * attempts


def test_a_refused_commit_waits_for_its_retry_as_the_task_says(workers: Fleet, connection: Connection) -> None:
    workers.start("--processes", "1", app="ruled")

    (id,) = rows.insert(connection, "transactional")

    job = eventually(lambda: (live := rows.live(connection, id)) and live["retry_count"] == 1 and live)
    assert "PostgreSQL refused the job's transaction" in rows.runs(connection, id)[0]["error"]
    assert job["scheduled_at"] - rows.runs(connection, id)[0]["finished_at"] > timedelta(minutes=59)


def test_a_refused_commit_that_is_final_says_by_which_rule(workers: Fleet, connection: Connection) -> None:
    workers.start("--processes", "1", app="ruled")

    (id,) = rows.insert(connection, "stopped")

    record = eventually(lambda: rows.final(connection, id) or {})
    assert record["status"] == "failed"
    assert record["error"].startswith("PostgreSQL refused the job's transaction: duplicate key")
    assert record["error"].endswith(" (not retried: stop_on of its task)")
    assert len(rows.runs(connection, id)) == 1
