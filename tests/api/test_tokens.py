"""Tokens, who one is, and the audit."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from pgtask.web import create_app

from pgtask.config import load_settings
from pgtask.database import partitions
from pgtask.model.token import Scope
from tests.api_client import Api, problem
from tests.rows import number


def test_a_token_is_made_shown_once_used_and_revoked(api: Api) -> None:
    made = api.post("/tokens", {"name": "billing", "scopes": ["read"], "queues": ["mail"], "lifetime": "2h"})
    assert made.status_code == 201
    token = made.get_json()
    place = made.headers["Location"].removeprefix("/api/v1")
    holder = Api(api.app, api.url, token["token"])

    assert holder.get("/me").get_json() == {
        "name": "billing",
        "scopes": ["read"],
        "queues": ["mail"],
        "rate_limit": None,
    }
    shown = api.get(place).get_json()
    assert shown == {name: value for name, value in token.items() if name != "token"} | {
        "last_used_at": shown["last_used_at"],
        "last_used_from": "127.0.0.1",
    }
    assert shown["last_used_at"] is not None
    assert shown["created_by"] == "all"

    assert api.delete(place).status_code == 204
    problem(api.get(place), 404, "token-not-found")
    assert api.get("/tokens").get_json()["items"][0]["revoked_by"] == "all"
    assert api.delete(place).status_code == 204, "what is revoked stays so"
    # Another process remembers nothing.
    other = create_app(load_settings({"database_url": api.url}))
    problem(Api(other, api.url, holder.token).get("/me"), 401, "invalid-token")
    other.extensions["pgtask"].close()


def test_a_repeated_request_makes_no_second_token_and_does_not_show_the_first(
    api: Api, connection: psycopg.Connection
) -> None:
    body = {"name": "once", "scopes": ["enqueue"]}
    first = api.post("/tokens", body, headers={"Idempotency-Key": "k"})
    second = api.post("/tokens", body, headers={"Idempotency-Key": "k"})

    assert second.get_json() == first.get_json() | {"token": None}
    assert second.headers["Idempotency-Replayed"] == "true"
    kept = connection.execute("SELECT body FROM pgtask.idempotency_keys").fetchone()
    assert kept is not None
    assert first.get_json()["token"] not in kept[0]
    assert number(connection, "SELECT count(*) FROM pgtask.tokens WHERE name = 'once'") == 1


def test_names_are_unique(api: Api) -> None:
    body = {"name": "twice", "scopes": ["read"]}
    api.post("/tokens", body)

    assert "another name" in problem(api.post("/tokens", body), 409, "token-exists")["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "scopes": ["read"]},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["root"]},
        {"name": "x", "scopes": ["read"], "rate_limit": 0},
        {"name": "x", "scopes": ["read"], "queues": []},
        {"name": "x", "scopes": ["read"], "digest": "y"},
    ],
    ids=str,
)
def test_what_no_token_can_be_is_refused(api: Api, body: dict[str, object]) -> None:
    problem(api.post("/tokens", body), 422, "invalid-request")


def test_lists_go_on_from_their_cursor(api: Api) -> None:
    for name in "abc":
        api.post("/tokens", {"name": name, "scopes": ["read"]})

    first = api.get("/tokens?limit=3").get_json()
    second = api.get(f"/tokens?limit=3&cursor={first['next_cursor']}").get_json()

    assert [token["name"] for token in first["items"] + second["items"]] == ["c", "b", "a", "all"]
    assert second["next_cursor"] is None


@pytest.mark.parametrize("path", ["/tokens", "/tokens/1", "/audit"])
def test_only_who_administers_all_sees_tokens_and_audit(api: Api, path: str) -> None:
    problem(api.holder_of(Scope.OPERATE, Scope.READ, Scope.ENQUEUE, Scope.WORKER).get(path), 403, "missing-scope")
    problem(api.holder_of(Scope.ADMIN, queues=["mail"]).get(path), 403, "limited-token")


def test_a_limited_administrator_makes_no_unlimited_token(api: Api, connection: psycopg.Connection) -> None:
    limited = api.holder_of(Scope.ADMIN, queues=["mail"])

    problem(limited.post("/tokens", {"name": "more", "scopes": ["admin"]}), 403, "limited-token")
    assert number(connection, "SELECT count(*) FROM pgtask.tokens WHERE name = 'more'") == 0


def test_a_token_that_is_not_there(api: Api) -> None:
    problem(api.get("/tokens/99"), 404, "token-not-found")
    problem(api.delete("/tokens/9999999999"), 404, "token-not-found")


def test_any_scope_suffices_to_know_who_one_is(api: Api) -> None:
    for scope in Scope:
        assert api.holder_of(scope).get("/me").get_json()["scopes"] == [scope]
    problem(api.anonymous().get("/me"), 401, "missing-token")


def test_the_audit_is_found_by_who_what_and_when(api: Api, connection: psycopg.Connection) -> None:
    for name in ("a", "b"):
        api.post("/tokens", {"name": name, "scopes": ["read"]}, headers={"X-Request-Id": f"request-{name}"})
    connection.execute(
        "INSERT INTO pgtask.audit (at, actor, action, subject) VALUES (now() - interval '1 day', 'old', 'x', 'y')"
    )

    def found(query: str) -> list[str]:
        return [change["subject"] for change in api.get(f"/audit?{query}").get_json()["items"]]

    assert found("") == ["y", "b", "a"]
    assert found("actor=old") == ["y"]
    assert found("action=create_token") == ["b", "a"]
    assert found("subject=b") == ["b"]
    assert found("since=2020-01-01T00:00:00Z&limit=1") == ["y"]
    assert found("actor=nobody") == []
    page = api.get("/audit?action=create_token&limit=1").get_json()
    assert found(f"action=create_token&cursor={page['next_cursor']}") == ["a"]
    (change,) = api.get("/audit?subject=a").get_json()["items"]
    assert (change["actor"], change["address"], change["request_id"]) == ("all", "127.0.0.1", "request-a")
    assert change["details"]["scopes"] == ["read"]


def add_old(connection: psycopg.Connection, days: int) -> None:
    """Rows of so many days ago in all that the API keeps."""
    connection.execute(
        "INSERT INTO pgtask.audit (at, actor, action) SELECT now() - %s * interval '1 day', 'a', 'b'", [days]
    )
    connection.execute(
        "INSERT INTO pgtask.idempotency_keys (actor, key, request_hash, created_at)"
        " VALUES ('a', 'k' || %(days)s, '', now() - %(days)s * interval '1 day')",
        {"days": days},
    )
    connection.execute(
        "INSERT INTO pgtask.tokens (name, prefix, digest, scopes, revoked_at)"
        " VALUES ('t' || %(days)s, %(days)s, sha256(''), '{read}', now() - %(days)s * interval '1 day')",
        {"days": days},
    )
    connection.execute(
        "INSERT INTO pgtask.request_rates (caller, free_at) VALUES (%(days)s, now() - %(days)s * interval '1 day')",
        {"days": days},
    )


@pytest.mark.parametrize(("setting", "kept"), [(None, 1), ("audit_retention_days", 2)])
def test_what_is_past_its_retention_is_pruned_in_batches(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, setting: str | None, kept: int
) -> None:
    monkeypatch.setattr(partitions, "BATCH", 2)
    for days in (103, 102, 101, 100, 0):
        add_old(connection, days)
    if setting is not None:
        connection.execute("UPDATE pgtask.settings SET value = '100.5' WHERE name = %s", [setting])

    done = partitions.maintain(connection)

    assert done.complete
    deleted = (done.deleted_audit, done.deleted_answers, done.deleted_tokens, done.deleted_rates)
    assert deleted == (5 - kept, 4, 5 - kept, 4)
    left: Callable[[str], int] = lambda table: number(connection, f"SELECT count(*) FROM pgtask.{table}")  # noqa: E731
    assert [left(table) for table in ("audit", "tokens", "idempotency_keys", "request_rates")] == [kept, kept, 1, 1]
    assert partitions.maintain(connection).deleted_audit == 0
