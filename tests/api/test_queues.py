"""Queues over REST: every setting, what is refused, who sees what, and what two who change one at once get."""

from __future__ import annotations

from threading import Thread
from typing import Any

import psycopg
import pytest

from pgtask.model.token import Scope
from tests.api_client import Api, problem
from tests.audited import audited, last_audited
from tests.command_line import add_live_worker, add_run, answer, run
from tests.rows import ago, insert, number
from tests.support import eventually

DEFAULTS: dict[str, Any] = {
    "priority": 0,
    "weight": 1,
    "max_retries": None,
    "retry_strategy": None,
    "retry_delay": None,
    "max_retry_delay": None,
    "timeout": None,
    "max_workers": None,
    "max_workers_per_key": 1,
    "rate_limit": None,
    "rate_burst": None,
    "max_size": None,
    "retry_budget": None,
    "dead_letter_queue": None,
}
ALL: dict[str, Any] = {
    "priority": -3,
    "weight": 7,
    "max_retries": -1,
    "retry_strategy": "fixed",
    "retry_delay": 2.5,
    "max_retry_delay": 60.0,
    "timeout": 0.5,
    "max_workers": 0,
    "max_workers_per_key": 4,
    "rate_limit": "100/min",
    "rate_burst": 9,
    "max_size": 1000,
    "retry_budget": 0.2,
    "dead_letter_queue": "buried",
}

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def settings(queue: dict[str, Any]) -> dict[str, Any]:
    return {name: queue[name] for name in DEFAULTS}


def create(api: Api, name: str = "mail", **settings: Any) -> dict[str, Any]:
    answer = api.post("/queues", {"name": name, **settings})
    assert answer.status_code == 201, answer.get_data(as_text=True)
    made: dict[str, Any] = answer.get_json()
    return made


def patch(api: Api, name: str, body: dict[str, Any], **more: Any) -> Any:
    return api("PATCH", f"/queues/{name}", body, **more)


# Settings


def test_every_setting_can_be_given_when_a_queue_is_made(api: Api, database: str) -> None:
    made = create(api, **ALL)

    assert settings(made) == ALL
    assert api.get("/queues/mail").get_json() == made
    assert answer(run(database, "queues", "list", "--json"))["items"][1] == made


def test_what_is_not_given_has_its_default(api: Api) -> None:
    assert settings(create(api)) == DEFAULTS


def test_a_queue_says_where_it_is_found(api: Api) -> None:
    answer = api.post("/queues", {"name": "a/b c"})

    assert answer.headers["Location"] == "/api/v1/queues/a%2Fb%20c"
    assert api.get(answer.headers["Location"].removeprefix("/api/v1")).get_json() == answer.get_json()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"timeout": "5m"}, {"timeout": 300}),
        ({"retry_delay": "1h 30m"}, {"retry_delay": 5400}),
        ({"priority": "high"}, {"priority": 2}),
        ({"priority": 2.0, "weight": 7.0}, {"priority": 2, "weight": 7}),
        ({"rate_limit": "5/10s"}, {"rate_limit": "5/10s", "rate_burst": 1}),
        ({"rate_limit": "120/minute"}, {"rate_limit": "120/min", "rate_burst": 2}),
    ],
)
def test_settings_may_be_written_as_people_do(api: Api, given: dict[str, Any], shown: dict[str, Any]) -> None:
    made = create(api, **given)

    assert {name: made[name] for name in shown} == shown


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "q" * 129},
        {"name": "ü" * 65},
        {"name": "a\0b"},
        {"name": 5},
        {"name": "q", "colour": "red"},
        {"name": "q", "priority": 101},
        {"name": "q", "priority": "highest"},
        {"name": "q", "weight": 0},
        {"name": "q", "weight": None},
        {"name": "q", "weight": 1.5},
        {"name": "q", "max_retries": -2},
        {"name": "q", "max_retries": 2**31},
        {"name": "q", "retry_strategy": "random"},
        {"name": "q", "retry_delay": -1},
        {"name": "q", "retry_delay": "soon"},
        {"name": "q", "timeout": 0},
        {"name": "q", "timeout": 1e10},
        {"name": "q", "max_workers": -1},
        {"name": "q", "max_workers": True},
        {"name": "q", "max_workers_per_key": 0},
        {"name": "q", "rate_limit": "fast"},
        {"name": "q", "rate_limit": "0/s"},
        {"name": "q", "rate_limit": 100},
        {"name": "q", "rate_burst": 5},
        {"name": "q", "rate_limit": None, "rate_burst": 5},
        {"name": "q", "rate_limit": "1/s", "rate_burst": 0},
        {"name": "q", "max_size": 0},
        {"name": "q", "retry_budget": 1.1},
        {"name": "q", "retry_budget": "20%"},
        {"name": "q", "dead_letter_queue": ""},
    ],
)
def test_what_cannot_be_is_refused(refusing_api: Api, body: dict[str, Any]) -> None:
    problem(refusing_api.post("/queues", body), 422, "invalid-request")


