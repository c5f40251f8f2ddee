"""Statistics and the overview over REST."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from pgtask.database.statistics import roll_up
from pgtask.model.token import Scope
from tests.api_client import Api, problem
from tests.command_line import add_live_worker, add_run, answer, run
from tests.rows import ago, insert


def fill(connection: psycopg.Connection[Any]) -> None:
    """Attempts of ten minutes ago and of fifty."""
    for seconds in (600, 3000):
        times = {"scheduled_at": ago(seconds + 5), "started_at": ago(seconds + 3), "finished_at": ago(seconds)}
        add_run(connection, 1, "completed", queue="a", task="x", **times)
        add_run(connection, 2, "failed", queue="a", task="y", **times)
        add_run(connection, 3, "completed", queue="b", task="x", **times)


def roll_up_all(connection: psycopg.Connection[Any]) -> None:
    connection.execute(
        "INSERT INTO pgtask.stats_minute (minute, queue, task, completed)"
        " VALUES (date_trunc('minute', now()) - interval '3 h', 'a', 'x', 0)"
    )
    roll_up(connection)


def ended(statistics: dict[str, Any]) -> tuple[int, int]:
    return statistics["total"]["completed"], statistics["total"]["failed"]


def in_timeline(statistics: dict[str, Any]) -> tuple[int, int]:
    timeline = statistics["timeline"]
    return sum(part["completed"] for part in timeline), sum(part["unsuccessful"] for part in timeline)


@pytest.mark.parametrize("rolled_up", [False, True])
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, (4, 2)),
        ({"window": "30m"}, (2, 1)),
        ({"window": 60}, (0, 0)),
        ({"queue": "a"}, (2, 2)),
        ({"task": "x"}, (4, 0)),
        ({"queue": "b", "task": "x", "window": 1800}, (1, 0)),
        ({"queue": "none"}, (0, 0)),
    ],
)
def test_what_came_of_the_attempts(
    api: Api, connection: psycopg.Connection, query: dict[str, Any], found: tuple[int, int], rolled_up: bool
) -> None:
    fill(connection)
    if rolled_up:
        roll_up_all(connection)

    statistics = api.get("/stats", query_string=query).get_json()

    assert ended(statistics) == in_timeline(statistics) == found


def test_they_are_those_of_the_command_line(api: Api, connection: psycopg.Connection, database: str) -> None:
    fill(connection)

    shown = answer(run(database, "stats", "--window", "2h", "--json"))

    assert api.get("/stats?window=2h").get_json() == shown


@pytest.mark.parametrize("rolled_up", [False, True])
def test_statistics_of_a_time_in_the_past(api: Api, connection: psycopg.Connection, rolled_up: bool) -> None:
    fill(connection)
    if rolled_up:
        roll_up_all(connection)
    now = datetime.now(UTC)

    def of(**query: Any) -> dict[str, Any]:
        found: dict[str, Any] = api.get("/stats", query_string=query).get_json()
        return found

    early, late = (now - timedelta(minutes=minutes) for minutes in (60, 40))
    past = of(**{"from": early.isoformat(), "to": late.isoformat()})
    assert ended(past) == in_timeline(past) == (2, 1)
    assert 1200 <= past["window_seconds"] <= 1260
    assert len(past["timeline"]) == past["window_seconds"] / 60
    first = datetime.fromisoformat(past["timeline"][0]["began_at"])
    assert timedelta() <= early - first < timedelta(minutes=1)
    assert ended(of(**{"from": late.isoformat()})) == (2, 1)
    assert ended(of(**{"from": early.isoformat()})) == (4, 2)
    assert ended(of(to=late.isoformat(), window="30m")) == (2, 1)
    assert ended(of(to=late.isoformat(), window="5m")) == (0, 0)


@pytest.mark.parametrize(
    ("query", "slices", "width"),
    [
        ({"window": 3600}, 60, 60),
        ({"window": 3600, "step": 600}, 6, 600),
        ({"window": 3600, "step": 1}, 60, 60),
        ({"window": 3600, "step": 90}, 30, 120),
        ({"window": "2d", "step": "1m"}, 1440, 120),
        ({"window": "2d"}, 60, 2880),
        ({"window": 60, "step": 3600}, 1, 3600),
    ],
)
def test_the_timeline_goes_by_steps(refusing_api: Api, query: dict[str, Any], slices: int, width: int) -> None:
    timeline = refusing_api.get("/stats", query_string=query).get_json()["timeline"]

    assert len(timeline) == slices
    began = [datetime.fromisoformat(part["began_at"]) for part in timeline]
    assert {later - sooner for sooner, later in pairwise(began)} <= {timedelta(seconds=width)}


@pytest.mark.parametrize(
    "query",
    [
        {"from": "0001-01-01T00:00:00+14:00"},
        {"to": "0001-01-01T00:00:00Z"},
        {"to": "9999-12-31T23:59:59-14:00", "window": 1e9},
        {"from": "9999-12-31T23:59:59Z"},
        {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
        {"window": 1e-9, "step": 1e9},
        {"window": 1e9, "step": 1e-9},
    ],
)
def test_spans_at_the_end_of_all_calendars_do_no_harm(refusing_api: Api, query: dict[str, Any]) -> None:
    answer = refusing_api.get("/stats", query_string=query)

    assert (answer.status_code, ended(answer.get_json())) == (200, (0, 0))
    assert len(answer.get_json()["timeline"]) <= 1440


@pytest.mark.parametrize(
    "query", ["window=0", "window=soon", "window=-1", "step=0", "from=yesterday", "to=5", "queue=", "colour=red"]
)
def test_what_cannot_be_is_refused(refusing_api: Api, query: str) -> None:
    problem(refusing_api.get(f"/stats?{query}"), 422, "invalid-request")


def test_a_limited_token_gets_the_statistics_of_its_queues(api: Api, connection: psycopg.Connection) -> None:
    fill(connection)
    mine = api.holder_of(Scope.READ, queues=["a", "c"])

    statistics = mine.get("/stats").get_json()

    assert (ended(statistics), in_timeline(statistics), list(statistics["by_queue"])) == ((2, 2), (2, 2), ["a"])
    problem(mine.get("/stats?queue=b"), 404, "queue-not-found")


def test_everything_at_one_glance(api: Api, connection: psycopg.Connection, database: str) -> None:
    fill(connection)
    worker = add_live_worker(connection, queues=["a"])
    [running] = insert(connection, "x", queue="a", status="running", worker_id=worker, attempt=1, started_at=ago(5))
    insert(connection, "x", queue="b", count=3)

    overview = api.get("/overview").get_json()

    assert overview["totals"]["pending"] == 3
    assert [job["id"] for job in overview["running"]] == [running]
    assert [job["id"] for job in overview["failures"]] == [2]
    assert [seen["id"] for seen in overview["workers"]] == [worker]
    assert ended(overview["statistics"]) == (2, 1)
    top = answer(run(database, "top", "--json"))
    assert overview.keys() == top.keys()
    assert overview["queues"] == top["queues"]


def test_a_limited_token_sees_its_part_of_everything(api: Api, connection: psycopg.Connection) -> None:
    fill(connection)
    for queue in ("a", "b"):
        insert(connection, "x", queue=queue)
        insert(connection, "x", queue=queue, status="running", worker_id=1, attempt=1, started_at=ago(5))
    mixed = add_live_worker(connection, queues=["a", "b"])
    add_live_worker(connection, queues=["a"])

    overview = api.holder_of(Scope.READ, queues=["b", "c"]).get("/overview").get_json()

    assert [queue["name"] for queue in overview["queues"]] == ["b"]
    assert [(worker["id"], worker["queues"]) for worker in overview["workers"]] == [(mixed, ["b"])]
    assert [job["queue"] for job in overview["running"]] == ["b"]
    assert overview["failures"] == []
    assert list(overview["statistics"]["by_queue"]) == ["b"]
    assert overview["totals"]["pending"] == 1
    assert "'a'" not in str(overview)


def test_the_statistics_of_one_token_are_not_shown_to_another(api: Api, connection: psycopg.Connection) -> None:
    fill(connection)

    assert ended(api.get("/overview").get_json()["statistics"]) == (2, 1)
    assert ended(api.holder_of(Scope.READ, queues=["b"]).get("/overview").get_json()["statistics"]) == (1, 0)


def test_a_token_that_may_only_enqueue_sees_no_statistics(api: Api) -> None:
    producer = api.holder_of(Scope.ENQUEUE)

    problem(producer.get("/stats"), 403, "missing-scope")
    problem(producer.get("/overview"), 403, "missing-scope")
