"""POST /jobs/bulk."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.api.test_enqueue import jobs_there, register
from tests.api_client import Api, problem
from tests.rows import live


def test_jobs_of_one_shape_come_in_the_order_of_their_payloads(api: Api, connection: psycopg.Connection) -> None:
    payloads = [{"n": n} for n in range(1000)]

    made = api.post("/jobs/bulk", {"task": "echo", "queue": "bulk", "tags": ["a"], "payloads": payloads})

    assert made.status_code == 201
    ids = made.get_json()["ids"]
    assert made.get_json() == {"ids": ids, "existing": []}
    rows = connection.execute("SELECT id, (payload ->> 'n')::int4, queue, tags FROM pgtask.jobs ORDER BY id").fetchall()
    assert rows == [(id, n, "bulk", ["a"]) for n, id in enumerate(ids)]


def test_jobs_of_all_kinds_go_together(api: Api, connection: psycopg.Connection) -> None:
    register(connection, "mail.send", "to", queue="mail")
    holder = api.post("/jobs", {"task": "echo", "unique_key": "a"}).get_json()["id"]
    bodies: list[dict[str, Any]] = [
        {"task": "echo", "unique_key": "b", "on_conflict": "replace"},
        {"type": "mail.send", "payload": {"to": "x"}, "delay": "5m"},
        {"task": "echo", "unique_key": "a"},
        {"task": "echo", "priority": "low", "expires": 60},
        {"task": "echo", "unique_key": "a", "on_conflict": "reschedule", "delay": 60},
        {"task": "echo", "unique_key": "b", "payload": {"n": 2}, "on_conflict": "replace"},
        {"task": "echo", "unique_by": []},
    ]

    made = api.post("/jobs/bulk", {"jobs": bodies}).get_json()

    ids = made["ids"]
    assert made["existing"] == [
        {"position": 2, "id": holder, "answer": "held"},
        {"position": 4, "id": holder, "answer": "rescheduled"},
        {"position": 5, "id": ids[0], "answer": "replaced"},
    ]
    assert (ids[2], ids[4], ids[5]) == (holder, holder, ids[0])
    assert live(connection, ids[0])["payload"] == {"n": 2}
    assert live(connection, ids[1])["queue"] == "mail"
    assert live(connection, ids[3])["start_by"] is not None
    assert len(live(connection, ids[6])["unique_key"]) == 64
    assert jobs_there(connection) == 5


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"priority": 101}, "/jobs/17/priority"),
        ({"queue": "q" * 129}, "/jobs/17/queue"),
        ({"colour": 1}, "/jobs/17/colour"),
        ({"task": None}, "/jobs/17"),
        ({"delay": 5, "scheduled_at": "2040-01-01T00:00:00Z"}, "/jobs/17"),
        ({"on_conflict": "skip"}, "/jobs/17"),
        ({"payload": {"a": "\0"}}, "/jobs/17/payload"),
        ({"task": "mail.send"}, "/jobs/17/payload"),
    ],
)
def test_the_job_at_fault_is_named_and_none_is_made(
    change: dict[str, Any], pointer: str, api: Api, connection: psycopg.Connection
) -> None:
    register(connection, "mail.send", "to")
    bodies: list[dict[str, Any]] = [{"task": "echo"} for _ in range(20)]
    bodies[17] |= change

    answer = api.post("/jobs/bulk", {"jobs": bodies})

    assert answer.status_code == 422
    assert pointer in [error["pointer"] for error in answer.get_json()["errors"]]
    assert jobs_there(connection) == 0


def test_the_payload_at_fault_is_named(api: Api, connection: psycopg.Connection) -> None:
    register(connection, "mail.send", "to")

    answer = api.post("/jobs/bulk", {"task": "mail.send", "payloads": [{"to": 1}, {"too": 1}]})

    assert "/payloads/1: Task mail.send" in problem(answer, 422, "invalid-payload")["detail"]
    assert jobs_there(connection) == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"jobs": []},
        {"jobs": [{"task": "echo"}], "payloads": [{}], "task": "echo"},
        {"jobs": [{"task": "echo"}], "queue": "x"},
        {"payloads": [{}]},
        {"task": "echo", "payloads": []},
        {"task": "echo", "payloads": [{}] * 1001},
        {"task": "echo", "payloads": [[]]},
        {"task": "echo", "payloads": [{}], "unique_key": "k"},
    ],
)
def test_what_makes_no_sense_is_refused(body: dict[str, Any], api: Api, connection: psycopg.Connection) -> None:
    problem(api.post("/jobs/bulk", body), 422, "invalid-request")

    assert jobs_there(connection) == 0


def test_a_held_key_that_is_an_error_undoes_all(api: Api, connection: psycopg.Connection) -> None:
    holder = api.post("/jobs", {"task": "echo", "unique_key": "a"}).get_json()["id"]
    bodies = [{"task": "echo"}, {"task": "echo", "unique_key": "a", "on_conflict": "error"}]

    answer = problem(api.post("/jobs/bulk", {"jobs": bodies}), 409, "unique-conflict")

    assert (answer["job_id"], answer["errors"][0]["pointer"]) == (holder, "/jobs/1")
    assert jobs_there(connection) == 1


@pytest.mark.parametrize("unique", [False, True])
def test_jobs_that_do_not_all_fit_are_refused(unique: bool, api: Api, connection: psycopg.Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, max_size) VALUES ('small', 2)")
    bodies = [{"task": "echo", "queue": "small"} | ({"unique_key": str(n)} if unique else {}) for n in range(3)]

    answer = problem(api.post("/jobs/bulk", {"jobs": bodies}), 429, "queue-full")

    assert (answer["queue"], answer["max_size"]) == ("small", 2)
    assert jobs_there(connection) == 0


def test_a_repeated_request_enqueues_once(api: Api, connection: psycopg.Connection) -> None:
    body = {"task": "echo", "payloads": [{}, {}]}
    headers = {"Idempotency-Key": "once"}

    first, again = (api.post("/jobs/bulk", body, headers=headers) for _ in range(2))

    assert again.data == first.data
    assert jobs_there(connection) == 2


def test_it_has_one_line_in_the_audit(api: Api, connection: psycopg.Connection) -> None:
    api.post("/jobs/bulk", {"task": "echo", "payloads": [{}, {}]})

    assert connection.execute("SELECT action, details FROM pgtask.audit").fetchall() == [("enqueue_jobs", {"count": 2})]
