"""Schedules over REST: every option, what is refused and in which words, by number and by name, who sees what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from pgtask.engine.scheduler import fire_due
from pgtask.model.token import Scope
from tests.api_client import Api, problem
from tests.audited import audited, last_audited
from tests.command_line import answer, run
from tests.rows import live, number
from tests.schedules import add, pass_time

GIVEN: dict[str, Any] = {"task": "report.build", "expression": "0 7 * * mon-fri"}
DEFAULTS: dict[str, Any] = {
    **GIVEN,
    "timezone": "UTC",
    "seconds": None,
    "payload": {},
    "queue": None,
    "priority": None,
    "max_retries": None,
    "timeout": None,
    "tags": None,
    "catchup": "one",
    "catchup_limit": 100,
    "catchup_max_age": 604800,
    "overlap": "queue_one",
    "jitter": 0,
    "starts_at": None,
    "ends_at": None,
}
ALL: dict[str, Any] = {
    "task": "feed.fetch",
    "expression": "0 30 2 * * sun",
    "timezone": "Europe/Vienna",
    "seconds": "first",
    "payload": {"url": "https://example.org", "deep": [{"ä": 1.5}]},
    "queue": "mail",
    "priority": -7,
    "max_retries": -1,
    "timeout": 0.5,
    "tags": ["a", "b c"],
    "catchup": "all",
    "catchup_limit": 1000,
    "catchup_max_age": 60,
    "overlap": "cancel_running",
    "jitter": 86400,
    "starts_at": "2030-01-01T00:00:00Z",
    "ends_at": "2031-01-01T00:00:00Z",
}


def settings(schedule: dict[str, Any]) -> dict[str, Any]:
    return {name: schedule[name] for name in DEFAULTS}


def create(api: Api, name: str = "report", **given: Any) -> dict[str, Any]:
    answer = api.post("/schedules", GIVEN | {"name": name} | given)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    made: dict[str, Any] = answer.get_json()
    return made


# Settings


def test_every_option_can_be_given(api: Api, database: str) -> None:
    made = create(api, **ALL)

    assert settings(made) == ALL
    assert (made["state"], made["source"], made["application"]) == ("active", "runtime", None)
    assert api.get(f"/schedules/{made['id']}").get_json() == made
    assert answer(run(database, "schedules", "list", "--json"))["items"] == [made]


def test_what_is_not_given_has_its_default(api: Api) -> None:
    assert settings(create(api)) == DEFAULTS


@pytest.mark.parametrize("task", ["task", "type", "job_type"])
@pytest.mark.parametrize("expression", ["expression", "cron", "cron_expr"])
def test_a_task_and_an_expression_have_several_names(api: Api, task: str, expression: str) -> None:
    answer = api.post("/schedules", {"name": "s", task: "t", expression: "@daily"})

    made = answer.get_json()
    assert (answer.status_code, made["task"], made["expression"]) == (201, "t", "@daily")
    assert api.put("/schedules/s", {task: "u", expression: "@hourly"}).get_json()["task"] == "u"
    assert api("PATCH", "/schedules/s", {task: "v"}).get_json()["task"] == "v"
    assert api("PATCH", "/schedules/s", {expression: "@weekly"}).get_json()["expression"] == "@weekly"


def test_a_schedule_says_where_it_is_found(api: Api) -> None:
    answer = api.post("/schedules", GIVEN | {"name": "a/b"})

    made = answer.get_json()
    assert answer.headers["Location"] == f"/api/v1/schedules/{made['id']}"
    assert api.get("/schedules/a%2Fb", environ_overrides={"RAW_URI": "/api/v1/schedules/a%2Fb"}).get_json() == made


def test_a_number_is_an_id_first_and_then_a_name(api: Api) -> None:
    first = create(api, "first")
    create(api, str(first["id"]))
    last = create(api, "4711")

    assert api.get(f"/schedules/{first['id']}").get_json()["name"] == "first"
    assert api.get("/schedules/4711").get_json()["id"] == last["id"]
    problem(api.get("/schedules/99999999999999999999"), 404, "schedule-not-found")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"priority": "critical"}, {"priority": 3}),
        ({"timeout": "5m", "jitter": "10s"}, {"timeout": 300, "jitter": 10}),
        ({"starts_at": "2030-01-01T01:00:00+01:00"}, {"starts_at": "2030-01-01T00:00:00Z"}),
        ({"expression": "  @daily "}, {"expression": "@daily"}),
    ],
)
def test_options_may_be_written_as_people_do(api: Api, given: dict[str, Any], shown: dict[str, Any]) -> None:
    made = create(api, **given)

    assert {name: made[name] for name in shown} == shown
    assert {
        name: value for name, value in api.put("/schedules/report", GIVEN | given).get_json().items() if name in shown
    } == shown


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z"])
def test_an_instant_at_the_end_of_all_calendars_does_no_harm(api: Api, instant: str) -> None:
    create(api, starts_at=instant)
    create(api, "other", ends_at=instant)

    assert len(api.get("/schedules").get_json()["items"]) == 2
    assert api.get("/schedules/report/preview").status_code == 200
    assert api.get("/schedules/other/preview").status_code == 200


# Refusals


@pytest.mark.parametrize(
    "body",
    [
        {"name": "s", "task": "t"},
        {"name": "s", "expression": "@daily"},
        {"task": "t", "expression": "@daily"},
        {"name": "", **GIVEN},
        {"name": "s" * 201, **GIVEN},
        {"name": "a\0", **GIVEN},
        {"name": "s", **GIVEN, "type": "t"},
        {"name": "s", **GIVEN, "cron": "@daily"},
        {"name": "s", **GIVEN, "task": ""},
        {"name": "s", **GIVEN, "task": None},
        {"name": "s", **GIVEN, "colour": "red"},
        {"name": "s", **GIVEN, "payload": [1]},
        {"name": "s", **GIVEN, "payload": None},
        {"name": "s", **GIVEN, "seconds": "middle"},
        {"name": "s", **GIVEN, "queue": ""},
        {"name": "s", **GIVEN, "priority": 101},
        {"name": "s", **GIVEN, "max_retries": -2},
        {"name": "s", **GIVEN, "timeout": 0},
        {"name": "s", **GIVEN, "tags": "a"},
        {"name": "s", **GIVEN, "tags": [1]},
        {"name": "s", **GIVEN, "catchup": "some"},
        {"name": "s", **GIVEN, "catchup_limit": 1001},
        {"name": "s", **GIVEN, "overlap": "never"},
        {"name": "s", **GIVEN, "jitter": 86401},
        {"name": "s", **GIVEN, "jitter": "2d"},
        {"name": "s", **GIVEN, "starts_at": "2030-01-01"},
        {"name": "s", **GIVEN, "starts_at": "2030-01-01T00:00:00"},
        {"name": "s", **GIVEN, "starts_at": 1900000000},
        {"name": "s", **GIVEN, "starts_at": "1900000000"},
        {"name": "s", **GIVEN, "ends_at": "2030-13-01T00:00:00Z"},
    ],
)
def test_what_cannot_be_is_refused(refusing_api: Api, body: dict[str, Any]) -> None:
    problem(refusing_api.post("/schedules", body), 422, "invalid-request")


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({"expression": "* * *"}, ["* * *", "t"]),
        ({"expression": "0 0 30 2 *"}, ["0 0 30 2 *", "t"]),
        ({"expression": "0 0 0 * * *"}, ["0 0 0 * * *", "t"]),
        ({"expression": "@every 0.5s"}, ["@every 0.5s", "t"]),
        ({"expression": "@reboot"}, ["@reboot", "t"]),
        ({"expression": "x" * 201}, ["x" * 201, "t"]),
        ({"timezone": "Europe/Wien"}, ["@daily", "t", "--timezone", "Europe/Wien"]),
        (
            {"starts_at": "2030-01-01T00:00:00Z", "ends_at": "2030-01-01T00:00:00Z"},
            ["@daily", "t", "--starts-at", "2030-01-01T00:00:00Z", "--ends-at", "2030-01-01T00:00:00Z"],
        ),
        ({"tags": ["x" * 150] * 30}, ["@daily", "t", *(["--tag", "x" * 150] * 30)]),
    ],
)
def test_a_refusal_is_said_as_on_the_command_line(
    api: Api, database: str, given: dict[str, Any], options: list[str]
) -> None:
    said = run(database, "schedules", "add", "s", *options).stderr.strip().removeprefix("Error: ")
    body = {"name": "s", "task": "t", "expression": "@daily"} | given

    refused = problem(api.post("/schedules", body), 422, "invalid-schedule")

    assert refused["detail"] == said
    create(api, "other")
    del body["name"]
    assert problem(api.put("/schedules/other", body), 422, "invalid-schedule")["detail"] == said
    assert problem(api("PATCH", "/schedules/other", given), 422, "invalid-schedule")["detail"] == said
    assert settings(api.get("/schedules/other").get_json()) == DEFAULTS


@pytest.mark.parametrize("payload", [{"a": "\0"}, {"a": {"b\0": 1}}])
def test_a_payload_that_cannot_be_stored_is_refused(refusing_api: Api, payload: dict[str, Any]) -> None:
    problem(refusing_api.post("/schedules", GIVEN | {"name": "s", "payload": payload}), 422, "invalid-payload")


def test_a_payload_that_is_too_large_is_refused(api: Api, connection: psycopg.Connection) -> None:
    connection.execute("UPDATE pgtask.settings SET value = '100' WHERE name = 'max_payload_bytes'")

    refused = problem(
        api.post("/schedules", GIVEN | {"name": "s", "payload": {"a": "x" * 100}}), 422, "invalid-schedule"
    )

    assert "the limit is 100" in refused["detail"]


def test_a_schedule_is_made_once(api: Api) -> None:
    create(api)

    problem(api.post("/schedules", GIVEN | {"name": "report"}), 409, "schedule-state")


# Changing


def test_put_takes_back_what_it_does_not_name(api: Api) -> None:
    create(api, **ALL)

    assert settings(api.put("/schedules/report", GIVEN).get_json()) == DEFAULTS


def test_what_a_get_answers_can_be_put_back(api: Api) -> None:
    made = create(api, **ALL)
    api.put("/schedules/report", GIVEN)

    assert settings(api.put("/schedules/report", settings(made)).get_json()) == ALL


@pytest.mark.parametrize("name", [name for name in ALL if name != "seconds"])
def test_patch_changes_what_it_names_and_nothing_else(api: Api, name: str) -> None:
    create(api)
    values = {"expression": "@daily"} | {} if name == "expression" else {name: ALL[name]}

    changed = api("PATCH", "/schedules/report", values).get_json()

    assert settings(changed) == DEFAULTS | values


@pytest.mark.parametrize("name", ["queue", "priority", "max_retries", "timeout", "starts_at", "ends_at"])
def test_patch_takes_back_by_null(api: Api, name: str) -> None:
    create(api, **ALL)

    assert settings(api("PATCH", "/schedules/report", {name: None}).get_json()) == ALL | {name: None}


def test_tags_are_taken_back_by_an_empty_list(api: Api) -> None:
    create(api, **ALL)

    assert api("PATCH", "/schedules/report", {"tags": []}).get_json()["tags"] is None


def test_a_schedule_that_code_declares(api: Api, connection: psycopg.Connection, database: str) -> None:
    id = add(connection, "@daily", name="declared", source="code", application="a:b")

    assert api("PATCH", f"/schedules/{id}", {"expression": "@hourly"}).get_json()["expression"] == "@hourly"
    said = run(database, "schedules", "delete", "declared").stderr.strip().removeprefix("Error: ")
    assert problem(api.delete(f"/schedules/{id}"), 409, "schedule-state")["detail"] == said
    assert problem(api.post("/schedules", GIVEN | {"name": "declared"}), 409, "schedule-state")

    connection.execute("UPDATE pgtask.schedules SET orphaned_at = now()")
    assert api.delete(f"/schedules/{id}").status_code == 204


def test_deleting_a_schedule(api: Api, connection: psycopg.Connection) -> None:
    create(api)

    assert api.delete("/schedules/report").status_code == 204
    problem(api.get("/schedules/report"), 404, "schedule-not-found")
    assert last_audited(connection)[1:] == ("delete_schedule", "report", {"before": DEFAULTS})


def test_the_audit_says_what_was_and_what_is(api: Api, connection: psycopg.Connection) -> None:
    made = create(api)
    api("PATCH", f"/schedules/{made['id']}", {"payload": {"a": 1}, "queue": None})

    assert [row[:3] for row in audited(connection)] == [
        ("all", "create_schedule", "report"),
        ("all", "change_schedule", "report"),
    ]
    assert last_audited(connection).details == {"before": {"payload": {}}, "after": {"payload": {"a": 1}}}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", ""), ("PUT", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume")),
        *(("POST", "/run"), ("GET", "/ticks"), ("GET", "/preview")),
    ],
)
def test_a_schedule_that_is_not_there(api: Api, method: str, path: str) -> None:
    create(api)

    body = GIVEN if method in {"PUT", "PATCH"} else None
    refused = problem(api(method, f"/schedules/reprot{path}", body), 404, "schedule-not-found")

    assert "'report'" in refused["detail"]


# If-Match


def test_a_change_of_what_was_changed_meanwhile_is_refused(api: Api) -> None:
    create(api)
    tag = api.get("/schedules/report").headers["ETag"]
    changed = api("PATCH", "/schedules/report", {"priority": 2}, headers={"If-Match": tag})

    stale = {"If-Match": tag}
    problem(api("PATCH", "/schedules/report", {"priority": 3}, headers=stale), 412, "changed-meanwhile")
    problem(api.put("/schedules/report", GIVEN, headers=stale), 412, "changed-meanwhile")
    problem(api.delete("/schedules/report", headers=stale), 412, "changed-meanwhile")

    assert changed.headers["ETag"] == api.get("/schedules/report").headers["ETag"]
    assert api.delete("/schedules/report", headers={"If-Match": changed.headers["ETag"]}).status_code == 204


def test_a_schedule_that_fires_can_be_changed(api: Api, connection: psycopg.Connection) -> None:
    id = add(connection, "@every 10s", age=11)
    read = api.get(f"/schedules/{id}")
    fire_due(connection)

    seen = api.get(f"/schedules/{id}", headers={"If-None-Match": read.headers["ETag"]})
    assert seen.status_code == 200
    assert seen.get_json()["last_tick_at"] is not None
    body = {"task": "t", "cron": "@daily"}
    assert api.put(f"/schedules/{id}", body, headers={"If-Match": read.headers["ETag"]}).status_code == 200


# Pausing, running, ticks


def test_pausing_and_resuming(api: Api, connection: psycopg.Connection) -> None:
    create(api)

    paused = api.post("/schedules/report/pause").get_json()
    assert (paused["state"], paused["paused_by"]) == ("paused", "all")
    assert api.post("/schedules/report/pause").get_json() == paused

    resumed = api.post("/schedules/report/resume").get_json()
    assert (resumed["state"], resumed["paused_at"], resumed["paused_by"]) == ("active", None, None)
    assert api.post("/schedules/report/resume").get_json() == resumed
    assert [row.action for row in audited(connection)[1:]] == [
        *("pause_schedule", "pause_schedule", "resume_schedule", "resume_schedule")
    ]
    assert (audited(connection)[1].details or {})["before"] == {"paused_at": None, "paused_by": None}


def test_running_a_schedule_now(api: Api, connection: psycopg.Connection) -> None:
    made = create(api, payload={"a": 1}, queue="mail", tags=["x"])

    ran = api.post(f"/schedules/{made['id']}/run")

    id = ran.get_json()["job_id"]
    assert (ran.status_code, ran.get_json()["name"]) == (201, "report")
    assert ran.headers["Location"] == f"/api/v1/jobs/{id}"
    job = live(connection, id)
    assert (job["task"], job["queue"], job["payload"], job["tags"]) == ("report.build", "mail", {"a": 1}, ["x"])
    assert last_audited(connection)[1:] == ("run_schedule", "report", {"job_id": id})


def test_a_run_that_is_asked_for_twice_with_one_key_is_one(api: Api, connection: psycopg.Connection) -> None:
    create(api)

    answers = [api.post("/schedules/report/run", headers={"Idempotency-Key": "k"}).get_json() for _ in range(2)]

    assert answers[0] == answers[1]
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 1


def test_the_ticks_of_a_schedule_page_by_page(api: Api, connection: psycopg.Connection) -> None:
    id = add(connection, "@every 10s", age=11, overlap="allow")
    add(connection, "@every 11s", age=12)
    for _ in range(5):
        fire_due(connection)
        pass_time(connection, id, 10)

    whole = api.get(f"/schedules/{id}/ticks").get_json()["items"]
    assert [tick["outcome"] for tick in whole] == ["fired"] * 5
    assert [tick["status"] for tick in whole] == ["pending"] * 5
    assert whole == sorted(whole, key=lambda tick: tick["tick_at"], reverse=True)

    found, cursor = [], None
    while True:
        page = api.get(f"/schedules/{id}/ticks", query_string={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        found += page.get_json()["items"]
        cursor = page.get_json()["next_cursor"]
        if cursor is None:
            break
    assert found == whole


# Previews


def test_an_expression_can_be_tried(api: Api, connection: psycopg.Connection, database: str) -> None:
    body = {"cron": "30 2 * * *", "timezone": "Europe/Vienna", "limit": 100}

    ticks = api.post("/schedules/preview", body).get_json()

    options = ("30 2 * * *", "--timezone", "Europe/Vienna", "-n", "100", "--json")
    assert ticks == answer(run(database, "schedules", "preview", *options))
    assert len(ticks["items"]) == 100
    assert audited(connection) == []
    assert api.holder_of(Scope.READ).post("/schedules/preview", body).status_code == 200


@pytest.mark.parametrize(
    "body", [{"cron": "61 * * * *"}, {"cron": "@daily", "timezone": "Nowhere"}, {"cron": "@daily", "seconds": "first"}]
)
def test_an_expression_that_cannot_be_is_refused(refusing_api: Api, body: dict[str, Any]) -> None:
    problem(refusing_api.post("/schedules/preview", body), 422, "invalid-schedule")


@pytest.mark.parametrize("body", [{}, {"cron": "@daily", "expression": "@daily"}, {"cron": "@daily", "limit": 101}])
def test_a_preview_refuses_what_it_does_not_know(refusing_api: Api, body: dict[str, Any]) -> None:
    problem(refusing_api.post("/schedules/preview", body), 422, "invalid-request")


def test_the_next_ticks_of_a_schedule(api: Api, database: str) -> None:
    create(api, starts_at="2030-06-01T00:00:00Z", expression="0 12 * * *")

    ticks = api.get("/schedules/report/preview?limit=3").get_json()

    assert [tick["tick_at"] for tick in ticks["items"]] == [f"2030-06-0{day}T12:00:00Z" for day in (1, 2, 3)]
    assert ticks == answer(run(database, "schedules", "preview", "report", "-n", "3", "--json"))


def test_a_stored_expression_that_is_not_understood_any_more(api: Api, connection: psycopg.Connection) -> None:
    add(connection, "broken", name="broken")

    assert api.get("/schedules/broken").status_code == 200
    problem(api.get("/schedules/broken/preview"), 422, "invalid-schedule")


# Lists


def names(answer: Any) -> list[str]:
    return [schedule["name"] for schedule in answer.get_json()["items"]]


def test_schedules_come_by_name_page_by_page(api: Api) -> None:
    for name in ("b", "a", "C", "é"):
        create(api, name)

    first = api.get("/schedules?limit=2")
    second = api.get("/schedules", query_string={"limit": 2, "cursor": first.get_json()["next_cursor"]})

    assert names(first) + names(second) == ["C", "a", "b", "é"]
    assert second.get_json()["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state=paused", ["paused"]),
        ("state=active", ["declared", "mailing"]),
        ("source=code", ["declared"]),
        ("task=mail", ["mailing"]),
        ("queue=post", ["mailing", "paused"]),
        ("queue=default", ["declared"]),
        ("search=LING", ["mailing"]),
        ("search=LING&source=code", []),
    ],
)
def test_schedules_are_found_by_what_they_are(
    api: Api, connection: psycopg.Connection, query: str, found: list[str]
) -> None:
    connection.execute("INSERT INTO pgtask.tasks (name, queue, priority) VALUES ('mail', 'post', 1)")
    create(api, "mailing", task="mail")
    create(api, "paused", queue="post")
    api.post("/schedules/paused/pause")
    add(connection, "@daily", name="declared", source="code", application="a:b")

    assert names(api.get(f"/schedules?{query}")) == found


@pytest.mark.parametrize("query", ["state=asleep", "source=book", "queue=", "limit=0", "cursor=%00", "colour=red"])
def test_a_list_refuses_what_it_does_not_know(refusing_api: Api, query: str) -> None:
    problem(refusing_api.get(f"/schedules?{query}"), 422, "invalid-request")


# Tokens


def test_a_limited_token_sees_and_changes_the_schedules_of_its_queues(api: Api, connection: psycopg.Connection) -> None:
    connection.execute("INSERT INTO pgtask.tasks (name, queue, priority) VALUES ('mail', 'post', 1)")
    create(api, "by task", task="mail")
    create(api, "by queue", queue="post")
    hidden = create(api, "hidden")
    mine = api.holder_of(Scope.OPERATE, queues=["post"])

    assert names(mine.get("/schedules")) == ["by queue", "by task"]
    assert mine.post("/schedules/by task/run").status_code == 201
    assert mine.post("/schedules", {"name": "new", "task": "mail", "cron": "@daily"}).status_code == 201
    problem(mine.post("/schedules", {"name": "s", "task": "t", "cron": "@daily"}), 403, "limited-token")
    problem(mine("PATCH", "/schedules/by queue", {"queue": "default"}), 403, "limited-token")
    problem(mine.put("/schedules/by queue", GIVEN), 403, "limited-token")
    for method, path in (
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/run"),
        ("GET", "/ticks"),
    ):
        for key in (hidden["id"], "hidden", "hiden"):
            found = problem(
                mine(method, f"/schedules/{key}{path}", GIVEN if method == "PUT" else None), 404, "schedule-not-found"
            )
            assert "Did you mean" not in found["detail"]


def test_reading_is_not_changing(api: Api) -> None:
    create(api)
    reader = api.holder_of(Scope.READ)

    assert reader.get("/schedules/report").status_code == 200
    problem(reader.post("/schedules", GIVEN | {"name": "s"}), 403, "missing-scope")
    problem(reader.put("/schedules/report", GIVEN), 403, "missing-scope")
    problem(reader("PATCH", "/schedules/report", {}), 403, "missing-scope")
    problem(reader.delete("/schedules/report"), 403, "missing-scope")
    for action in ("pause", "resume", "run"):
        problem(reader.post(f"/schedules/report/{action}"), 403, "missing-scope")


def test_a_schedule_of_the_api_fires(api: Api, connection: psycopg.Connection) -> None:
    made = create(api, expression="@every 10s")
    pass_time(connection, made["id"], 11)

    fire_due(connection)

    assert number(connection, "SELECT count(*) FROM pgtask.jobs WHERE task = 'report.build'") == 1
    last = api.get(f"/schedules/{made['id']}").get_json()["last_tick_at"]
    assert datetime.fromisoformat(last) <= datetime.now(UTC)
