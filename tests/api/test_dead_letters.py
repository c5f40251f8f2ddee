"""Dead letters over the API."""

from __future__ import annotations

from typing import Any

import psycopg
from pgtask.web.cursors import write_cursor

from pgtask.model.token import Scope
from tests.api_client import Api, problem
from tests.command_line import add_run
from tests.rows import live, number

Connection = psycopg.Connection[Any]


def failed(connection: Connection, **columns: Any) -> int:
    id = 100 + number(connection, "SELECT count(*) FROM pgtask.runs")
    add_run(connection, id, "failed", **{"task": "t"} | columns)
    return id


def ids(answer: Any) -> list[int]:
    return [item["id"] for item in answer.get_json()["items"]]


def test_dead_letters_are_listed_page_by_page(api: Api, connection: Connection) -> None:
    made = [failed(connection) for _ in range(5)]

    seen: list[int] = []
    path = "/dead-letters?limit=2"
    while True:
        page = api.get(path)
        seen += ids(page)
        cursor = page.get_json()["next_cursor"]
        if cursor is None:
            break
        path = f"/dead-letters?limit=2&cursor={cursor}"

    assert sorted(seen) == made
    problem(api.get("/dead-letters?cursor=x"), 422, "invalid-cursor")
    assert sorted(ids(api.get(f"/dead-letters?cursor={write_cursor(2**63 - 1, 1)}"))) == made, "beyond all dates"


def test_dead_letters_are_filtered(api: Api, connection: Connection) -> None:
    mail = failed(connection, queue="mail", error_type="TimeoutError")
    other = failed(connection, queue="other", error_type="ValueError", tags=["vip"])

    assert ids(api.get("/dead-letters?queue=mail")) == [mail]
    assert ids(api.get("/dead-letters?error=Timeout*")) == [mail]
    assert ids(api.get("/dead-letters?tag=vip")) == [other]
    assert ids(api.get("/dead-letters?since=2999-01-01T00:00:00Z")) == []
    assert ids(api.holder_of(Scope.READ, queues=["mail"]).get("/dead-letters")) == [mail]


def test_dead_letters_are_grouped(api: Api, connection: Connection) -> None:
    for _ in range(2):
        failed(connection, error_type="TimeoutError")
    failed(connection, queue="other", error_type="ValueError")

    groups = api.get("/dead-letters/groups").get_json()["items"]

    assert [(group["task"], group["error_type"], group["count"]) for group in groups] == [
        ("t", "TimeoutError", 2),
        ("t", "ValueError", 1),
    ]
    limited = api.holder_of(Scope.READ, queues=["other"]).get("/dead-letters/groups").get_json()["items"]
    assert [group["error_type"] for group in limited] == ["ValueError"]


def answer(api: Api, action: str, body: dict[str, Any]) -> str:
    [item] = api.post(f"/dead-letters/{action}", body).get_json()["items"]
    return str(item["answer"])


def test_dead_letters_are_dealt_with(api: Api, connection: Connection) -> None:
    first, second, third = (failed(connection) for _ in range(3))

    assert (
        api.post("/dead-letters/resolve", {"ids": [first], "note": "paid"}).get_json()["items"][0]["answer"]
        == "resolved"
    )
    assert first not in ids(api.get("/dead-letters"))
    assert answer(api, "unresolve", {"ids": [first]}) == "unresolved"
    assert first in ids(api.get("/dead-letters"))
    assert answer(api, "retry", {"ids": [second]}) == "pending"
    assert live(connection, second)["status"] == "pending"
    assert answer(api, "delete", {"ids": [third]}) == "deleted"
    assert ids(api.get("/dead-letters")) == [first]
