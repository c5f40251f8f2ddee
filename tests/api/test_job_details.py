"""The runs, the log lines and the explanation of a job."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from pgtask.model.token import Scope
from tests.api_client import Api, problem
from tests.command_line import add_run, answer, run
from tests.rows import ago, insert

Connection = psycopg.Connection[Any]
PARTS = ["runs", "logs", "explain"]


def log(connection: Connection, id: int, attempt: int, lines: int) -> None:
    connection.execute(
        "INSERT INTO pgtask.job_logs (job_id, attempt, line, level, message) "
        "SELECT %s, %s, n, 'info', 'line ' || n FROM generate_series(0, %s) n",
        [id, attempt, lines - 1],
    )


def pages(api: Api, path: str, limit: int) -> list[dict[str, Any]]:
    """All items of a list, read page by page."""
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = api.get(f"{path}?limit={limit}{cursor}").get_json()
        assert len(page["items"]) <= limit
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = f"&cursor={page['next_cursor']}"


def test_runs_are_listed_oldest_first(api: Api, database: str, connection: Connection) -> None:
    for attempt in (1, 2, 3):
        add_run(connection, 7, None, attempt=attempt, finished_at=ago(100), error="no", error_type="E")
    add_run(connection, 7, "cancelled", attempt=None)

    found = pages(api, "/jobs/7/runs", 2)

    assert [item["attempt"] for item in found] == [1, 2, 3, None]
    assert found == answer(run(database, "jobs", "show", "7", "--json"))["runs"]
    assert found == api.get("/tasks/7/runs").get_json()["items"]


def test_log_lines_go_on_after_the_last_one_seen(api: Api, database: str, connection: Connection) -> None:
    [id] = insert(connection, "echo", status="running", worker_id=1, attempt=2)
    log(connection, id, 1, 3)
    log(connection, id, 2, 2)

    found = pages(api, f"/jobs/{id}/logs", 2)

    assert [(item["attempt"], item["line"]) for item in found] == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1)]
    assert found == answer(run(database, "jobs", "show", str(id), "--json"))["logs"]
    assert api.get(f"/jobs/{id}/logs?cursor=2.1").get_json()["items"] == []
    assert len(api.get(f"/jobs/{id}/logs?cursor=1.2").get_json()["items"]) == 2


def test_an_explanation_is_the_command_lines(api: Api, database: str, connection: Connection) -> None:
    [id] = insert(connection, "echo", queue="mail", scheduled_at=ago(-3600))

    found = api.get(f"/jobs/{id}/explain").get_json()["items"]

    assert [item["code"] for item in found] == [
        item["code"] for item in answer(run(database, "jobs", "explain", str(id), "--json"))["items"]
    ]
    assert found[0]["position"] == 1


@pytest.mark.parametrize("part", PARTS)
def test_what_is_not_there_is_a_problem(api: Api, part: str) -> None:
    problem(api.get(f"/jobs/1/{part}"), 404, "job-not-found")


@pytest.mark.parametrize("part", PARTS)
def test_a_job_of_another_queue_is_not_there(api: Api, connection: Connection, part: str) -> None:
    [id] = insert(connection, "echo", queue="mail")

    assert api.holder_of(Scope.READ, queues=["mail"]).get(f"/jobs/{id}/{part}").status_code == 200
    problem(api.holder_of(Scope.READ, queues=["other"]).get(f"/jobs/{id}/{part}"), 404, "job-not-found")


def test_an_explanation_does_not_name_other_queues(api: Api, connection: Connection) -> None:
    copied = '{"job_id": 3, "queue": "secret", "status": "failed", "attempt": 1, "retry_count": 0}'
    [id] = insert(connection, "echo", queue="mail")
    connection.execute("UPDATE pgtask.jobs SET dead_letter = %s WHERE id = %s", [copied, id])

    assert "secret" in api.get(f"/jobs/{id}/explain").get_data(as_text=True)
    limited = api.holder_of(Scope.READ, queues=["mail"]).get(f"/jobs/{id}/explain")
    assert limited.get_json()["items"]
    assert "secret" not in limited.get_data(as_text=True)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("runs?cursor=x", "invalid-cursor"),
        ("runs?limit=0", "invalid-request"),
        ("logs?cursor=x", "invalid-request"),
        ("logs?cursor=1", "invalid-request"),
        ("explain?x=1", "invalid-request"),
    ],
)
def test_wrong_parameters_are_refused(api: Api, connection: Connection, path: str, kind: str) -> None:
    [id] = insert(connection, "echo")

    problem(api.get(f"/jobs/{id}/{path}"), 422, kind)
