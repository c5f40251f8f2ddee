"""Webhooks over the API; that messages arrive is in tests/integration/test_webhooks.py."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from pgtask.model.token import Scope
from tests.api_client import Api, problem
from tests.receiver import allow_loopback, verified
from tests.rows import number
from tests.site import answer, serving

Connection = psycopg.Connection[Any]

URL = "https://hooks.example.com/pgtask?a=b"


def create(api: Api, name: str = "w", **fields: Any) -> dict[str, Any]:
    """Makes a webhook."""
    made = api.post("/webhooks", {"name": name, "url": URL} | fields)
    assert (made.status_code, made.headers["Location"]) == (201, f"/api/v1/webhooks/{name}")
    found: dict[str, Any] = made.get_json()
    return found


def test_a_webhook_is_made_and_its_secret_shown_once(api: Api) -> None:
    made = create(api, statuses=["failed"], queues=["mail"])

    assert made.pop("secret").startswith("whsec_")
    assert (made["url"], made["statuses"], made["tasks"], made["queues"]) == (URL, ["failed"], None, ["mail"])
    assert api.get("/webhooks/w").get_json() == made
    assert api.get("/webhooks").get_json() == {"items": [made], "next_cursor": None}


def test_a_secret_is_not_kept_with_the_answer(api: Api, connection: Connection) -> None:
    body, key = {"name": "w", "url": URL}, {"Idempotency-Key": "k"}

    first, second = (api.post("/webhooks", body, headers=key) for _ in range(2))

    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.get_json() == first.get_json() | {"secret": None}
    assert number(connection, "SELECT count(*) FROM pgtask.idempotency_keys WHERE body LIKE '%%whsec%%'") == 0


def test_a_webhook_is_changed_by_who_knows_how_it_is(api: Api) -> None:
    create(api, tasks=["a"])
    tag = api.get("/webhooks/w").headers["ETag"]

    changed = api.put("/webhooks/w", {"url": "http://b.example.com", "queues": ["q"]}, headers={"If-Match": tag})

    found = changed.get_json()
    assert (found["url"], found["tasks"], found["queues"]) == ("http://b.example.com", None, ["q"])
    problem(api.put("/webhooks/w", {"url": URL}, headers={"If-Match": tag}), 412, "changed-meanwhile")
    problem(api.delete("/webhooks/w", headers={"If-Match": tag}), 412, "changed-meanwhile")


def test_a_webhook_is_paused_resumed_and_deleted(api: Api) -> None:
    create(api)

    for _ in range(2):
        assert api.post("/webhooks/w/pause").get_json()["paused_at"]
    for _ in range(2):
        assert api.post("/webhooks/w/resume").get_json()["paused_at"] is None
    assert api.delete("/webhooks/w").status_code == 204
    problem(api.delete("/webhooks/w"), 404, "webhook-not-found")


@pytest.mark.parametrize("path", ["", "/pause", "/resume", "/test"])
def test_a_webhook_that_is_not_there_is_a_problem(api: Api, path: str) -> None:
    problem(api.post(f"/webhooks/w{path}") if path else api.get("/webhooks/w"), 404, "webhook-not-found")


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"url": "ftp://example.com"}, "invalid-request"),
        ({"url": "https://user:password@example.com/"}, "invalid-request"),
        ({"url": "https://example.com:99999/"}, "invalid-webhook"),
        ({"statuses": ["running"]}, "invalid-request"),
        ({"statuses": []}, "invalid-request"),
        ({"name": "a/b"}, "invalid-request"),
        ({"colour": "red"}, "invalid-request"),
    ],
)
def test_what_cannot_be_a_webhook_is_refused(api: Api, fields: dict[str, Any], kind: str) -> None:
    problem(api.post("/webhooks", {"name": "w", "url": URL} | fields), 422, kind)


def test_a_name_is_given_once(api: Api) -> None:
    create(api)

    problem(api.post("/webhooks", {"name": "w", "url": URL}), 422, "invalid-webhook")


def test_only_who_may_do_everything_sees_webhooks(api: Api) -> None:
    create(api)
    problem(api.holder_of(Scope.OPERATE).get("/webhooks"), 403, "missing-scope")
    problem(api.holder_of(Scope.ADMIN, queues=["mail"]).get("/webhooks"), 403, "limited-token")


def test_changes_are_in_the_audit_without_the_secret(api: Api, connection: psycopg.Connection) -> None:
    secret = create(api)["secret"]
    api.put("/webhooks/w", {"url": "http://b.example.com"})

    rows = connection.execute("SELECT action, subject, details::text FROM pgtask.audit ORDER BY id").fetchall()

    assert [row[:2] for row in rows] == [("create_webhook", "w"), ("change_webhook", "w")]
    assert URL in rows[1][2]
    assert not any(secret in str(row) for row in rows)


def test_a_webhook_is_tried_out(api: Api, connection: psycopg.Connection) -> None:
    with serving() as site:
        secret = create(api, url=f"http://127.0.0.1:{site.port}/hook")["secret"]
        refused = api.post("/webhooks/w/test").get_json()
        assert (refused["delivered"], site.requests) == (False, [])
        allow_loopback(connection)
        site.answers["/hook"] = answer(202)

        assert api.post("/webhooks/w/test").get_json() == {"delivered": True, "status": 202, "error": None}
        assert verified(site.requests[0], secret)["type"] == "test"
    assert number(connection, "SELECT failures FROM pgtask.webhooks") == 0
