"""What holds for every operation: rights, problems, request ids, the document."""

from __future__ import annotations

import psycopg
import pytest
from openapi_spec_validator import validate

from pgtask.model.token import Scope
from tests.api_client import Api, document, problem
from tests.rows import insert


def test_the_document_is_valid(api: Api) -> None:
    validate(document(api.app))


def test_a_job_can_be_read(api: Api, connection: psycopg.Connection) -> None:
    [id] = insert(connection, "echo", payload={"text": "hi"})

    answer = api.get(f"/jobs/{id}")
    job = answer.get_json()

    assert answer.status_code == 200
    assert (job["task"], job["payload"]) == ("echo", {"text": "hi"})
    assert api.get(f"/tasks/{id}").get_json() == job


def test_what_has_not_changed_is_not_sent_again(api: Api, connection: psycopg.Connection) -> None:
    [id] = insert(connection, "echo")
    tag = api.get(f"/jobs/{id}").headers["ETag"]

    again = api.get(f"/jobs/{id}", headers={"If-None-Match": tag})

    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize(
    ("authorization", "kind"),
    [("", "missing-token"), ("Bearer pgt_nonsense", "invalid-token"), ("Basic YTpi", "invalid-token")],
)
def test_without_a_token_nothing_is_shown(api: Api, authorization: str, kind: str) -> None:
    answer = api.get("/jobs/1", headers={"Authorization": authorization})

    problem(answer, 401, kind)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_permits_what_its_scopes_say(api: Api) -> None:
    problem(api.holder_of(Scope.ENQUEUE).get("/jobs/1"), 403, "missing-scope")
    problem(api.holder_of(Scope.OPERATE).get("/jobs/1"), 404, "job-not-found")


def test_a_job_of_a_queue_that_is_not_the_callers_is_not_there(api: Api, connection: psycopg.Connection) -> None:
    [id] = insert(connection, "echo", queue="mail")

    assert api.holder_of(Scope.READ, queues=["mail"]).get(f"/jobs/{id}").status_code == 200
    problem(api.holder_of(Scope.READ, queues=["other"]).get(f"/jobs/{id}"), 404, "job-not-found")


@pytest.mark.parametrize("path", ["/nothing", "/jobs/0", "/jobs/99999999999999999999", "/jobs/x"])
def test_what_is_not_there_is_a_problem(api: Api, path: str) -> None:
    problem(api.get(path), 404, "not-found")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_a_name_that_cannot_be_is_not_there_by_any_method(api: Api, method: str) -> None:
    problem(api(method, f"/queues/{'q' * 257}", None if method in {"GET", "DELETE"} else {}), 404, "not-found")


def test_a_word_with_a_path_of_its_own_is_no_name(api: Api) -> None:
    answer = api.get("//api/v1/schedules/preview")

    problem(answer, 405, "method-not-allowed")
    assert {"POST", "GET", "PUT"} & set(answer.headers["Allow"].split(", ")) == {"POST"}


def test_a_method_that_is_not_offered_is_a_problem(api: Api) -> None:
    answer = api.put("/jobs/1", {})

    problem(answer, 405, "method-not-allowed")
    assert "GET" in answer.headers["Allow"]


def test_a_query_that_is_not_known_is_refused(api: Api) -> None:
    for place in ("/jobs/1", "/jobs", "/me", "/queues"):
        refused = problem(api.get(f"{place}?colour=red"), 422, "invalid-request")
        assert [error["pointer"] for error in refused["errors"]] == ["/colour"], place
    assert problem(api.get("/jobs?limit=1&limit=2"), 422, "invalid-request")["errors"][0]["pointer"] == "/limit"


def test_a_request_keeps_its_own_id(api: Api) -> None:
    assert api.get("/jobs/1", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    assert problem(api.get("/jobs/1", headers={"X-Request-Id": "<script>"}), 404, "job-not-found")[
        "request_id"
    ].isalnum()


def test_every_operation_but_the_document_asks_for_a_token(api: Api) -> None:
    nobody = api.anonymous()
    for rule in api.app.url_map.iter_rules():
        if rule.endpoint in api.app.config["PGTASK_OPEN"]:
            continue
        path = rule.rule
        for argument in rule.arguments:
            path = path.replace(f"<number:{argument}>", "1").replace(f"<name:{argument}>", "x")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            answer = nobody(method, f"/{path}")
            assert answer.status_code == 401, f"{method} {rule.rule}"


def test_a_body_where_none_is_read_is_refused(api: Api) -> None:
    problem(api.post("/queues/default/pause", {"for": "1h"}), 422, "invalid-request")
    assert api.get("/queues/default").get_json()["paused_at"] is None
    assert api.post("/queues/default/pause", {}).status_code == 200
