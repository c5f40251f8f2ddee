"""A database that cannot do its work: a request waits a moment for what is locked, and is then told to come back."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from pgtask.web import app

from pgtask.model.token import Scope
from tests.api_client import Api, made_api, problem


@pytest.fixture(params=[False, True], ids=["direct", "pooled"])
def hasty(request: pytest.FixtureRequest, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The API, which waits for locks no longer than a moment."""
    monkeypatch.setitem(app._LIMITS, "lock_timeout", "50ms")
    made = made_api(database, pooled=request.param)
    made.get("/me")
    yield made
    made.app.extensions["pgtask"].close()


def test_a_locked_table_is_waited_for_no_longer_than_a_moment(hasty: Api, database: str) -> None:
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE pgtask.jobs")
        refusals = [hasty.post("/jobs", {"task": "echo"}), hasty.get("/jobs"), hasty.get("/jobs/1?wait=1")]

    for refusal in refusals:
        problem(refusal, 503, "busy")
        assert refusal.headers["Retry-After"] == "2"
    assert hasty.post("/jobs", {"task": "echo"}).status_code == 201


def test_rates_and_tokens_that_are_locked_are_no_fault(hasty: Api, database: str) -> None:
    other_token = hasty.holder_of(Scope.READ)
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE pgtask.request_rates, pgtask.tokens")
        problem(other_token.get("/me"), 503, "busy")
        assert hasty("GET", "//health").status_code == 200


def test_a_request_with_a_key_that_another_works_on_is_told_so(hasty: Api, database: str) -> None:
    with psycopg.connect(database) as other:
        other.execute("INSERT INTO pgtask.idempotency_keys (actor, key, request_hash) VALUES ('all', 'k', '')")
        refused = hasty.post("/jobs", {"task": "echo"}, headers={"Idempotency-Key": "k"})
        other.rollback()

    problem(refused, 409, "request-in-progress")
    assert refused.headers["Retry-After"] == "1"
    assert hasty.post("/jobs", {"task": "echo"}, headers={"Idempotency-Key": "k"}).status_code == 201


def test_a_full_disk_is_no_fault_of_the_request(api: Api, connection: psycopg.Connection) -> None:
    connection.execute(
        "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$"
    )
    connection.execute("CREATE TRIGGER fill BEFORE INSERT ON pgtask.jobs EXECUTE FUNCTION fill()")

    refused = api.post("/jobs", {"task": "echo"})

    assert "No space left" in problem(refused, 503, "database-unavailable")["detail"]
    assert refused.headers["Retry-After"] == "2"


def test_a_token_is_good_while_somebody_holds_its_row(api: Api, database: str) -> None:
    with psycopg.connect(database) as other:
        other.execute("SELECT FROM pgtask.tokens FOR UPDATE")
        assert api.get("/me").status_code == 200
