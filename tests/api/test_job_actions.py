"""What can be done to one job through the API."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgtask.model.token import Scope
from tests.api_client import Api, problem
from tests.audited import last_audited
from tests.command_line import add_run
from tests.rows import ago, insert, job, live, runs
from tests.support import eventually


def patch(api: Api, id: int, body: Any, **headers: str) -> Any:
    return api("PATCH", f"/jobs/{id}", body, headers={name.replace("_", "-"): text for name, text in headers.items()})


def running(connection: psycopg.Connection, **columns: Any) -> int:
    [id] = insert(
        connection, "echo", status="running", attempt=1, started_at=ago(4), worker_id=1, executor=1, **columns
    )
    return id


def test_a_waiting_job_can_be_changed(api: Api, connection: psycopg.Connection) -> None:
    [id] = insert(connection, "echo", payload={"n": 1}, max_retries=1, timeout=5, tags=["a"], start_by=ago(-3600))
    changes = {
        "queue": "urgent",
        "priority": "critical",
        "scheduled_at": "2040-01-01T00:00:00Z",
        "payload": {"n": 2.50},
        "tags": ["b", "c"],
        "max_retries": -1,
        "timeout": "2m",
        "start_by": "2041-01-01T00:00:00Z",
    }

    answer = patch(api, id, changes)

    changed = answer.get_json()
    assert answer.status_code == 200
    assert changed == api.get(f"/jobs/{id}").get_json()
    assert {name: changed[name] for name in changes} == changes | {"priority": 3, "timeout": 120.0}


def test_what_is_left_out_stays_and_null_takes_away(api: Api, connection: psycopg.Connection) -> None:
    [id] = insert(connection, "echo", max_retries=1, timeout=5, tags=["a"], start_by=ago(-3600), priority=2)
    before = live(connection, id)

    patch(api, id, {})
    assert live(connection, id) == before

    patch(api, id, {"max_retries": None, "timeout": None, "tags": None, "start_by": None})
    gone = dict.fromkeys(("max_retries", "timeout", "tags", "start_by"))
    assert live(connection, id) == before | gone


def test_a_changed_payload_is_stored_exactly(api: Api, connection: psycopg.Connection) -> None:
    [id] = insert(connection, "echo")

    api("PATCH", f"/jobs/{id}", data='{"payload": {"n": 0.1000000000000000000001}}', content_type="application/json")

    assert connection.execute("SELECT payload::text FROM pgtask.jobs").fetchall() == [
        ('{"n": 0.1000000000000000000001}',)
    ]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"queue": None}, "invalid-request"),
        ({"payload": None}, "invalid-request"),
        ({"task": "other"}, "invalid-request"),
        ({"delay": 1, "scheduled_at": "2040-01-01T00:00:00Z"}, "invalid-request"),
        ({"payload": {"a": "\0"}}, "invalid-payload"),
        ({"payload": {"unknown": 1}}, "invalid-payload"),
        ({"delay": "2h"}, "deadline-passed"),
        ({"start_by": "2001-01-01T00:00:00Z"}, "deadline-passed"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(
    body: dict[str, Any], kind: str, api: Api, connection: psycopg.Connection
) -> None:
    schema = {"properties": {"n": {}}, "required": [], "additionalProperties": False}
    connection.execute(
        "INSERT INTO pgtask.tasks (name, queue, payload_schema) VALUES ('echo', 'q', %s)", [Jsonb(schema)]
    )
    [id] = insert(connection, "echo", start_by=ago(-3600))
    before = live(connection, id)

    problem(patch(api, id, body), 409 if kind == "deadline-passed" else 422, kind)

    assert live(connection, id) == before


def test_a_job_that_runs_or_has_ended_is_not_changed(api: Api, connection: psycopg.Connection) -> None:
    id = running(connection)
    add_run(connection, 1000)

    for place in (id, 1000):
        problem(patch(api, place, {"priority": 2}), 409, "job-state")
        problem(api.post(f"/jobs/{place}/run-now"), 409, "job-state")
    problem(patch(api, 999, {"priority": 2}), 404, "job-not-found")


def test_a_stale_change_is_refused(api: Api, connection: psycopg.Connection) -> None:
    [id] = insert(connection, "echo")
    tag = api.get(f"/jobs/{id}").headers["ETag"]
    assert patch(api, id, {"priority": 2}, If_Match=tag).status_code == 200

    problem(patch(api, id, {"priority": 3}, If_Match=tag), 412, "changed-meanwhile")
    problem(api.delete(f"/jobs/{id}", headers={"If-Match": tag}), 412, "changed-meanwhile")

    assert live(connection, id)["priority"] == 2


def test_an_if_match_without_a_tag_fits_nothing(api: Api, connection: psycopg.Connection) -> None:
    [id] = insert(connection, "echo")

    problem(patch(api, id, {"priority": 3}, If_Match=""), 412, "changed-meanwhile")
    assert patch(api, id, {"priority": 3}, If_Match="*").status_code == 200


def test_a_job_that_changes_while_it_is_to_be_deleted_stays(
    api: Api, database: str, connection: psycopg.Connection
) -> None:
    [id] = insert(connection, "echo")
    tag = api.get(f"/jobs/{id}").headers["ETag"]
    with psycopg.connect(database) as change:
        change.execute("UPDATE pgtask.jobs SET priority = 3 WHERE id = %s", [id])

        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(api.delete(f"/jobs/{id}", headers={"If-Match": tag})))
        thread.start()
        eventually(
            lambda: connection.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()
        )
        change.commit()
        thread.join()

    problem(answers[0], 412, "changed-meanwhile")
    assert live(connection, id)["priority"] == 3


def test_a_job_is_not_moved_into_a_full_queue(api: Api, connection: psycopg.Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, max_size) VALUES ('small', 1)")
    [first] = insert(connection, "echo", queue="small")
    [id] = insert(connection, "echo")

    problem(patch(api, id, {"queue": "small"}), 429, "queue-full")

    assert live(connection, id)["queue"] == "default"
    assert patch(api, first, {"queue": "small", "priority": 2}).status_code == 200


@pytest.mark.parametrize("body", [{"scheduled_at": "2020-01-01T00:00:00Z"}, {"priority": 3}, {"queue": "other"}])
def test_workers_are_told_of_a_due_job_that_has_changed(
    body: dict[str, Any], api: Api, database: str, connection: psycopg.Connection
) -> None:
    [id] = insert(connection, "echo", scheduled_at=ago(60))
    with psycopg.connect(database, autocommit=True) as listener:
        listener.execute("LISTEN pgtask")
        patch(api, id, body)
        [message] = listener.notifies(timeout=30, stop_after=1)

    assert '"rewind"' in message.payload
    assert live(connection, id)["queue"] in message.payload


def test_a_job_can_be_made_due_now(api: Api, database: str, connection: psycopg.Connection) -> None:
    [id] = insert(connection, "echo", scheduled_at=ago(-3600))

    answer = api.post(f"/jobs/{id}/run-now").get_json()
    again = api.post(f"/jobs/{id}/run-now").get_json()

    assert answer["status"] == "pending"
    assert again == answer


def test_a_waiting_job_is_cancelled_and_a_running_one_asked(api: Api, connection: psycopg.Connection) -> None:
    [waiting] = insert(connection, "echo")
    id = running(connection)

    for _ in range(2):
        ended = api.post(f"/jobs/{waiting}/cancel").get_json()
        assert (ended["status"], ended["answer"]) == ("cancelled", "cancelled")
        asked = api.post(f"/jobs/{id}/cancel").get_json()
        assert (asked["status"], asked["answer"]) == ("running", "requested")
        assert asked["cancel_requested_at"] is not None
    add_run(connection, 1000)
    problem(api.post("/jobs/1000/cancel"), 409, "job-state")
    problem(api.post("/jobs/999/cancel"), 404, "job-not-found")


def test_a_failed_job_is_put_back(api: Api, connection: psycopg.Connection) -> None:
    add_run(connection, 1000, "failed")
    add_run(connection, 1001)

    back = api.post("/jobs/1000/retry").get_json()

    assert (back["status"], back["answer"], back["retry_count"]) == ("pending", "pending", 0)
    problem(api.post("/jobs/1000/retry"), 409, "job-state")
    problem(api.post("/jobs/1001/retry"), 409, "job-state")
    problem(api.post("/jobs/999/retry"), 404, "job-not-found")


def test_jobs_come_back_after_a_delay_at_once_or_one_by_one(api: Api, connection: psycopg.Connection) -> None:
    for id in (1, 2, 3, 4):
        add_run(connection, id, "failed")

    for ids, more, between in (([1, 2], {"delay": "1h"}, 0.0), ([3, 4], {"delay": 3600, "rate": "2/min"}, 30.0)):
        assert api.post("/jobs/retry", {"ids": ids, **more}).status_code == 200
        first, second = ((api.get(f"/jobs/{id}").get_json()) for id in ids)
        due = [datetime.fromisoformat(found["scheduled_at"]) for found in (first, second)]
        assert (due[1] - due[0]).total_seconds() == between
        assert timedelta(minutes=59) < due[0] - datetime.now(UTC) <= timedelta(hours=1)


def test_a_job_whose_key_is_held_is_not_put_back(api: Api, connection: psycopg.Connection) -> None:
    add_run(connection, 1000, "failed", unique_key="k")
    [holder] = insert(connection, "echo", unique_key="k")

    assert str(holder) in problem(api.post("/jobs/1000/retry"), 409, "job-state")["detail"]


def test_a_job_is_deleted_unless_it_runs(api: Api, connection: psycopg.Connection) -> None:
    [waiting] = insert(connection, "echo")
    id = running(connection)
    add_run(connection, 1000)

    assert (api.delete(f"/jobs/{waiting}").status_code, job(connection, waiting)) == (204, None)
    assert (api.delete("/jobs/1000").status_code, runs(connection, 1000)) == (204, [])
    problem(api.delete(f"/jobs/{id}"), 409, "job-state")
    problem(api.delete(f"/jobs/{waiting}"), 404, "job-not-found")


ACTIONS = [("PATCH", ""), ("POST", "/run-now"), ("POST", "/cancel"), ("POST", "/retry"), ("DELETE", "")]


@pytest.mark.parametrize(("method", "action"), ACTIONS)
def test_a_job_of_a_hidden_queue_is_not_there(
    method: str, action: str, api: Api, connection: psycopg.Connection
) -> None:
    [id] = insert(connection, "echo", queue="other")
    limited = api.holder_of(Scope.OPERATE, queues=["mail"])
    body: Any = {} if method == "PATCH" else None

    problem(limited(method, f"/jobs/{id}{action}", body), 404, "job-not-found")
    problem(api.holder_of(Scope.READ)(method, f"/jobs/{id}{action}", body), 403, "missing-scope")

    assert live(connection, id)["status"] == "pending"


@pytest.mark.parametrize("id", ["0", "9223372036854775808"])
@pytest.mark.parametrize(("method", "action"), ACTIONS)
def test_an_id_that_no_job_can_have_is_not_there(method: str, action: str, id: str, api: Api) -> None:
    body: Any = {} if method == "PATCH" else None

    problem(api(method, f"/jobs/{id}{action}", body), 404, "not-found")


def test_a_job_cannot_be_moved_where_the_caller_may_not_look(api: Api, connection: psycopg.Connection) -> None:
    [id] = insert(connection, "echo", queue="mail")

    problem(patch(api.holder_of(Scope.OPERATE, queues=["mail"]), id, {"queue": "other"}), 403, "limited-token")


def test_changes_are_audited(api: Api, connection: psycopg.Connection) -> None:
    [id] = insert(connection, "echo", priority=1)
    patch(api, id, {"priority": 2})
    api.post(f"/jobs/{id}/run-now")
    api.post(f"/jobs/{id}/cancel")
    api.post(f"/jobs/{id}/retry")
    api.delete(f"/jobs/{id}")

    rows = connection.execute("SELECT action, subject, details FROM pgtask.audit ORDER BY id").fetchall()

    actions = ["edit_job", "run_job_now", "cancel_job", "retry_job", "delete_job"]
    assert [(action, subject) for action, subject, _ in rows] == [(action, str(id)) for action in actions]
    assert rows[0][2] == {"before": {"priority": 1}, "after": {"priority": 2}}


def test_the_audit_of_a_changed_payload_holds_no_secrets(api: Api, connection: psycopg.Connection) -> None:
    before = {"to": "a@b.c", "smtp": {"Password": "hunter2", "url": "smtp://me:hunter2@host/"}, "max_tokens": 5}
    [id] = insert(connection, "echo", payload=before)
    patch(api, id, {"payload": {"to": "d@e.f", "headers": [{"X-Api-Key": "hunter2"}], "secrets": ["hunter2"]}})

    details = last_audited(connection).details
    assert details is not None

    assert details["before"]["payload"] == {
        "to": "a@b.c",
        "smtp": {"Password": "[hidden]", "url": "smtp://me:[hidden]@host/"},
        "max_tokens": 5,
    }
    assert details["after"]["payload"] == {
        "to": "d@e.f",
        "headers": [{"X-Api-Key": "[hidden]"}],
        "secrets": "[hidden]",
    }


def test_a_claim_under_way_is_waited_for(api: Api, database: str, connection: psycopg.Connection) -> None:
    """The row is locked before it is judged, so a job that starts meanwhile is not changed."""
    [id] = insert(connection, "echo")
    with psycopg.connect(database) as claim:
        claim.execute("UPDATE pgtask.jobs SET status = 'running' WHERE id = %s", [id])

        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(patch(api, id, {"priority": 3})))
        thread.start()
        eventually(
            lambda: connection.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()
        )
        claim.commit()
        thread.join(30)

    problem(answers[0], 409, "job-state")
    assert live(connection, id)["priority"] == 1