def test_a_queue_is_not_its_own_dead_letter_queue(api: Api) -> None:
    refused = problem(api.post("/queues", {"name": "q", "dead_letter_queue": "q"}), 422, "invalid-value")

    assert refused["detail"] == "A queue cannot be its own dead letter queue: name another one."
    problem(api.get("/queues/q"), 404, "queue-not-found")


def test_a_queue_is_made_once(api: Api) -> None:
    create(api)

    problem(api.post("/queues", {"name": "mail"}), 409, "queue-state")


def test_put_takes_back_what_it_does_not_name(api: Api) -> None:
    create(api, **ALL)

    changed = api.put("/queues/mail", {"max_retries": 5}).get_json()

    assert settings(changed) == DEFAULTS | {"max_retries": 5}


def test_what_a_get_answers_can_be_put_back(api: Api) -> None:
    made = create(api, **ALL)
    api.put("/queues/mail", {})

    assert settings(api.put("/queues/mail", settings(made)).get_json()) == ALL


@pytest.mark.parametrize("name", ALL)
def test_patch_changes_what_it_names_and_nothing_else(api: Api, name: str) -> None:
    create(api, rate_limit="1/s")
    before = DEFAULTS | {"rate_limit": "1/s", "rate_burst": 1}

    changed = patch(api, "mail", {name: ALL[name]}).get_json()

    burst = {"rate_burst": 1} if name == "rate_limit" else {}
    assert settings(changed) == before | {name: ALL[name]} | burst


@pytest.mark.parametrize("name", [name for name, value in DEFAULTS.items() if value is None])
def test_patch_takes_back_by_null(api: Api, name: str) -> None:
    create(api, **ALL)

    changed = patch(api, "mail", {name: None}).get_json()

    burst = {"rate_burst": 1 if name == "rate_burst" else None if name == "rate_limit" else ALL["rate_burst"]}
    assert settings(changed) == ALL | {name: None} | burst


def test_a_burst_needs_a_rate(api: Api) -> None:
    create(api)

    problem(patch(api, "mail", {"rate_burst": 5}), 409, "queue-state")
    problem(patch(api, "mail", {"rate_burst": 5, "rate_limit": None}), 422, "invalid-request")
    problem(api.put("/queues/mail", {"rate_burst": 5}), 422, "invalid-request")


def test_a_queue_that_is_only_named_is_stored_when_it_is_changed(api: Api, connection: psycopg.Connection) -> None:
    insert(connection, "t", queue="named")
    assert api.get("/queues/named").get_json()["created_at"] is None

    changed = patch(api, "named", {"weight": 2}).get_json()

    assert changed["created_at"] is not None
    assert changed["pending"] == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PUT", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("GET", "/stats"),
    ],
)
def test_a_queue_that_is_not_there(api: Api, method: str, path: str) -> None:
    create(api, "mail")

    refused = problem(
        api(method, f"/queues/mial{path}", {} if method in {"PUT", "PATCH"} else None), 404, "queue-not-found"
    )

    assert "'mail'" in refused["detail"]


# Deleting


def test_deleting_a_queue(api: Api, connection: psycopg.Connection) -> None:
    create(api)

    assert api.delete("/queues/mail").status_code == 204
    problem(api.get("/queues/mail"), 404, "queue-not-found")
    assert last_audited(connection)[1:3] == ("delete_queue", "mail")
    assert (last_audited(connection).details or {})["before"] == DEFAULTS


def test_a_queue_with_jobs_is_not_deleted(api: Api, connection: psycopg.Connection) -> None:
    create(api)
    insert(connection, "t", queue="mail")
    insert(connection, "t", queue="named")

    assert "have not ended" in problem(api.delete("/queues/mail"), 409, "queue-state")["detail"]
    assert "Nothing is stored" in problem(api.delete("/queues/named"), 409, "queue-state")["detail"]
    assert [row.action for row in audited(connection)] == ["create_queue"]


# If-Match


