"""The security rules S1 to S14 as far as they touch the API.

S3 is about policies on rows, of which DESIGN.md promises nothing: here tokens are limited to queues, see S8. S5 is
about commands, which are named in a file of the worker that the API cannot write: tests/integration/
test_builtin_command.py. S6 is here about webhooks; tests/integration/test_builtin_http.py is about the HTTP task. S9 is
about sessions of pages.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask
from packaging.requirements import Requirement
from pgtask.web import app
from pgtask.web.listening import Place, only_here
from psycopg.types.json import Jsonb
from werkzeug.test import TestResponse

from pgtask.cli import server
from pgtask.config import load_settings
from pgtask.database import tokens
from pgtask.model.errors import ConfigurationError
from pgtask.model.token import Scope
from tests.api_client import ALL, Api, document, made_api, problem
from tests.command_line import add_live_worker, add_run
from tests.receiver import allow_loopback
from tests.rows import insert, number
from tests.site import answer as answering
from tests.site import serving

WEB = Path(__file__).parents[2] / "web"


def operations(api: Api) -> Iterator[tuple[str, str]]:
    """Method and path of every operation, with something in place of its parameters."""
    for path, methods in document(api.app)["paths"].items():
        for method, operation in methods.items():
            place = path
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    kind = parameter["schema"].get("type")
                    place = place.replace(f"{{{parameter['name']}}}", "1" if kind == "integer" else "x")
            yield method.upper(), place


def send(api: Api, data: bytes, **headers: str) -> TestResponse:
    """A body as it is, to an operation that takes one."""
    given = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"} | headers
    return api.app.test_client().post("/api/v1/tokens", data=data, headers=given)


def test_s1_closed_by_default_every_operation_refuses_who_has_no_token(api: Api) -> None:
    unsecured = [
        path
        for path, methods in document(api.app)["paths"].items()
        for operation in methods.values()
        if not operation["security"]
    ]
    nobody = api.anonymous()
    for method, path in operations(api):
        if path not in unsecured:
            answer = nobody(method, f"/{path}", data=b"not read")
            problem(answer, 401, "missing-token")


def test_s1_an_endpoint_that_names_no_scope_is_closed(api: Api) -> None:
    api.app.add_url_rule("/forgotten", "forgotten", lambda: "open")

    problem(api.anonymous().get("//forgotten"), 401, "missing-token")
    problem(api.holder_of(Scope.READ).get("//forgotten"), 403, "missing-scope")


def test_s1_rights_are_checked_before_anything_of_the_body(api: Api) -> None:
    answer = send(Api(api.app, api.url, None), b"[" * 100, Authorization="")

    problem(answer, 401, "missing-token")
    problem(send(api.holder_of(Scope.READ), b"[" * 100), 403, "missing-scope")


@pytest.mark.parametrize(
    ("place", "here"),
    [
        ("127.0.0.1:0", True),
        ("127.8.8.8:0", True),
        ("[::1]:0", True),
        ("localhost:0", True),
        ("0.0.0.0:0", False),
        (":0", False),
        ("[::]:0", False),
    ],
)
def test_s1_it_is_known_who_can_reach_a_socket(place: str, here: bool) -> None:
    with Place.parse(place).listen() as listener:
        assert only_here(listener) is here


@pytest.mark.parametrize("there", ["nothing", "expired", "revoked", "live"])
@pytest.mark.parametrize("reached_by", ["this machine", "others"])
def test_s1_a_server_for_others_starts_only_with_a_token_that_is_good(
    database: str, connection: psycopg.Connection, there: str, reached_by: str
) -> None:
    if there != "nothing":
        tokens.create_token(connection, "one", ALL, lifetime=3600)
        past = {"expired": "expires_at", "revoked": "revoked_at"}.get(there)
        if past is not None:
            connection.execute(f"UPDATE pgtask.tokens SET {past} = now() - interval '1 second'".encode())
    only_for_this = reached_by == "this machine"
    starts = only_for_this or there == "live"

    with contextlib.nullcontext() if starts else pytest.raises(ConfigurationError, match="There is no token"):
        server._check(load_settings({"database_url": database}), database, only_here=only_for_this)


@pytest.mark.parametrize("place", ["", "8080", "host", "a:b", "1.2.3.4:70000", "unix:relative", "http://x:80", "[::1]"])
def test_s1_what_is_no_address_is_refused(place: str) -> None:
    with pytest.raises(ConfigurationError, match="is no address to listen at"):
        Place.parse(place)


def test_s2_the_servers_role_suffices_for_the_api_and_not_to_forge_the_audit(
    members: dict[str, str],
) -> None:
    api = made_api(members["server"])
    try:
        assert api.get("/me").status_code == 200
        made = api.post("/tokens", {"name": "s2", "scopes": ["read"]}, headers={"Idempotency-Key": "k"})
        assert made.status_code == 201
        assert api.get("/audit").get_json()["items"][0]["subject"] == "s2"
        assert api.delete(f"/tokens/{made.get_json()['id']}").status_code == 204
    finally:
        api.app.extensions["pgtask"].close()
    with psycopg.connect(members["server"], autocommit=True) as connection:
        for statement in ("DELETE FROM pgtask.audit", "UPDATE pgtask.audit SET actor = 'x'", "TRUNCATE pgtask.audit"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_s2_what_the_server_owns_cannot_be_given(api: Api, connection: psycopg.Connection) -> None:
    for field, value in (("id", 7), ("status", "completed"), ("attempt", 3), ("worker_id", 1), ("created_at", "now")):
        found = problem(api.post("/jobs", {"task": "echo", field: value}), 422, "invalid-request")
        assert found["errors"][0]["pointer"] == f"/{field}"
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 0


def test_s4_nothing_from_a_request_is_run() -> None:
    """No eval, no pickle, no import by a name that data holds."""
    wrong = {"eval", "exec", "compile", "__import__", "import_module"}
    for file in WEB.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                plain = isinstance(node.func, ast.Name) or name == "import_module"
                assert not (plain and name in wrong), f"{file.name}:{node.lineno}"
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "marshal", "shelve"}, file.name


INSIDE = ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "0x7f.1"]


@pytest.mark.parametrize("host", INSIDE)
def test_s6_a_webhook_reaches_nothing_inside(api: Api, host: str) -> None:
    with serving() as site:
        made = api.post("/webhooks", {"name": "w", "url": f"http://{host}:{site.port}/"})
        if made.status_code != 422:
            assert api.post("/webhooks/w/test").get_json()["delivered"] is False
        assert site.requests == []


def test_s6_a_webhook_follows_no_redirect_and_speaks_http_alone(api: Api, connection: psycopg.Connection) -> None:
    for url in ("file:///etc/passwd", "ftp://example.com/", "gopher://example.com/", "http://u:p@example.com/"):
        problem(api.post("/webhooks", {"name": "w", "url": url}), 422, "invalid-request")
    allow_loopback(connection)
    with serving() as site:
        site.answers["/hook"] = answering(302, Location="/inside")
        api.post("/webhooks", {"name": "w", "url": f"http://127.0.0.1:{site.port}/hook"})

        assert api.post("/webhooks/w/test").get_json()["delivered"] is False
        assert [request.path for request in site.requests] == ["/hook"]


def test_s7_a_token_is_stored_as_its_hash_alone(api: Api, connection: psycopg.Connection) -> None:
    text = api.post("/tokens", {"name": "s7", "scopes": ["read"]}, headers={"Idempotency-Key": "k"}).get_json()["token"]
    secret = text.split("_", 2)[2]

    for table in ("tokens", "audit", "idempotency_keys", "request_rates"):
        rows = connection.execute(f"SELECT t::text FROM pgtask.{table} t".encode()).fetchall()
        assert secret not in json.dumps(rows), table
    assert secret not in api.get("/tokens").get_data(as_text=True)
    assert secret not in api.get("/audit").get_data(as_text=True)


def test_s7_errors_and_logs_tell_no_secrets(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    wrong = "pgt_12345678_" + "s" * 43
    answer = api.get("/me?token=hush", headers={"Authorization": f"Bearer {wrong}", "Cookie": "session=hush"})

    assert "sssss" not in answer.get_data(as_text=True)
    assert "sssss" not in caplog.text
    assert "hush" not in caplog.text
    assert str(api.token) not in caplog.text


def test_s7_a_fault_of_the_server_tells_the_caller_nothing_but_its_number(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the password is hush")

    monkeypatch.setattr(tokens, "list_tokens", fail)
    found = problem(api.get("/tokens"), 500, "internal-error")

    assert "hush" not in json.dumps(found)
    assert found["request_id"] in caplog.text


def test_s7_secrets_in_jobs_are_for_those_who_may_change_them(api: Api, connection: psycopg.Connection) -> None:
    worker = add_live_worker(connection)
    payload = {"to": "a@b.c", "smtp": {"password": "hush"}, "url": "https://u:hush@host/x", "max_tokens": 5}
    insert(connection, "echo", payload, status="running", worker_id=worker, attempt=1)
    error = "cannot reach amqp://u:hush@host"
    add_run(connection, 99, "failed", payload=Jsonb(payload), result=Jsonb({"token": "hush"}), error=error)
    connection.execute(
        "INSERT INTO pgtask.job_logs (job_id, attempt, line, level, message) VALUES (99, 1, 1, 'info', %s)", [error]
    )
    made = api.post("/schedules", {"name": "s", "expression": "@daily", "task": "echo", "payload": payload})
    assert made.status_code == 201
    reader, operator = api.holder_of(Scope.READ), api.holder_of(Scope.READ, Scope.OPERATE)
    places = (
        *("/jobs/1", "/jobs/99", "/jobs/99/runs", "/jobs/99/logs", "/dead-letters", f"/workers/{worker}"),
        *("/jobs?include=payload,result,traceback", "/schedules", "/schedules/s"),
    )

    for place in places:
        read, operated = reader.get(place), operator.get(place)
        assert (read.status_code, operated.status_code) == (200, 200), place
        assert "hush" in operated.get_data(as_text=True), place
        assert "hush" not in read.get_data(as_text=True), place
    assert reader.get("/jobs/1").get_json()["payload"] == {
        "to": "a@b.c",
        "smtp": {"password": "[hidden]"},
        "url": "https://u:[hidden]@host/x",
        "max_tokens": 5,
    }


def test_s8_what_is_of_another_queue_is_not_there(api: Api, connection: psycopg.Connection) -> None:
    [id] = insert(connection, "echo", queue="mail")
    other = api.holder_of(Scope.READ, queues=["other"])

    hidden = problem(other.get(f"/jobs/{id}"), 404, "job-not-found")
    absent = problem(other.get(f"/jobs/{id + 1000}"), 404, "job-not-found")
    assert hidden["detail"].replace(str(id), "N") == absent["detail"].replace(str(id + 1000), "N")


def test_s8_a_refused_retry_names_no_job_of_another_queue(api: Api, connection: psycopg.Connection) -> None:
    add_run(connection, 1000, "failed", queue="mail", unique_key="k")
    [holder] = insert(connection, "echo", queue="other", unique_key="k", id=777_777)
    limited = api.holder_of(Scope.OPERATE, queues=["mail"])

    for answer in (limited.post("/jobs/1000/retry"), limited.post("/jobs/retry", {"ids": [1000]})):
        assert str(holder) not in answer.get_data(as_text=True)
        assert "unique key" in answer.get_data(as_text=True)
    assert str(holder) in api.post("/jobs/1000/retry").get_data(as_text=True)


def test_s8_no_operation_tells_of_another_queue_or_changes_it(api: Api, connection: psycopg.Connection) -> None:
    assert api.post("/queues", {"name": "hidden-queue", "weight": 2}).status_code == 201
    schedule = {"name": "hidden-schedule", "task": "hidden-task", "queue": "hidden-queue", "cron": "0 0 1 1 *"}
    assert api.post("/schedules", schedule).status_code == 201
    insert(connection, "hidden-task", {"a": "hidden-payload"}, queue="hidden-queue", tags=["hidden-tag"])
    [live] = [row[0] for row in connection.execute("SELECT id FROM pgtask.jobs")]
    add_run(connection, 1000, "failed", queue="hidden-queue", task="hidden-task", error="hidden-error")
    before = standing(connection)
    scopes = (Scope.READ, Scope.ENQUEUE, Scope.OPERATE, Scope.WORKER)
    other = api.holder_of(*scopes, queues=["other"], rate_limit=100_000)

    told: dict[tuple[str, str, str], bool] = {}
    for method, path in templates(api):
        if path.endswith("/events"):
            # test_events.py looks at that.
            continue
        for name, id in (("hidden-queue", str(live)), ("hidden-schedule", "1000"), ("hidden-schedule", "1")):
            for body in [None] if method == "GET" else TRIED:
                answer = other.app.test_client().open(
                    path.replace("{name}", name).replace("{id}", name if "schedules" in path else id),
                    method=method,
                    headers={"Authorization": f"Bearer {other.token}"},
                    json=body if body is None or "ids" not in body else {"ids": [live, 1000]},
                )
                # What it was asked for comes back in words; nothing else does.
                text = answer.get_data(as_text=True).replace(name, "")
                if "hidden-queue" in str(body):
                    text = text.replace("hidden-queue", "")
                told[method, path, id] = told.get((method, path, id), False) or "hidden" in text
                assert answer.status_code < 500, (method, path, text)

    assert [each for each, tells in told.items() if tells] == []
    assert standing(connection) == before
    assert len(told) > 150
    for path in ("/jobs", "/queues", "/schedules", "/dead-letters", f"/jobs/{live}", "/jobs/1000"):
        assert "hidden" in api.get(path).get_data(as_text=True), "there is something to tell"


TRIED: list[dict[str, Any]] = [
    {},
    {"ids": []},
    {"priority": 3},
    {"weight": 3},
    {"payload": {}},
    {"name": "hidden-queue", "weight": 9},
    {"task": "x", "queue": "hidden-queue"},
    {"task": "x", "cron": "* * * * *", "queue": "hidden-queue"},
    {"worker_id": 1, "attempt": 1},
]


def templates(api: Api) -> Iterator[tuple[str, str]]:
    """Method and path of every operation, with names of its parameters."""
    for path, methods in document(api.app)["paths"].items():
        for method in methods:
            yield method.upper(), re.sub(r"\{(?!id|name)\w+\}", "x", path)


def standing(connection: psycopg.Connection) -> list[Any]:
    """What must not change: all of the other queue."""
    return [
        connection.execute(f"SELECT t::text FROM pgtask.{table} t ORDER BY 1".encode()).fetchall()
        for table in ("jobs", "runs", "queues", "schedules")
    ]


def test_s10_cookies_open_nothing_and_reading_changes_nothing(api: Api, connection: psycopg.Connection) -> None:
    answer = api.anonymous().get("/me", headers={"Cookie": f"token={api.token}; session={api.token}"})
    problem(answer, 401, "missing-token")
    assert "Set-Cookie" not in answer.headers

    for method, path in operations(api):
        if method == "GET":
            api(method, f"/{path}")
    assert number(connection, "SELECT count(*) FROM pgtask.audit") == 0


def test_s10_pages_of_other_origins_are_kept_out_unless_listed(database: str) -> None:
    api = made_api(database, cors_origins=["https://ops.example.com"])
    try:
        asking = {"Access-Control-Request-Method": "POST", "Authorization": ""}
        yes = api("OPTIONS", "//api/v1/tokens", headers=asking | {"Origin": "https://ops.example.com"})
        assert yes.status_code == 204
        assert yes.headers["Access-Control-Allow-Origin"] == "https://ops.example.com"
        assert "Authorization" in yes.headers["Access-Control-Allow-Headers"]
        used = {method.upper() for methods in document(api.app)["paths"].values() for method in methods}
        assert used == set(yes.headers["Access-Control-Allow-Methods"].split(", "))
        assert "Access-Control-Allow-Credentials" not in yes.headers
        for origin in ("https://evil.example", "null", "https://ops.example.com.evil.example"):
            no = api("OPTIONS", "//api/v1/tokens", headers=asking | {"Origin": origin})
            assert no.status_code == 405
            assert "Access-Control-Allow-Origin" not in no.headers
        answer = api.get("/me", headers={"Origin": "https://ops.example.com"})
        assert answer.headers["Access-Control-Allow-Origin"] == "https://ops.example.com"
        assert "Origin" in answer.headers["Vary"]
        assert "Access-Control-Allow-Origin" not in api.get("/me", headers={"Origin": "https://evil.example"}).headers
    finally:
        api.app.extensions["pgtask"].close()


def test_s10_without_a_setting_no_origin_is_let_in(api: Api) -> None:
    answer = api.get("/me", headers={"Origin": "https://ops.example.com"})

    assert not [name for name in answer.headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/api/v1/me", "/api/v1/nothing", "/api/docs", "/problems", "/api/v1/openapi.json"])
def test_s11_answers_run_nothing_and_are_framed_by_nobody(api: Api, path: str) -> None:
    headers = api.get(f"/{path}").headers

    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_s11_what_is_sent_comes_back_as_text(api: Api) -> None:
    bad = "<script>alert(1)</script>"
    answer = api.get(f"//problems/{bad}", headers={"X-Request-Id": bad})

    assert answer.mimetype == "application/problem+json"
    assert bad not in answer.headers["X-Request-Id"]
    assert api.get(f"//{bad}").mimetype == "application/problem+json"


def deep(opening: str, closing: str, count: int) -> bytes:
    return (opening * count + closing * count).encode()


BODIES = {
    "nested lists": (deep("[", "]", 100_000), 400),
    "nested objects": (deep('{"a":', "}", 100_000).replace(b":}", b":1}"), 400),
    "nested in a field": (b'{"name": "x", "scopes": ' + deep("[", "]", 100_000) + b"}", 400),
    "open brackets": (b"[" * 1_000_000, 400),
    "long integer": (b'{"name": "x", "scopes": ["read"], "rate_limit": ' + b"9" * 5000 + b"}", 400),
    "long integer for text": (b'{"name": ' + b"9" * 5000 + b"}", 400),
    "huge exponent": (b'{"name": "x", "scopes": ["read"], "rate_limit": 1e999999}', 422),
    "NaN": (b'{"name": "x", "scopes": ["read"], "rate_limit": NaN}', 422),
    "Infinity": (b'{"name": "x", "scopes": ["read"], "rate_limit": Infinity}', 422),
    "lone surrogate": (b'{"name": "\\ud800", "scopes": ["read"]}', 422),
    "U+0000": (b'{"name": "a\\u0000b", "scopes": ["read"]}', 422),
    "U+0000 in a list": (b'{"name": "x", "scopes": ["read"], "queues": ["a\\u0000"]}', 422),
    "invalid UTF-8": (b'{"name": "\xff\xfe", "scopes": ["read"]}', 400),
    "UTF-16": ('{"name": "x", "scopes": ["read"]}'.encode("utf-16"), 400),
    "byte order mark": (b'\xef\xbb\xbf{"name": "x", "scopes": ["read"]}', 400),
    "nothing": (b"", 400),
    "two documents": (b"{} {}", 400),
    "a name twice": (b'{"name": "x", "name": 1, "scopes": ["read"]}', 422),
    "no object": (b'"text"', 422),
    "null": (b"null", 422),
}


@pytest.mark.parametrize("name", BODIES)
def test_s12_strange_bodies_are_refused_and_never_a_fault(api: Api, name: str) -> None:
    data, status = BODIES[name]
    answer = send(api, data)

    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json"), answer.get_data(as_text=True)
    assert len(answer.data) < 5000, "what is strange is not echoed at length"


def test_s12_a_body_has_a_largest_size(database: str) -> None:
    api = made_api(database, max_body=1000)
    try:
        problem(send(api, b" " * 1001), 413, "content-too-large")
        assert send(api, b'{"name": "x", "scopes": ["read"]}' + b" " * 900).status_code == 201
    finally:
        api.app.extensions["pgtask"].close()


@pytest.mark.parametrize(
    ("table", "method", "path", "body"),
    [
        ("jobs", "POST", "/jobs", {"task": "echo"}),
        ("jobs", "GET", "/jobs/1", None),
        ("audit", "POST", "/tokens", {"name": "x", "scopes": ["read"]}),
        ("tokens", "GET", "/me", None),
        ("request_rates", "GET", "/me", None),
    ],
)
def test_s12_who_meets_a_lock_is_told_to_come_back(
    database: str,
    connection: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    method: str,
    path: str,
    body: object,
) -> None:
    monkeypatch.setitem(app._LIMITS, "lock_timeout", "200ms")
    api = made_api(database)
    try:
        with connection.transaction():
            connection.execute(f"LOCK TABLE pgtask.{table}".encode())
            refused = api(method, path, body)
        problem(refused, 503, "busy")
        assert int(refused.headers["Retry-After"]) > 0
        assert api(method, path, body).status_code in {200, 201, 404}, "it goes on when the lock is gone"
    finally:
        api.app.extensions["pgtask"].close()


def test_s12_the_server_of_http_knows_of_smuggling() -> None:
    [needed] = [text for text in metadata.requires("pgtask") or () if text.startswith("gunicorn")]
    assert not Requirement(needed.partition(";")[0]).specifier.contains("21.2.0")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_s12_only_json_is_read(api: Api, kind: str) -> None:
    answer = send(api, b'{"name": "x", "scopes": ["read"]}', **{"Content-Type": kind})

    problem(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=1e3",
        "limit=" + "9" * 5000,
        "limit=1&limit=2",
        "cursor=x",
        "cursor=-1",
        "cursor=" + "9" * 19,
        "%00=1",
        "limit=%ff",
        "since=1",
        "since=9999999-01-01T00:00:00Z",
        "actor=%00",
        "actor=",
    ],
)
def test_s12_strange_queries_are_refused(api: Api, query: str) -> None:
    problem(api.get(f"/audit?{query}"), 422, "invalid-request")


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59"])
def test_s12_the_ends_of_the_calendar_are_no_fault(api: Api, since: str) -> None:
    answer = api.get("/audit", query_string={"since": since})

    assert answer.status_code in {200, 422}


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/" + "9" * 400,
        "/jobs/-1",
        "/jobs/1.5",
        "/jobs/%00",
        "/jobs/1%2F2",
        "/tokens/0x1",
        "/tokens/%D9%A1",
        "//",
        "/jobs//1",
    ],
)
def test_s12_strange_paths_lead_nowhere(api: Api, path: str) -> None:
    assert api.get(path).status_code == 404


def test_s12_a_number_that_no_id_can_be_is_not_there_with_any_method(api: Api) -> None:
    for method in ("GET", "DELETE"):
        problem(api(method, f"/tokens/{2**63}"), 404, "not-found")
    allowed = api("OPTIONS", "//api/v1/tokens/1").headers["Allow"]
    assert set(allowed.split(", ")) == {"GET", "HEAD", "DELETE"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer " + "x" * 8000),
        ("Authorization", "Bearer pgt_00000000_" + "é" * 43),
        ("Authorization", "Negotiate abc"),
        ("If-None-Match", '"' * 100),
        ("If-None-Match", "W/" * 50),
        ("X-Request-Id", "a" * 65),
        ("Accept", "nonsense;q=x"),
        ("Range", "bytes=-1"),
        ("Content-Length", "0"),
        ("Idempotency-Key", "a" * 256),
        ("Cookie", "=;=;"),
    ],
)
def test_s12_strange_headers_are_no_fault(api: Api, name: str, value: str) -> None:
    assert api.get("/me", headers={name: value}).status_code in {200, 401, 422}


@pytest.mark.parametrize("key", ["", " ", "a" * 256, "é"])
def test_s12_strange_idempotency_keys_are_refused(api: Api, key: str) -> None:
    answer = send(api, b'{"name": "x", "scopes": ["read"]}', **{"Idempotency-Key": key})

    assert answer.status_code in {201, 422}
    assert answer.status_code == (201 if key == " " else 422)


def test_s13_every_change_is_audited_with_who_where_what_and_before(api: Api, connection: psycopg.Connection) -> None:
    place = api.post("/tokens", {"name": "s13", "scopes": ["read"]}).headers["Location"].removeprefix("/api/v1")
    api.delete(place)

    rows = connection.execute(
        "SELECT actor, address, action, subject, request_id IS NOT NULL FROM pgtask.audit ORDER BY id"
    ).fetchall()
    assert rows == [
        ("all", "127.0.0.1", "create_token", "s13", True),
        ("all", "127.0.0.1", "revoke_token", "s13", True),
    ]


def test_s13_a_change_is_audited_with_what_was_and_what_is(api: Api, connection: psycopg.Connection) -> None:
    api.post("/queues", {"name": "mail", "weight": 2})
    assert api("PATCH", "/queues/mail", {"weight": 5}).status_code == 200
    api.post("/queues/mail/pause", headers={"X-Request-Id": "from-a-test"})

    rows = connection.execute(
        "SELECT action, request_id = 'from-a-test', details->'before', details->'after' FROM pgtask.audit"
        " WHERE subject = 'mail' ORDER BY id DESC LIMIT 2"
    ).fetchall()
    paused, changed = rows
    assert (changed[0], changed[2], changed[3]) == ("change_queue", {"weight": 2}, {"weight": 5})
    assert paused[:2] == ("pause_queue", True)
    assert paused[2]["paused_at"] is None
    assert paused[3]["paused_at"] is not None


def test_s13_what_is_refused_leaves_neither_change_nor_audit(api: Api, connection: psycopg.Connection) -> None:
    api.post("/tokens", {"name": "all", "scopes": ["read"]}, headers={"Idempotency-Key": "k"})

    assert number(connection, "SELECT count(*) FROM pgtask.audit") == 0
    assert number(connection, "SELECT count(*) FROM pgtask.idempotency_keys") == 0


def test_s13_what_cannot_be_audited_is_not_done(api: Api, connection: psycopg.Connection) -> None:
    connection.execute("ALTER TABLE pgtask.audit ADD CHECK (subject <> 'unseen')")

    refused = api.post("/tokens", {"name": "unseen", "scopes": ["read"]}, headers={"Idempotency-Key": "k"})

    assert refused.status_code >= 400
    assert number(connection, "SELECT count(*) FROM pgtask.tokens WHERE name = 'unseen'") == 0
    assert number(connection, "SELECT count(*) FROM pgtask.idempotency_keys") == 0
    for name in ("seen", "seen too"):
        assert api.post("/tokens", {"name": name, "scopes": ["read"]}).status_code == 201, "connections stay in order"


def test_s13_every_operation_that_changes_something_is_audited_or_says_why_not(app_of: Flask) -> None:
    from pgtask.web.api import SECTIONS

    unaudited = {
        operation.id
        for section in SECTIONS
        for operation in section.operations
        if not operation.safe and not operation.audited and operation.scope is not Scope.WORKER
        # Those that are one statement write the audit in it; test_enqueue.py looks at it.
        if not operation.alone
    }
    assert unaudited == {"preview_expression", "preview_bulk_operation"}, "these change nothing"
    assert app_of is not None


@pytest.fixture
def app_of(api: Api) -> Flask:
    """The application."""
    return api.app


def test_s14_a_tokens_text_cannot_be_guessed_and_its_id_tells_nothing(connection: psycopg.Connection) -> None:
    first, second = (tokens.create_token(connection, name, ALL) for name in ("a", "b"))

    assert len(first.text.split("_", 2)[2]) == 43, "256 bits"
    assert first.prefix != second.prefix
    assert tokens.identify(connection, first) is not None
    forged = type(first)(first.prefix, f"pgt_{first.prefix}_{'A' * 43}")
    assert tokens.identify(connection, forged) is None, "the prefix alone opens nothing"


def test_s14_expired_and_revoked_tokens_open_nothing(api: Api, connection: psycopg.Connection) -> None:
    expired = api.holder_of(Scope.READ, lifetime=3600)
    connection.execute("UPDATE pgtask.tokens SET expires_at = now() WHERE name <> 'all'")

    problem(expired.get("/me"), 401, "invalid-token")
