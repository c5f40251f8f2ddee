"""`pgtask jobs edit` and `run-now`."""

from __future__ import annotations

import psycopg

from tests.command_line import add_run, answer, lines, run
from tests.rows import ago, insert, live


def test_edit_changes_what_is_given(database: str, connection: psycopg.Connection) -> None:
    [id] = insert(connection, "echo", tags=["a"], timeout=5, start_by=ago(-3600))
    options = ["--queue", "urgent", "--priority", "high", "--payload", '{"n": 2}', "--tag", "b"]

    job = answer(
        run(database, "jobs", "edit", str(id), *options, "--timeout", "inherit", "--start-by", "none", "--json")
    )

    assert (job["queue"], job["priority"], job["payload"], job["tags"]) == ("urgent", 2, {"n": 2}, ["b"])
    assert (job["timeout"], job["start_by"], job["max_retries"]) == (None, None, None)
    assert live(connection, id)["queue"] == "urgent"


def test_run_now_makes_a_job_due(database: str, connection: psycopg.Connection) -> None:
    [id] = insert(connection, "echo", scheduled_at=ago(-3600))

    [[shown, status, *_]] = lines(run(database, "jobs", "run-now", str(id)))

    assert (shown, status) == (str(id), "pending")


def test_what_runs_or_is_not_there_is_left_alone(database: str, connection: psycopg.Connection) -> None:
    [id] = insert(connection, "echo", status="running", attempt=1, started_at=ago(1), worker_id=1, executor=1)
    add_run(connection, 1000)

    for place, code in ((id, 1), (1000, 1), (999, 3)):
        for arguments in (["edit", str(place), "--priority", "high"], ["run-now", str(place)]):
            assert run(database, "jobs", *arguments).exit_code == code
    assert live(connection, id)["priority"] == 1


def test_edit_asks_what_to_change(database: str) -> None:
    assert run(database, "jobs", "edit", "1").exit_code == 2
    assert run(database, "jobs", "edit", "1", "--delay", "5m", "--at", "2040-01-01").exit_code == 2