def test_a_change_of_what_was_changed_meanwhile_is_refused(api: Api, connection: psycopg.Connection) -> None:
    create(api)
    tag = api.get("/queues/mail").headers["ETag"]
    changed = patch(api, "mail", {"weight": 2}, headers={"If-Match": tag})
    assert changed.status_code == 200

    stale = {"If-Match": tag}
    problem(patch(api, "mail", {"weight": 3}, headers=stale), 412, "changed-meanwhile")
    problem(api.put("/queues/mail", {}, headers=stale), 412, "changed-meanwhile")
    problem(api.delete("/queues/mail", headers=stale), 412, "changed-meanwhile")

    assert number(connection, "SELECT weight FROM pgtask.queues WHERE name = 'mail'") == 2
    assert api.put("/queues/mail", {}, headers={"If-Match": changed.headers["ETag"]}).status_code == 200


def test_a_busy_queue_can_be_changed(api: Api, connection: psycopg.Connection) -> None:
    create(api)
    tag = api.get("/queues/mail").headers["ETag"]
    insert(connection, "t", queue="mail", count=5)

    seen = api.get("/queues/mail", headers={"If-None-Match": tag})
    assert (seen.status_code, seen.get_json()["pending"], seen.headers["ETag"]) == (200, 5, tag)
    assert api.put("/queues/mail", {"weight": 2}, headers={"If-Match": tag}).status_code == 200


def test_a_pause_changes_the_tag(api: Api) -> None:
    create(api)
    tag = api.get("/queues/mail").headers["ETag"]
    api.post("/queues/mail/pause")

    problem(api.put("/queues/mail", {}, headers={"If-Match": tag}), 412, "changed-meanwhile")


def test_a_queue_that_is_only_named_can_be_changed_if_it_is_as_it_was(api: Api, connection: psycopg.Connection) -> None:
    insert(connection, "t", queue="named")
    tag = {"If-Match": api.get("/queues/named").headers["ETag"]}

    assert api.put("/queues/named", {"weight": 2}, headers=tag).status_code == 200
    problem(api.put("/queues/named", {"weight": 3}, headers=tag), 412, "changed-meanwhile")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_who_changes_a_queue_waits_for_who_changes_it_now(api: Api, database: str, method: str) -> None:
    create(api)
    tag = {"If-Match": api.get("/queues/mail").headers["ETag"]}
    with psycopg.connect(database) as other:
        other.execute("UPDATE pgtask.queues SET weight = 9 WHERE name = 'mail'")
        # Commits when the request waits for it, so that its comparison must come after its lock.
        with psycopg.connect(database, autocommit=True) as observer:
            answers: list[Any] = []
            body = {"weight": 3} if method == "PUT" else None
            thread = Thread(target=lambda: answers.append(api(method, "/queues/mail", body, headers=tag)))
            thread.start()
            eventually(lambda: number(observer, WAITING))
            other.commit()
            thread.join(10)
    problem(answers[0], 412, "changed-meanwhile")


# Pausing


def test_pausing_and_resuming(api: Api, connection: psycopg.Connection) -> None:
    create(api)

    paused = api.post("/queues/mail/pause").get_json()
    again = api.post("/queues/mail/pause").get_json()
    assert paused["paused_at"] is not None
    assert paused["paused_by"] == "all"
    assert again == paused

    resumed = api.post("/queues/mail/resume").get_json()
    assert (resumed["paused_at"], resumed["paused_by"]) == (None, None)
    assert api.post("/queues/mail/resume").get_json() == resumed
    assert [row[:3] for row in audited(connection)[1:]] == [
        ("all", f"{action}_queue", "mail") for action in ("pause", "pause", "resume", "resume")
    ]
    details = audited(connection)[3].details or {}
    assert details["before"] == {"paused_at": paused["paused_at"], "paused_by": "all"}


def test_the_audit_says_what_was_and_what_is(api: Api, connection: psycopg.Connection) -> None:
    create(api, weight=5)
    patch(api, "mail", {"weight": 7, "max_size": None, "rate_limit": "60/min"})

    actor, action, subject, details = last_audited(connection)

    assert (actor, action, subject) == ("all", "change_queue", "mail")
    assert details == {
        "before": {"weight": 5, "rate_limit": None, "rate_burst": None},
        "after": {"weight": 7, "rate_limit": "60/min", "rate_burst": 1},
    }


# Lists


def names(answer: Any) -> list[str]:
    return [queue["name"] for queue in answer.get_json()["items"]]


