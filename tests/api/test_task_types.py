"""Task types over REST: what is registered, rates, circuits."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgtask.model.token import Scope
from tests.api_client import Api, problem
from tests.audited import audited, last_audited
from tests.command_line import add_live_worker, answer, run
from tests.rows import number

SCHEMA = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}


@pytest.fixture
def task(connection: psycopg.Connection) -> str:
    """A task that code has registered with all there is."""
    register(connection, "mail.send", queue="mail", schema=SCHEMA)
    return "mail.send"


def register(
    connection: psycopg.Connection[Any], name: str, queue: str = "default", schema: dict[str, Any] | None = None
) -> None:
    connection.execute(
        "INSERT INTO pgtask.tasks (name, queue, priority, max_retries, timeout, payload_schema, code_version,"
        " rate_limit, rate_period, rate_burst, declared_rate_limit, declared_rate_period, declared_rate_burst)"
        " VALUES (%s, %s, 2, 5, 30, %s, 'v1', 10, 1, 10, 10, 1, 10)",
        [name, queue, None if schema is None else Jsonb(schema)],
    )


def rate(task: dict[str, Any]) -> tuple[Any, ...]:
    return task["rate_limit"], task["rate_period_seconds"], task["rate_burst"], task["rate_set_by"]


def test_what_workers_have_registered(api: Api, database: str, task: str) -> None:
    found = api.get(f"/task-types/{task}").get_json()

    assert (found["queue"], found["priority"], found["max_retries"], found["timeout"]) == ("mail", 2, 5, 30)
    assert (found["payload_schema"], found["code_version"], found["circuit"]) == (SCHEMA, "v1", "closed")
    assert rate(found) == (10, 1, 10, None)
    assert api.get("/task-types").get_json()["items"] == [found]
    assert answer(run(database, "tasks", "list", "--json"))["items"] == [found]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"rate_limit": "100/min"}, (100, 60, 1, "all")),
        ({"rate_limit": "100/min", "rate_burst": 7}, (100, 60, 7, "all")),
        ({"rate_limit": "100/min", "rate_burst": 7.0}, (100, 60, 7, "all")),
        ({"rate_limit": None}, (None, None, None, "all")),
        ({"rate_limit": None, "rate_burst": None}, (None, None, None, "all")),
    ],
)
def test_setting_a_rate(api: Api, connection: psycopg.Connection, task: str, body: Any, shown: Any) -> None:
    changed = api.put(f"/task-types/{task}/rate-limit", body)

    assert (changed.status_code, rate(changed.get_json())) == (200, shown)
    actor, action, subject, details = last_audited(connection)
    assert (actor, action, subject) == ("all", "set_task_rate", task)
    assert details is not None
    assert details["before"]["rate_limit"] == 10
    assert details["after"]["rate_limit"] == shown[0]


def test_giving_a_task_its_codes_rate_again(api: Api, connection: psycopg.Connection, task: str) -> None:
    api.put(f"/task-types/{task}/rate-limit", {"rate_limit": "1/h"})

    assert api.delete(f"/task-types/{task}/rate-limit").status_code == 204

    assert rate(api.get(f"/task-types/{task}").get_json()) == (10, 1, 10, None)
    assert last_audited(connection)[1:3] == ("inherit_task_rate", task)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"rate_limit": "often"},
        {"rate_limit": 5},
        {"rate_burst": 5},
        {"rate_limit": None, "rate_burst": 5},
        {"rate_limit": "1/s", "rate_burst": 0},
        {"rate_limit": "1/s", "colour": "red"},
    ],
)
def test_a_rate_that_cannot_be_is_refused(refusing_api: Api, body: dict[str, Any]) -> None:
    problem(refusing_api.put("/task-types/t/rate-limit", body), 422, "invalid-request")


def test_a_rate_that_was_changed_meanwhile_is_not_changed(api: Api, connection: psycopg.Connection, task: str) -> None:
    tag = {"If-Match": api.get(f"/task-types/{task}").headers["ETag"]}
    # What a task does all the time changes nothing of that.
    connection.execute("UPDATE pgtask.tasks SET last_seen_at = now()")
    api.post(f"/task-types/{task}/open", {})
    assert api.put(f"/task-types/{task}/rate-limit", {"rate_limit": "1/s"}, headers=tag).status_code == 200

    problem(api.put(f"/task-types/{task}/rate-limit", {"rate_limit": "2/s"}, headers=tag), 412, "changed-meanwhile")
    problem(api.delete(f"/task-types/{task}/rate-limit", headers=tag), 412, "changed-meanwhile")


def test_opening_and_closing_a_circuit(api: Api, connection: psycopg.Connection, task: str) -> None:
    opened = api.post(f"/task-types/{task}/open", {"hold": "5m", "reason": "the server is being moved"}).get_json()

    assert (opened["circuit"], opened["circuit_changed_by"]) == ("open", "all")
    assert opened["circuit_reason"] == "the server is being moved"
    assert opened["next_probe_at"] > opened["circuit_changed_at"]
    assert number(connection, "SELECT count(*) FROM pgtask.circuits WHERE state = 'open'") == 1

    closed = api.post(f"/task-types/{task}/close").get_json()
    assert closed["circuit"] == "closed"
    assert api.post(f"/task-types/{task}/close").get_json()["circuit"] == "closed"
    actions = [(row.action, row.subject) for row in audited(connection)]
    assert actions == [("open_task_circuit", task), ("close_task_circuit", task), ("close_task_circuit", task)]


def test_a_circuit_is_open_until_it_is_closed_by_hand(api: Api, task: str) -> None:
    opened = api.post(f"/task-types/{task}/open", {}).get_json()

    assert (opened["circuit"], opened["next_probe_at"]) == ("open", None)


@pytest.mark.parametrize("body", [{"hold": 0}, {"hold": "soon"}, {"reason": 5}, {"reason": "a\0"}, {"for": 5}])
def test_an_opening_that_cannot_be_is_refused(refusing_api: Api, body: dict[str, Any]) -> None:
    problem(refusing_api.post("/task-types/t/open", body), 422, "invalid-request")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PUT", "/rate-limit", {"rate_limit": None}),
        ("DELETE", "/rate-limit", None),
        ("POST", "/open", {}),
        ("POST", "/close", None),
    ],
)
def test_a_task_that_nobody_has_registered(api: Api, task: str, method: str, path: str, body: Any) -> None:
    assert f"'{task}'" in problem(api(method, f"/task-types/mail.sent{path}", body), 404, "task-not-found")["detail"]


def names(answer: Any) -> list[str]:
    return [task["name"] for task in answer.get_json()["items"]]


def test_tasks_are_found_by_what_they_are_page_by_page(api: Api, connection: psycopg.Connection, task: str) -> None:
    add_live_worker(connection)
    for name in ("a", "B", "c"):
        register(connection, name)
    connection.execute("UPDATE pgtask.tasks SET last_seen_at = now() - interval '1 h' WHERE name <> 'a'")

    first = api.get("/task-types?limit=3")
    second = api.get("/task-types", query_string={"limit": 3, "cursor": first.get_json()["next_cursor"]})

    assert names(first) + names(second) == ["B", "a", "c", task]
    assert names(api.get("/task-types?queue=mail")) == [task]
    assert names(api.get("/task-types?search=SEND")) == [task]
    assert names(api.get("/task-types?live=true")) == ["a"]
    assert names(api.get("/task-types?live=false")) == ["B", "c", task]


def test_a_limited_token_sees_the_tasks_of_its_queues_and_changes_none(
    api: Api, connection: psycopg.Connection, task: str
) -> None:
    register(connection, "hidden")
    mine = api.holder_of(Scope.OPERATE, queues=["mail"])

    assert names(mine.get("/task-types")) == [task]
    assert mine.get(f"/task-types/{task}").status_code == 200
    assert problem(mine.get("/task-types/hidden"), 404, "task-not-found")["detail"].endswith("pgtask tasks list")
    assert problem(mine.get("/task-types/hiden"), 404, "task-not-found")["detail"].endswith("pgtask tasks list")
    problem(mine.put(f"/task-types/{task}/rate-limit", {"rate_limit": None}), 403, "limited-token")
    problem(mine.delete(f"/task-types/{task}/rate-limit"), 403, "limited-token")
    problem(mine.post(f"/task-types/{task}/open", {}), 403, "limited-token")
    problem(mine.post(f"/task-types/{task}/close"), 403, "limited-token")


def test_reading_is_not_changing(api: Api, task: str) -> None:
    reader = api.holder_of(Scope.READ)

    assert reader.get(f"/task-types/{task}").status_code == 200
    problem(reader.put(f"/task-types/{task}/rate-limit", {"rate_limit": None}), 403, "missing-scope")
    problem(reader.delete(f"/task-types/{task}/rate-limit"), 403, "missing-scope")
    problem(reader.post(f"/task-types/{task}/open", {}), 403, "missing-scope")
    problem(reader.post(f"/task-types/{task}/close"), 403, "missing-scope")


def test_a_task_with_the_longest_name_is_found(api: Api, connection: psycopg.Connection) -> None:
    name = "t" * 256
    register(connection, name)

    assert api.get(f"/task-types/{name}").get_json()["name"] == name
