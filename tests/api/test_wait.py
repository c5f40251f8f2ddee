"""GET /jobs/{id}?wait: the answer comes with the end of the job."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from pgtask.web.waiting import Waiters

from tests.api_client import Api, made_api, problem
from tests.command_line import add_run
from tests.rows import insert, number
from tests.support import eventually


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def waiters(api: Api) -> Waiters:
    found: Waiters = api.app.extensions["pgtask.waiters"]
    return found


def end(connection: psycopg.Connection, id: int) -> None:
    with connection.transaction():
        connection.execute("DELETE FROM pgtask.jobs WHERE id = %s", [id])
        add_run(connection, id)


def asked(pool: ThreadPoolExecutor, api: Api, id: int, count: int) -> list[Future[Any]]:
    """So many requests that wait."""
    requests = [pool.submit(lambda: api.get(f"/jobs/{id}?wait=60").get_json()) for _ in range(count)]
    eventually(lambda: waiters(api)._waiting.total() == count)
    return requests


def test_all_who_wait_hear_of_the_end(api: Api, connection: psycopg.Connection, threads: ThreadPoolExecutor) -> None:
    one, other = insert(connection, "echo", count=2)
    requests = asked(threads, api, one, 3)

    end(connection, one)

    assert [request.result(30)["status"] for request in requests] == ["completed"] * 3
    assert api.get(f"/jobs/{other}").get_json()["status"] == "pending"
    assert waiters(api)._waiting.total() == 0


def test_a_request_that_waits_holds_no_connection(
    api: Api, connection: psycopg.Connection, threads: ThreadPoolExecutor
) -> None:
    [id] = insert(connection, "echo")
    requests = asked(threads, api, id, 4)

    pool = api.app.extensions["pgtask"]._pool
    eventually(lambda: pool.get_stats()["pool_available"] == pool.get_stats()["pool_size"])
    assert number(connection, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'") == 0

    end(connection, id)
    assert [request.result(30)["status"] for request in requests] == ["completed"] * 4


def test_when_too_many_wait_the_next_is_answered_at_once(
    api: Api, connection: psycopg.Connection, threads: ThreadPoolExecutor
) -> None:
    [id] = insert(connection, "echo")
    requests = asked(threads, api, id, waiters(api)._most)

    assert api.get(f"/jobs/{id}?wait=60").get_json()["status"] == "pending"

    end(connection, id)
    assert [request.result(30)["status"] for request in requests] == ["completed"] * len(requests)


def test_who_has_waited_long_enough_hears_how_it_stands(api: Api, connection: psycopg.Connection) -> None:
    [id] = insert(connection, "echo")

    assert api.get(f"/jobs/{id}?wait=0.01").get_json()["status"] == "pending"


def test_an_ended_job_is_not_waited_for(api: Api, connection: psycopg.Connection) -> None:
    add_run(connection, 7)

    assert api.get("/jobs/7?wait=60").get_json()["status"] == "completed"


def test_a_job_that_is_deleted_meanwhile_is_not_there(
    api: Api, connection: psycopg.Connection, threads: ThreadPoolExecutor
) -> None:
    [id] = insert(connection, "echo")
    request = threads.submit(lambda: api.get(f"/jobs/{id}?wait=60"))
    eventually(lambda: waiters(api)._waiting.total() == 1)

    connection.execute("DELETE FROM pgtask.jobs WHERE id = %s", [id])

    problem(request.result(30), 404, "job-not-found")


@pytest.mark.parametrize("wait", ["61", "-1", "soon", "inf"])
def test_no_request_waits_for_ever(wait: str, api: Api, connection: psycopg.Connection) -> None:
    [id] = insert(connection, "echo")

    problem(api.get(f"/jobs/{id}?wait={wait}"), 422, "invalid-request")


def test_who_waits_is_answered_when_the_server_is_to_end(
    api: Api, connection: psycopg.Connection, threads: ThreadPoolExecutor
) -> None:
    [id] = insert(connection, "echo")
    requests = asked(threads, api, id, 2)

    api.app.extensions["pgtask.waiters"].dismiss()

    assert [request.result(30)["status"] for request in requests] == ["pending"] * 2


@pytest.mark.parametrize("count", [4, 8, 16, 64])
def test_what_takes_long_leaves_threads_for_the_rest(count: int, database: str) -> None:
    api = made_api(database, server_threads=count)
    extensions = api.app.extensions
    try:
        waits, streams = extensions["pgtask.waiters"]._most, extensions["pgtask.broadcaster"]._most
        assert min(waits, streams, extensions["pgtask.counter"]._places) > 0
        assert waits + streams + extensions["pgtask.counter"]._places < count
    finally:
        extensions["pgtask.counter"].close()
        extensions["pgtask"].close()