def test_queues_come_by_priority_and_name_page_by_page(api: Api) -> None:
    for name, priority in (("b", 0), ("a", 0), ("z", 100), ("low", -100), ("1.5", 100)):
        create(api, name, priority=priority)

    whole = names(api.get("/queues"))
    assert whole == ["1.5", "z", "a", "b", "default", "low"]

    found, cursor = [], ""
    while cursor is not None:
        answer = api.get("/queues", query_string={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        assert len(names(answer)) == 2
        found += names(answer)
        cursor = answer.get_json()["next_cursor"]
    assert found == whole


def test_queues_are_found_by_what_they_are(api: Api) -> None:
    create(api, "mail")
    create(api, "Email")
    api.post("/queues/mail/pause")

    assert names(api.get("/queues?search=MAIL")) == ["Email", "mail"]
    assert names(api.get("/queues?paused=true")) == ["mail"]
    assert names(api.get("/queues?paused=false")) == ["Email", "default"]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "cursor=x", "paused=perhaps", "colour=red", "search=%00"])
def test_a_list_refuses_what_it_does_not_know(refusing_api: Api, query: str) -> None:
    problem(refusing_api.get(f"/queues?{query}"), 422, "invalid-request")


# Statistics


def test_the_statistics_of_a_queue(api: Api, connection: psycopg.Connection, database: str) -> None:
    insert(connection, "x", queue="mail", count=4, scheduled_at=ago(100))
    add_live_worker(connection)
    for id in range(1000, 1004):
        add_run(connection, id, "completed", queue="mail", task="x", finished_at=ago(60), started_at=ago(63))
    add_run(connection, 1004, "completed", queue="other", finished_at=ago(60), started_at=ago(63))

    stats = api.get("/queues/mail/stats?window=15m&step=60").get_json()

    assert (stats["pending"], stats["workers"], stats["statistics"]["total"]["completed"]) == (4, 1, 4)
    assert stats["statistics"]["window_seconds"] == 900
    assert len(stats["statistics"]["timeline"]) == 15
    assert stats["drain_seconds"] == pytest.approx(4 / (4 / 900))
    assert stats["oldest_due_at"] < stats["statistics"]["timeline"][-1]["began_at"]
    assert stats.keys() == answer(run(database, "queues", "stats", "mail", "--json")).keys()


def test_nobody_knows_when_a_queue_is_empty_in_which_nothing_ends(api: Api, connection: psycopg.Connection) -> None:
    insert(connection, "x", queue="mail")

    assert api.get("/queues/mail/stats").get_json()["drain_seconds"] is None
    assert api.get("/queues/default/stats").get_json()["drain_seconds"] == 0


# Tokens


def test_a_limited_token_sees_and_changes_only_its_queues(api: Api) -> None:
    create(api, "mail")
    create(api, "hidden")
    mine = api.holder_of(Scope.OPERATE, queues=["mail", "new", "hide"])

    assert names(mine.get("/queues")) == ["mail"]
    assert mine.post("/queues/mail/pause").status_code == 200
    assert mine.put("/queues/mail", {"dead_letter_queue": "new"}).status_code == 200
    assert mine.post("/queues", {"name": "new"}).status_code == 201
    problem(mine.post("/queues", {"name": "other"}), 403, "limited-token")
    problem(mine.put("/queues/mail", {"dead_letter_queue": "hidden"}), 403, "limited-token")
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/pause"), ("GET", "/stats")):
        found = mine(method, f"/queues/hidden{path}", {} if method == "PUT" else None)
        assert "Did you mean" not in problem(found, 404, "queue-not-found")["detail"]
    assert "hidden" not in problem(mine.get("/queues/hide"), 404, "queue-not-found")["detail"].replace("'hide'", "")


def test_reading_is_not_changing(api: Api) -> None:
    create(api)
    reader = api.holder_of(Scope.READ)

    assert reader.get("/queues/mail").status_code == 200
    problem(reader.post("/queues", {"name": "q"}), 403, "missing-scope")
    problem(reader.put("/queues/mail", {}), 403, "missing-scope")
    problem(reader("PATCH", "/queues/mail", {}), 403, "missing-scope")
    problem(reader.delete("/queues/mail"), 403, "missing-scope")
    problem(reader.post("/queues/mail/pause"), 403, "missing-scope")


def test_a_repeated_creation_is_answered_as_before(api: Api) -> None:
    key = {"Idempotency-Key": "k"}
    first = api.post("/queues", {"name": "mail"}, headers=key)

    again = api.post("/queues", {"name": "mail"}, headers=key)

    assert (again.status_code, again.get_json()) == (201, first.get_json())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["ETag"] == first.headers["ETag"]
