"""GET /jobs: filters, search, sorts, pages, counts, and what a limited token sees."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from openapi_spec_validator import validate

from pgtask.model.token import Scope
from tests.api_client import Api, document, problem
from tests.command_line import add_run
from tests.rows import ago, insert

Connection = psycopg.Connection[Any]


@pytest.fixture
def ids(connection: Connection) -> dict[str, int]:
    """Jobs in all states, by their status; ids rise in this order."""
    made = {
        "pending": insert(connection, "echo", {"user": {"id": 42}, "to": "a@b.c"}, queue="a", tags=["vip", "x"])[0],
        "scheduled": insert(connection, "echo", {"user": {"id": "42"}}, scheduled_at=ago(-3600), priority=2)[0],
        "retrying": insert(connection, "mail.send", queue="b", retry_count=1, attempt=1, scheduled_at=ago(-60))[0],
        "running": insert(connection, "mail.send", status="running", attempt=1, worker_id=7, started_at=ago(5))[0],
    }
    for number, status in enumerate(("completed", "failed", "cancelled", "quarantined")):
        made[status] = 100 + number
        error = {"error_type": "TimeoutError", "traceback": "Traceback"} if status == "failed" else {}
        ended = ago(1000 - 100 * number)
        add_run(connection, made[status], status, queue="b", task="mail.read", finished_at=ended, **error)
    return made


def found(api: Api, query: str = "") -> list[int]:
    answer = api.get(f"/jobs?{query}")
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return [item["id"] for item in answer.get_json()["items"]]


@pytest.mark.parametrize(
    ("query", "statuses"),
    [
        ("status=failed,running", "failed running"),
        ("queue=a", "pending"),
        ("queue=a,b&status=pending,retrying", "retrying pending"),
        ("task=mail.*&status=running,completed", "completed running"),
        ("type=echo", "scheduled pending"),
        ("tag=vip,other", "pending"),
        ("priority=high", "scheduled"),
        ("priority=2,-100", "scheduled"),
        ("worker=7", "running"),
        ("schedule=nightly", ""),
        ("payload.user.id=42", "scheduled pending"),
        ('payload.user.id="42"', "scheduled"),
        ("payload.to=a@b.c&payload.user.id=42", "pending"),
        ("payload.to=a", ""),
        ("created_before=2020-01-01T00:00:00Z", ""),
        ("created_after=2020-01-01T00:00:00Z&queue=a", "pending"),
        ("q=error:Time*", "failed"),
        ("q=-status:pending,scheduled -task:mail.send", "quarantined cancelled failed completed"),
        ("q=-tag:x status:pending,running", "running"),
        ("q=-error:Time* -task:echo -task:mail.send&status=failed,cancelled", None),
        ("q=status:failed since:1h", "failed"),
        ("q=status:failed before:1h", ""),
        ("q=status:failed,cancelled since:850s", "cancelled"),
        ("q=id:101,102", "cancelled failed"),
        ("status=", "quarantined cancelled failed completed running retrying scheduled pending"),
    ],
)
def test_filters(api: Api, ids: dict[str, int], query: str, statuses: str | None) -> None:
    if statuses is None:
        problem(api.get(f"/jobs?{query}"), 422, "invalid-search")
        return
    assert found(api, query) == [ids[status] for status in statuses.split()]


def test_tasks_are_the_same_as_jobs(api: Api, ids: dict[str, int]) -> None:
    assert api.get("/tasks?limit=3").get_json()["items"] == api.get("/jobs?limit=3").get_json()["items"]
    assert len(ids) == 8


@pytest.mark.parametrize(
    ("query", "statuses"),
    [
        ("sort=created", "pending scheduled retrying running completed failed cancelled quarantined"),
        ("sort=-created", "quarantined cancelled failed completed running retrying scheduled pending"),
        ("sort=-finished", "quarantined cancelled failed completed"),
        ("sort=-finished&status=failed,cancelled", "cancelled failed"),
        ("sort=-finished&status=failed,completed", "failed completed"),
        ("sort=scheduled", "pending retrying scheduled"),
        ("sort=scheduled&status=retrying", "retrying"),
    ],
)
def test_sorts_page_by_page(api: Api, ids: dict[str, int], query: str, statuses: str) -> None:
    seen: list[int] = []
    place = f"/jobs?{query}&limit=1"
    while place:
        answer = api.get(place)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        page = answer.get_json()
        seen += [item["id"] for item in page["items"]]
        link = answer.headers.get("Link")
        assert (link is None) == (page["next_cursor"] is None)
        place = link[1:].partition(">")[0].removeprefix("/api/v1") if link else ""
    assert seen == [ids[status] for status in statuses.split()]


@pytest.mark.parametrize("query", ["sort=-finished&status=running", "sort=scheduled&status=running"])
def test_what_no_index_sorts_is_refused(api: Api, query: str) -> None:
    assert "can be sorted by" in problem(api.get(f"/jobs?{query}"), 422, "invalid-search")["detail"]


WRONG = """sort=error sort=finished colour=red status=faild limit=0 limit=1001 task=a&type=b priority=urgent worker=x
    created_after=yesterday include=secrets count=exact queue=a&queue=b"""


@pytest.mark.parametrize("query", WRONG.split())
def test_wrong_parameters_are_refused(api: Api, query: str) -> None:
    problem(api.get(f"/jobs?{query}"), 422, "invalid-request")


@pytest.mark.parametrize(
    "query", ["q=nonsense", "q=staus:failed", "status=failed&q=status:failed", "payload.a=1&q=payload.a:2"]
)
def test_wrong_searches_are_refused(api: Api, query: str) -> None:
    problem(api.get(f"/jobs?{query}"), 422, "invalid-search")


def test_a_page_goes_on_while_jobs_end_and_others_come(api: Api, connection: Connection) -> None:
    live = insert(connection, "echo", count=4)
    first = api.get("/jobs?limit=2").get_json()
    connection.execute("DELETE FROM pgtask.jobs WHERE id = ANY (%s)", [live[:2]])
    for id in live[:2]:
        add_run(connection, id)
    insert(connection, "echo", count=3)

    rest = found(api, f"limit=2&cursor={first['next_cursor']}")

    assert [item["id"] for item in first["items"]] + rest == live[::-1]


def test_a_cursor_of_another_list_is_refused(api: Api, ids: dict[str, int]) -> None:
    cursor = api.get("/jobs?limit=1").get_json()["next_cursor"]

    assert len(found(api, f"limit=100&cursor={cursor}")) == len(ids) - 1
    for query in (f"cursor={cursor}&queue=a", f"cursor={cursor}&sort=created", "cursor=x", "cursor="):
        problem(api.get(f"/jobs?{query}"), 422, "invalid-cursor")
    problem(api.holder_of(Scope.READ, queues=["a"]).get(f"/jobs?cursor={cursor}"), 422, "invalid-cursor")


def test_a_relative_time_keeps_its_cursor(api: Api, ids: dict[str, int]) -> None:
    cursor = api.get("/jobs?limit=1&q=since:1h").get_json()["next_cursor"]

    assert len(found(api, f"q=since:1h&cursor={cursor}")) == len(ids) - 1


def test_large_parts_come_when_they_are_asked_for(api: Api, ids: dict[str, int]) -> None:
    [lean] = api.get("/jobs?status=failed").get_json()["items"]
    [full] = api.get("/jobs?status=failed&include=payload,traceback").get_json()["items"]
    whole = api.get(f"/jobs/{ids['failed']}").get_json()

    assert not {"payload", "result", "traceback"} & lean.keys()
    assert full == {name: value for name, value in whole.items() if name != "result"}
    assert full["traceback"] == "Traceback"


def test_a_count_stops_at_its_cap(api: Api, ids: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    page = api.get("/jobs?count=capped&limit=1").get_json()
    assert (page["count"], page["count_exact"]) == (len(ids), True)
    monkeypatch.setattr("pgtask.database.listing.COUNT_CAP", 5)
    page = api.get("/jobs?count=capped").get_json()
    assert (page["count"], page["count_exact"]) == (5, False)
    assert "count" not in api.get("/jobs").get_json()


def test_a_limited_token_sees_its_queues_only(api: Api, ids: dict[str, int]) -> None:
    limited = api.holder_of(Scope.READ, queues=["a"])

    assert found(limited) == [ids["pending"]]
    assert found(limited, "queue=a,b") == [ids["pending"]]
    assert found(limited, "queue=b") == []
    assert found(limited, f"q={quote('id:101,1')}") in ([ids["pending"]], [])
    assert found(limited, "sort=-finished") == []
    assert found(limited, "sort=scheduled") == [ids["pending"]]
    assert limited.get("/jobs?count=capped").get_json()["count"] == 1


def test_a_search_that_takes_too_long_says_to_narrow_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgtask.database.reading.READ_TIMEOUT", 0.05)
    slow = b"SELECT 1 FROM pg_sleep(5) WHERE %(limit)s::int4 IS NOT NULL"
    monkeypatch.setattr("pgtask.database.finding._FIND_LIVE", slow)

    assert "Ask for less" in problem(api.get("/jobs"), 503, "took-too-long")["detail"]


def test_the_document_stays_valid(api: Api) -> None:
    validate(document(api.app))
    assert len({tag["name"] for tag in document(api.app)["tags"]}) == len(document(api.app)["tags"])


def test_a_number_beyond_floats_is_shown_as_json_all_the_same(api: Api, connection: psycopg.Connection) -> None:
    large = f"1{'0' * 320}.5"
    [id] = insert(connection, "echo")
    connection.execute("UPDATE pgtask.jobs SET payload = %s::text::jsonb", [f'{{"n": {large}}}'])

    for text in (api.get(f"/jobs/{id}").text, api.get("/jobs?include=payload").text):
        assert "Infinity" not in text
        assert large in text
