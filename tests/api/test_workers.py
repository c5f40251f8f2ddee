"""Workers over REST, as operators see them."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql

from pgtask.model.token import Scope
from tests.api_client import Api, problem
from tests.audited import audited
from tests.command_line import add_live_worker, answer, run
from tests.rows import ago, insert

PASSED = sql.SQL("now() - interval '1 minute'")


def ids(answer: Any) -> list[int]:
    return [worker["id"] for worker in answer.get_json()["items"]]


def test_a_worker_and_what_it_runs(api: Api, connection: psycopg.Connection, database: str) -> None:
    worker = add_live_worker(connection, "a", queues=["mail"], cpu_percent=12.5, rss_bytes=1000, running=2)
    own = insert(connection, "t", queue="mail", count=2, status="running", worker_id=worker, attempt=1)
    insert(connection, "t", queue="mail", status="running", worker_id=worker + 1, attempt=1)

    shown = api.get(f"/workers/{worker}").get_json()

    assert (shown["name"], shown["state"], shown["queues"], shown["running"]) == ("a", "running", ["mail"], 2)
    assert sorted(job["id"] for job in shown["jobs"]) == own
    assert shown == answer(run(database, "workers", "show", str(worker), "--json"))
    assert api.get("/workers").get_json() == answer(run(database, "workers", "list", "--json"))


@pytest.mark.parametrize("id", [4711, 2**31, 2**63 - 1])
@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/stop")])
def test_a_worker_that_is_not_there(refusing_api: Api, method: str, path: str, id: int) -> None:
    problem(refusing_api(method, f"/workers/{id}{path}"), 404, "worker-not-found")


def test_workers_are_found_by_what_they_are(api: Api, connection: psycopg.Connection) -> None:
    everything = add_live_worker(connection)
    mail = add_live_worker(connection, queues=["mail", "post"])
    lost = add_live_worker(connection, queues=["other"], expires_at=PASSED)
    ended = add_live_worker(connection, queues=["mail"], dead_at=PASSED)
    long_ago = add_live_worker(connection, queues=["mail"], dead_at=ago(7200))

    assert ids(api.get("/workers")) == [lost, mail, everything, ended]
    assert ids(api.get("/workers?live=true")) == [mail, everything]
    assert ids(api.get("/workers?live=false")) == [lost, ended]
    assert ids(api.get("/workers?queue=mail")) == [mail, everything, ended]
    assert ids(api.get("/workers?ended_within=3h")) == [lost, mail, everything, long_ago, ended]
    assert ids(api.get("/workers?ended_within=0")) == [lost, mail, everything]


def test_workers_page_by_page(api: Api, connection: psycopg.Connection) -> None:
    for dead_at in (None, PASSED, None, PASSED, None):
        add_live_worker(connection, dead_at=dead_at)

    found, cursor = [], None
    while True:
        page = api.get("/workers", query_string={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        found += ids(page)
        cursor = page.get_json()["next_cursor"]
        if cursor is None:
            break
    assert found == ids(api.get("/workers"))
    assert len(found) == 5


@pytest.mark.parametrize("query", ["live=perhaps", "queue=", "ended_within=-1", "cursor=5", "limit=0", "colour=red"])
def test_a_list_refuses_what_it_does_not_know(refusing_api: Api, query: str) -> None:
    problem(refusing_api.get(f"/workers?{query}"), 422, "invalid-request")


def test_stopping_a_worker(api: Api, connection: psycopg.Connection) -> None:
    worker = add_live_worker(connection)
    connection.execute("LISTEN pgtask")

    stopped = api.post(f"/workers/{worker}/stop")

    assert (stopped.status_code, stopped.get_json()["state"]) == (200, "stopping")
    assert [notice.payload for notice in connection.notifies(timeout=10, stop_after=1)] == [f'{{"stop" : {worker}}}']
    assert api.post(f"/workers/{worker}/stop").get_json()["stopping_at"] == stopped.get_json()["stopping_at"]
    first = audited(connection)[0]
    assert first[:3] == ("all", "stop_worker", str(worker))
    assert first.details == {"before": {"state": "running"}, "after": {"state": "stopping"}}


def test_a_worker_that_has_ended_stays_as_it_is(api: Api, connection: psycopg.Connection) -> None:
    worker = add_live_worker(connection, dead_at=PASSED)

    stopped = api.post(f"/workers/{worker}/stop")

    assert (stopped.status_code, stopped.get_json()["state"]) == (200, "stopped")
    assert stopped.get_json()["stopping_at"] is None


def test_a_limited_token_sees_the_workers_of_its_queues(api: Api, connection: psycopg.Connection) -> None:
    everything = add_live_worker(connection)
    mixed = add_live_worker(connection, queues=["other", "mail"])
    own = add_live_worker(connection, queues=["mail"])
    hidden = add_live_worker(connection, queues=["other"])
    [job] = insert(connection, "t", queue="mail", status="running", worker_id=mixed, attempt=1)
    insert(connection, "t", queue="other", status="running", worker_id=mixed, attempt=1)
    mine = api.holder_of(Scope.OPERATE, queues=["mail"])

    assert ids(mine.get("/workers")) == [own, mixed, everything]
    shown = mine.get(f"/workers/{mixed}").get_json()
    assert shown["queues"] == ["mail"]
    assert [job["id"] for job in shown["jobs"]] == [job]
    problem(mine.get(f"/workers/{hidden}"), 404, "worker-not-found")
    problem(mine.post(f"/workers/{hidden}/stop"), 404, "worker-not-found")
    problem(mine.post(f"/workers/{mixed}/stop"), 403, "limited-token")
    problem(mine.post(f"/workers/{everything}/stop"), 403, "limited-token")
    assert mine.post(f"/workers/{own}/stop").status_code == 200


def test_reading_is_not_stopping(api: Api, connection: psycopg.Connection) -> None:
    worker = add_live_worker(connection)
    reader = api.holder_of(Scope.READ)

    assert reader.get(f"/workers/{worker}").status_code == 200
    problem(reader.post(f"/workers/{worker}/stop"), 403, "missing-scope")
