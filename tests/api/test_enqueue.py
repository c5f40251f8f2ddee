"""POST /jobs."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgtask.model.token import Scope
from tests.api_client import Api, problem
from tests.rows import insert, live, number


def register(connection: psycopg.Connection, name: str, *arguments: str, queue: str = "default") -> None:
    schema = {
        "type": "object",
        "properties": {argument: {} for argument in arguments},
        "required": list(arguments[:1]),
        "additionalProperties": False,
    }
    connection.execute(
        "INSERT INTO pgtask.tasks (name, queue, priority, payload_schema) VALUES (%s, %s, 3, %s) "
        "ON CONFLICT (name) DO UPDATE SET payload_schema = excluded.payload_schema",
        [name, queue, Jsonb(schema)],
    )


def send(api: Api, text: str, path: str = "/jobs", **headers: str) -> Any:
    """Posts this text as JSON."""
    return api(
        "POST", path, data=text.encode("utf-8", "surrogatepass"), content_type="application/json", headers=headers
    )


def stored(connection: psycopg.Connection, id: int) -> str:
    found = connection.execute("SELECT payload::text FROM pgtask.jobs WHERE id = %s", [id]).fetchone()
    assert found is not None
    return str(found[0])


def jobs_there(connection: psycopg.Connection) -> int:
    return number(connection, "SELECT count(*) FROM pgtask.jobs")


def test_a_new_job_is_answered_as_a_get_would(api: Api) -> None:
    made = api.post("/jobs", {"task": "echo", "payload": {"message": "hi"}, "priority": "high", "delay": "5m"})
    job = made.get_json()

    assert made.status_code == 201
    assert made.headers["Location"] == f"/api/v1/jobs/{job['id']}"
    assert job.pop("answer") == "created"
    assert (job["status"], job["priority"], job["type"]) == ("scheduled", 2, "echo")
    assert api.get(f"/jobs/{job['id']}").get_json() == job


def test_every_option_is_answered_as_a_get_would(api: Api) -> None:
    options = {
        "queue": "mail",
        "scheduled_at": "2040-01-01T00:00:00Z",
        "max_retries": 0,
        "retry_strategy": "fixed",
        "retry_delay": 1.5,
        "max_retry_delay": "2m",
        "timeout": 0.25,
        "tags": ["a"],
        "traceparent": "00-a-b-01",
        "concurrency_key": "c",
        "unique_key": "k",
    }
    for more in ({}, {"start_by": "2041-01-01T00:00:00Z"}):
        job = api.post("/jobs", {"type": "echo", **options, **more}).get_json()
        del job["answer"]
        assert api.get(f"/jobs/{job['id']}").get_json() == job
        assert api.delete(f"/jobs/{job['id']}").status_code == 204


def test_tasks_is_another_word_for_jobs(api: Api) -> None:
    assert api.post("/tasks", {"type": "echo"}).status_code == 201


def test_a_tasks_defaults_apply(api: Api, connection: psycopg.Connection) -> None:
    register(connection, "echo", "message", queue="mail")

    job = api.post("/jobs", {"task": "echo", "payload": {"message": 1}}).get_json()

    assert (job["queue"], job["priority"], job["max_retries"]) == ("mail", 3, None)


@pytest.mark.parametrize(
    ("payload", "said"),
    [({}, "'message' is missing"), ({"message": 1, "mesage": 2}, "'mesage' is unknown")],
)
def test_arguments_that_a_task_does_not_take_are_named(
    payload: dict[str, Any], said: str, api: Api, connection: psycopg.Connection
) -> None:
    register(connection, "echo", "message")

    answer = api.post("/jobs", {"task": "echo", "payload": payload})

    assert said in problem(answer, 422, "invalid-payload")["detail"]
    assert jobs_there(connection) == 0


def test_a_schema_that_has_changed_is_looked_up_before_a_job_is_refused(
    api: Api, connection: psycopg.Connection
) -> None:
    register(connection, "echo", "message")
    body = {"task": "echo", "payload": {"message": 1, "new": 2}}
    problem(api.post("/jobs", body), 422, "invalid-payload")

    register(connection, "echo", "message", "new")

    assert api.post("/jobs", body).status_code == 201


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 123456789012345678901234567890, "b": -0}',
        '{"a": 0.10000000000000000000000000000001, "b": 1.50, "c": 12345678901234567.125}',
        '{"a": "1.5 \\u00e4 \\ud83d\\ude00 \\"payload\\": {}", "b": {"payload": 2.50}}',
        '{"a": 1, "a": 2.75}',
    ],
)
def test_a_payload_is_stored_exactly(text: str, api: Api, connection: psycopg.Connection) -> None:
    expected = connection.execute("SELECT %s::jsonb::text", [text]).fetchone()

    id = send(api, f'{{"tags": ["}}"], "payload": {text}, "task": "echo"}}').get_json()["id"]
    ids = send(api, f'{{"task": "echo", "payloads": [{{}}, {text}]}}', "/jobs/bulk").get_json()["ids"]
    mixed = send(api, f'{{"jobs": [{{"task": "echo"}}, {{"payload": {text}, "task": "echo"}}]}}', "/jobs/bulk")

    assert expected == (stored(connection, id),)
    assert expected == (stored(connection, ids[1]),)
    assert expected == (stored(connection, mixed.get_json()["ids"][1]),)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('{"a": 1e400}', 422),
        ('{"a": -1e400}', 422),
        ('{"a": "\\u0000"}', 422),
        ('{"\\u0000": 1}', 422),
        ('{"a": "\\ud800"}', 422),
        ('{"a": "\\udc00x"}', 422),
        ('{"a": NaN}', 422),
        ('{"a": ' + "[" * 5000 + "]" * 5000 + "}", 400),
        ("[]", 422),
        ("null", 422),
        ('{"a": ', 400),
    ],
)
def test_a_payload_that_cannot_be_stored_is_refused(
    text: str, status: int, api: Api, connection: psycopg.Connection
) -> None:
    for path, body in (
        ("/jobs", f'{{"task": "echo", "payload": {text}}}'),
        ("/jobs/bulk", f'{{"task": "echo", "payloads": [{text}]}}'),
        ("/jobs/bulk", f'{{"jobs": [{{"task": "echo", "payload": {text}}}]}}'),
    ):
        answer = send(api, body, path)
        assert (answer.status_code, answer.mimetype) == (status, "application/problem+json"), answer.text
    assert jobs_there(connection) == 0


def test_a_payload_over_the_limit_is_refused(api: Api, connection: psycopg.Connection) -> None:
    connection.execute("UPDATE pgtask.settings SET value = '20000' WHERE name = 'max_payload_bytes'")
    large = {"a": "x" * 20_001}

    assert (
        "max_payload_bytes"
        in problem(api.post("/jobs", {"task": "e", "payload": large}), 422, "invalid-payload")["detail"]
    )
    problem(api.post("/jobs/bulk", {"task": "e", "payloads": [large]}), 422, "invalid-payload")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"task": "a", "type": "b"}, ""),
        ({"task": "echo", "delay": 1, "scheduled_at": "2040-01-01T00:00:00Z"}, ""),
        ({"task": "echo", "scheduled_at": "2040-01-01T00:00:00"}, "/scheduled_at"),
        ({"task": "echo", "scheduled_at": "9999-06-01T00:00:00Z"}, "/scheduled_at"),
        ({"task": "echo", "start_by": "2040-01-01T00:00:00Z", "expires": 5}, ""),
        ({"task": "echo", "colour": "red"}, "/colour"),
        ({"task": "echo", "payload": None}, "/payload"),
        ({"task": ""}, "/task"),
        ({"task": "ä" * 129}, "/task"),
        ({"task": "echo", "queue": "a\0"}, "/queue"),
        ({"task": "echo", "priority": 101}, "/priority"),
        ({"task": "echo", "priority": "urgent"}, "/priority"),
        ({"task": "echo", "priority": True}, "/priority"),
        ({"task": "echo", "timeout": 0}, "/timeout"),
        ({"task": "echo", "max_retries": -2}, "/max_retries"),
        ({"task": "echo", "tags": "a"}, "/tags"),
        ({"task": "echo", "tags": ["a"] * 31}, "/tags"),
        ({"task": "echo", "unique_scope": "active"}, ""),
        ({"task": "echo", "unique_key": "a", "unique_by": ["b"]}, ""),
        ({"task": "echo", "unique_by": ["a..b"]}, "/unique_by/0"),
        ({"task": "echo", "unique_key": "a", "max_wait": 5}, ""),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], pointer: str, api: Api, connection: psycopg.Connection) -> None:
    errors = problem(api.post("/jobs", body), 422, "invalid-request")["errors"]

    assert pointer in [error["pointer"] for error in errors]
    assert jobs_there(connection) == 0


@pytest.mark.parametrize("times", [{"start_by": "2001-01-01T00:00:00Z"}, {"expires": 5, "delay": 10}])
def test_a_job_that_never_could_start_is_refused(
    times: dict[str, Any], api: Api, connection: psycopg.Connection
) -> None:
    bodies = [{"task": "echo"}, {"task": "echo"} | times]

    problem(api.post("/jobs", bodies[1]), 409, "deadline-passed")
    problem(api.post("/jobs/bulk", {"task": "echo", "payloads": [{}]} | times), 409, "deadline-passed")
    many = problem(api.post("/jobs/bulk", {"jobs": bodies}), 409, "deadline-passed")

    assert many["errors"][0]["pointer"] == "/jobs/1"
    assert jobs_there(connection) == 0


def test_a_whole_number_may_have_a_point(api: Api) -> None:
    job = send(api, '{"task": "echo", "priority": 2.0, "max_retries": 1e1}').get_json()

    assert (job["priority"], job["max_retries"]) == (2, 10)


def test_the_holder_of_a_unique_key_is_the_answer(api: Api, connection: psycopg.Connection) -> None:
    body = {"task": "echo", "unique_key": "k", "payload": {"n": 1}}
    first = api.post("/jobs", body)

    again = api.post("/jobs", body | {"payload": {"n": 2}})

    assert (again.status_code, again.get_json()["answer"]) == (200, "held")
    assert again.get_json() == first.get_json() | {"answer": "held"}
    assert "Location" not in again.headers
    assert jobs_there(connection) == 1


def test_what_becomes_of_the_holder_can_be_chosen(api: Api, connection: psycopg.Connection) -> None:
    body: dict[str, Any] = {"task": "echo", "unique_by": ["shop"], "payload": {"shop": 1, "n": 1}, "delay": 60}
    id = api.post("/jobs", body).get_json()["id"]

    replaced = api.post("/jobs", body | {"payload": {"shop": 1, "n": 2}, "on_conflict": "replace"})
    rescheduled = api.post("/jobs", body | {"delay": 600, "on_conflict": "reschedule"})
    error = problem(api.post("/jobs", body | {"on_conflict": "error"}), 409, "unique-conflict")

    assert (replaced.status_code, replaced.get_json()["answer"]) == (200, "replaced")
    assert replaced.get_json()["payload"] == {"shop": 1, "n": 2}
    assert rescheduled.get_json()["answer"] == "rescheduled"
    assert error["job_id"] == id
    assert jobs_there(connection) == 1


def test_a_full_queue_is_told_with_when_to_come_back(api: Api, connection: psycopg.Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, max_size) VALUES ('small', 1)")
    body = {"task": "echo", "queue": "small"}
    assert api.post("/jobs", body).status_code == 201

    answer = api.post("/jobs", body)

    assert problem(answer, 429, "queue-full")["max_size"] == 1
    assert int(answer.headers["Retry-After"]) > 0
    assert jobs_there(connection) == 1


def test_a_request_repeated_with_its_key_makes_one_job(api: Api, connection: psycopg.Connection) -> None:
    body = {"task": "echo", "payload": {"n": 1.5}}
    headers = {"Idempotency-Key": "once"}
    first = api.post("/jobs", body, headers=headers)

    again = api.post("/jobs", body, headers=headers)

    assert (again.status_code, again.data) == (201, first.data)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert jobs_there(connection) == 1
    problem(api.post("/jobs", body | {"queue": "x"}, headers=headers), 409, "idempotency-key-reused")


def test_an_enqueue_is_audited_unless_that_is_off(api: Api, connection: psycopg.Connection) -> None:
    id = api.post("/jobs", {"task": "echo"}).get_json()["id"]
    api.post("/jobs", {"task": "echo", "unique_key": "k", "unique_scope": "always"})
    connection.execute("UPDATE pgtask.settings SET value = '0' WHERE name = 'audit_enqueues'")
    api.post("/jobs", {"task": "echo"})
    api.post("/jobs", {"task": "echo", "unique_key": "l", "unique_scope": "always"})

    rows = connection.execute("SELECT actor, action, subject FROM pgtask.audit ORDER BY id").fetchall()

    assert rows == [("all", "enqueue_job", str(id)), ("all", "enqueue_job", str(id + 1))]


def test_only_a_token_for_enqueueing_may(api: Api) -> None:
    problem(api.holder_of(Scope.OPERATE).post("/jobs", {"task": "echo"}), 403, "missing-scope")
    assert api.holder_of(Scope.ENQUEUE).post("/jobs", {"task": "echo"}).status_code == 201


def test_a_token_for_some_queues_puts_jobs_in_those_alone(api: Api, connection: psycopg.Connection) -> None:
    register(connection, "mail.send", "to", queue="mail")
    register(connection, "other.send", "to", queue="other")
    [hidden] = insert(connection, "echo", queue="other", unique_key="k")
    limited = api.holder_of(Scope.ENQUEUE, queues=["mail"])
    payload = {"to": "a@b.c"}

    assert limited.post("/jobs", {"task": "mail.send", "payload": payload}).status_code == 201
    problem(limited.post("/jobs", {"task": "mail.send", "payload": payload, "queue": "x"}), 403, "limited-token")
    problem(limited.post("/jobs", {"task": "other.send", "payload": payload}), 403, "limited-token")
    held = problem(limited.post("/jobs", {"task": "echo", "queue": "mail", "unique_key": "k"}), 409, "unique-conflict")
    once = {"task": "echo", "queue": "mail", "unique_key": "k", "on_conflict": "error"}
    for answer in (limited.post("/jobs", once), limited.post("/jobs/bulk", {"jobs": [once]})):
        refused = problem(answer, 409, "unique-conflict")
        assert refused["detail"] == held["detail"], "it does not tell which job"
        assert "job_id" not in refused
    for body in (
        {"task": "other.send", "payloads": [payload]},
        {"jobs": [{"task": "echo", "queue": "mail"}, {"task": "other.send", "payload": payload}]},
    ):
        problem(limited.post("/jobs/bulk", body), 403, "limited-token")

    assert "job_id" not in held
    assert live(connection, hidden)["queue"] == "other"
    assert jobs_there(connection) == 2


def test_who_may_not_read_is_not_told_what_the_job_with_their_key_holds(
    api: Api, connection: psycopg.Connection
) -> None:
    [id] = insert(connection, "echo", payload={"iban": "AT61"}, unique_key="k")
    body = {"task": "echo", "payload": {"own": 1}, "unique_key": "k"}

    held = api.holder_of(Scope.ENQUEUE).post("/jobs", body).get_json()
    told = api.holder_of(Scope.ENQUEUE, Scope.READ).post("/jobs", body).get_json()

    assert (held["id"], held["answer"], held["payload"]) == (id, "held", None)
    assert (told["id"], told["answer"], told["payload"]) == (id, "held", {"iban": "AT61"})
    body["unique_key"] = "other"
    assert api.holder_of(Scope.ENQUEUE).post("/jobs", body).get_json()["payload"] == {"own": 1}
