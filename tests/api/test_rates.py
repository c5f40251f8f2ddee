"""How often callers may ask: exact over processes, cheap for the database, and told in headers."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from pgtask.web.rates import Rates, address_key

from pgtask.database import request_rates
from pgtask.database.pool import Pool
from pgtask.database.request_rates import Permits
from pgtask.model.token import Scope
from tests.api_client import Api, made_api, problem
from tests.rows import number


class Clock:
    """The time of a process, which stands unless it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def pool(database: str) -> Iterator[Pool]:
    made = Pool(database)
    yield made
    made.close()


def spend(connection: psycopg.Connection, seconds: float) -> None:
    """Makes time pass in the database."""
    connection.execute("UPDATE pgtask.request_rates SET free_at = free_at - %s * interval '1 second'", [seconds])


def test_a_caller_has_its_burst_and_then_its_rate(connection: psycopg.Connection) -> None:
    # So slow that the time the test takes earns nothing.
    def take(wanted: int) -> Permits:
        return request_rates.take(connection, "c", rate=0.01, burst=5, wanted=wanted)

    assert (take(2).granted, take(2).granted, take(2).granted) == (2, 2, 1)
    refused = take(1)
    assert (refused.granted, refused.left) == (0, 0)
    assert 90 < refused.wait <= 100
    spend(connection, 200)
    assert take(5).granted == 2
    spend(connection, 10_000)
    assert take(50).granted == 5, "what was not used does not pile up"


def test_two_processes_together_grant_no_more_than_the_rate(pool: Pool) -> None:
    processes = [Rates(pool, Clock()), Rates(pool, Clock())]

    allowed = [rates.take("c", 0.01, 10).allowed for _ in range(10) for rates in processes]

    assert allowed == [True] * 10 + [False] * 10


def test_permits_are_fetched_a_few_at_a_time(pool: Pool, connection: psycopg.Connection) -> None:
    rates = Rates(pool, Clock())
    asked = 0
    for _ in range(100):
        before = connection.execute("SELECT free_at FROM pgtask.request_rates").fetchone()
        assert rates.take("c", 1000).allowed
        asked += connection.execute("SELECT free_at FROM pgtask.request_rates").fetchone() != before

    assert asked == 2, "fifty at once"


def test_permits_that_were_not_spent_are_given_up(pool: Pool, connection: psycopg.Connection) -> None:
    clock = Clock()
    rates = Rates(pool, clock)
    rates.take("c", 1000)
    before = connection.execute("SELECT free_at FROM pgtask.request_rates").fetchone()
    clock.now += 2

    rates.take("c", 1000)

    assert connection.execute("SELECT free_at FROM pgtask.request_rates").fetchone() != before


def test_a_flood_is_refused_without_asking_the_database(pool: Pool, connection: psycopg.Connection) -> None:
    clock = Clock()
    rates = Rates(pool, clock)
    assert [rates.take("c", 0.01).allowed for _ in range(3)] == [True, False, False]
    connection.execute("TRUNCATE pgtask.request_rates")
    assert not rates.take("c", 0.01).allowed
    clock.now += 2
    assert rates.take("c", 0.01).allowed


def test_who_asks_too_often_is_told_when_to_come_back(api: Api) -> None:
    slow = api.holder_of(Scope.READ, rate_limit=0.01)

    answer = slow.get("/me")
    assert answer.headers["RateLimit-Policy"] == '"requests";q=1;w=1'
    assert answer.headers["RateLimit"].startswith('"requests";r=0;')
    refused = slow.get("/me")
    problem(refused, 429, "too-many-requests")
    assert 90 < int(refused.headers["Retry-After"]) <= 100
    assert api.get("/me").status_code == 200, "others are not concerned"


def test_a_used_up_rate_costs_no_worker_its_lease(api: Api) -> None:
    workers = api.holder_of(Scope.WORKER, rate_limit=1.0)
    worker = workers.post("/workers/register", {"tasks": ["t"]}).get_json()["worker_id"]
    while workers.post("/workers/fetch", {"worker_id": worker, "wait": 0}).status_code != 429:
        pass

    assert workers.post("/workers/heartbeat", {"worker_id": worker, "jobs": []}).status_code == 200


def test_strangers_are_refused_more_and_more_shortly(database: str, connection: psycopg.Connection) -> None:
    api = made_api(database, failure_rate=0.1)
    try:
        nobody = api.anonymous()
        problem(nobody.get("/me"), 401, "missing-token")
        problem(nobody.get("/me"), 429, "too-many-requests")
        assert api.get("/me").status_code == 200, "who has a token does not suffer for it"
        assert number(connection, "SELECT count(*) FROM pgtask.request_rates WHERE caller = 'address 127.0.0.1'") == 1
    finally:
        api.app.extensions["pgtask"].close()


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("203.0.113.9", "address 203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "address 2001:db8:1:2::/64"),
        ("fe80::1%eth0", "address fe80::/64"),
        ("", "address unknown"),
        (None, "address unknown"),
    ],
)
def test_addresses_of_one_holder_count_as_one(address: str | None, key: str) -> None:
    assert address_key(address) == key
