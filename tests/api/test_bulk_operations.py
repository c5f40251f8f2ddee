"""Actions on many jobs: by ids, and by a filter, worked off a chunk at a time."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from pgtask.database import bulk, bulk_operations, listing
from pgtask.model.token import Scope
from tests.api_client import Api, problem
from tests.command_line import add_run
from tests.rows import final, insert, job, live, number

Connection = psycopg.Connection[Any]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_operations, "CHUNK", 10)


def work_off(database: str) -> int:
    """Does all that is to be done; in how many chunks."""
    with psycopg.connect(database, autocommit=True) as connection:
        chunks = 0
        while bulk_operations.work_off(connection):
            chunks += 1
    return chunks


def create(api: Api, **body: Any) -> dict[str, Any]:
    answer = api.post("/bulk-operations", body)
    assert answer.status_code == 202, answer.text
    made: dict[str, Any] = answer.get_json()
    assert answer.headers["Location"] == f"/api/v1/bulk-operations/{made['id']}"
    return made


def read(api: Api, made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/bulk-operations/{made['id']}").get_json()
    return found


def test_jobs_are_acted_on_by_their_ids(api: Api, connection: Connection) -> None:
    waiting, other = insert(connection, "t", count=2)

    answer = api.post("/jobs/cancel", {"ids": [waiting, 10**12]}).get_json()

    assert answer["items"] == [
        {"id": waiting, "answer": "cancelled", "detail": None},
        {"id": 10**12, "answer": None, "detail": None},
    ]
    assert api.post("/jobs/retry", {"ids": [waiting, other]}).get_json()["items"] == [
        {"id": waiting, "answer": "pending", "detail": None},
        {"id": other, "answer": "active", "detail": None},
    ]
    assert api.post("/jobs/delete", {"ids": [waiting]}).get_json()["items"][0]["answer"] == "deleted"
    assert job(connection, waiting) is None


def test_what_a_caller_may_not_see_is_not_acted_on(api: Api, connection: Connection) -> None:
    (mine,) = insert(connection, "t", queue="mail")
    (other,) = insert(connection, "t", queue="other")
    limited = api.holder_of(Scope.OPERATE, queues=["mail"])

    answer = limited.post("/jobs/cancel", {"ids": [mine, other]}).get_json()

    assert [item["answer"] for item in answer["items"]] == ["cancelled", None]
    assert job(connection, other) is not None


@pytest.mark.parametrize("ids", [[], [0], ["1"], [1] * 1001, [2**63], None])
def test_ids_that_can_be_none_are_refused(api: Api, ids: Any) -> None:
    problem(api.post("/jobs/cancel", {"ids": ids}), 422, "invalid-request")


@pytest.mark.usefixtures("small_chunks")
def test_all_that_match_are_cancelled_chunk_by_chunk(api: Api, connection: Connection, database: str) -> None:
    wanted = insert(connection, "t", queue="mail", count=35)
    (other,) = insert(connection, "t")
    made = create(api, action="cancel", jobs={"queue": "mail"})
    assert (made["status"], made["matched"], made["exact"], made["processed"]) == ("pending", 35, True, 0)
    (later,) = insert(connection, "t", queue="mail")

    assert work_off(database) == 4

    done = read(api, made)
    assert (done["status"], done["processed"], done["answers"]) == ("completed", 35, {"cancelled": 35})
    assert all(final(connection, id) for id in wanted)
    assert job(connection, other)
    assert job(connection, later)
    assert done["created_by"] == "all"
    assert done["finished_at"] >= done["started_at"]


def test_what_ends_after_an_operation_was_made_is_not_caught(api: Api, connection: Connection, database: str) -> None:
    add_run(connection, 1, queue="mail")
    add_run(connection, 3, queue="mail")
    made = create(api, action="delete", jobs={"queue": "mail"})
    add_run(connection, 2, queue="mail")

    work_off(database)

    assert read(api, made)["processed"] == 2
    assert [bool(final(connection, id)) for id in (1, 2, 3)] == [False, True, False]


def test_what_is_retried_while_ended_jobs_are_deleted_is_not_lost(
    api: Api, connection: Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for id in (1, 2):
        add_run(connection, id, "failed")
    made = create(api, action="delete", jobs={"status": ["failed"]})
    find = listing.find_ids

    def slowly(*arguments: Any, **more: Any) -> list[int]:
        found = find(*arguments, **more)
        connection.execute("SELECT pgtask.retry(1)")
        return found

    monkeypatch.setattr(listing, "find_ids", slowly)
    work_off(database)

    assert read(api, made)["answers"] == {"active": 1, "deleted": 1}
    assert live(connection, 1)["status"] == "pending"


@pytest.mark.usefixtures("small_chunks")
def test_a_chunk_that_fails_is_done_again_and_none_is_left_out(
    api: Api, connection: Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(connection, "t", queue="mail", count=25)
    made = create(api, action="cancel", jobs={"queue": "mail"})
    real, calls = bulk.cancel_jobs, [0]

    def stumbling(*arguments: Any) -> Any:
        answers = real(*arguments)
        calls[0] += 1
        if calls[0] == 2:
            raise RuntimeError("stumbled")
        return answers

    monkeypatch.setattr(bulk, "cancel_jobs", stumbling)
    work_off(database)

    done = read(api, made)
    assert (done["status"], done["processed"], done["answers"]) == ("completed", 25, {"cancelled": 25})
    assert done["error"] == "stumbled"
    assert number(connection, "SELECT count(*) FROM pgtask.runs WHERE final") == 25


def test_an_operation_that_never_works_is_given_up(
    api: Api, connection: Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(connection, "t")
    made = create(api, action="cancel", jobs={"task": "t"})

    def failing(*_: Any) -> Any:
        raise RuntimeError("never")

    monkeypatch.setattr(bulk, "cancel_jobs", failing)
    assert work_off(database) == 10
    assert (read(api, made)["status"], read(api, made)["error"]) == ("failed", "never")


@pytest.mark.usefixtures("small_chunks")
def test_an_operation_can_be_stopped_between_chunks(api: Api, connection: Connection, database: str) -> None:
    insert(connection, "t", queue="mail", count=35)
    made = create(api, action="cancel", jobs={"queue": "mail"})
    with psycopg.connect(database, autocommit=True) as worker:
        bulk_operations.work_off(worker)

    assert api.post(f"/bulk-operations/{made['id']}/cancel").status_code == 200
    work_off(database)

    assert (read(api, made)["status"], read(api, made)["processed"]) == ("cancelled", 10)
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 25


def test_two_never_work_on_one(api: Api, connection: Connection, database: str) -> None:
    insert(connection, "t", count=3)
    create(api, action="cancel", jobs={"task": "t"})
    with psycopg.connect(database) as first, psycopg.connect(database, autocommit=True) as second:
        first.execute("SELECT FROM pgtask.bulk_operations FOR UPDATE")
        assert not bulk_operations.work_off(second)
        first.rollback()
        assert bulk_operations.work_off(second)


def test_failed_jobs_are_put_back_at_a_rate(api: Api, connection: Connection, database: str) -> None:
    for id in (101, 102, 103):
        add_run(connection, id, "failed", task="t")
    made = create(api, action="retry", dead_letters={"task": "t"}, rate="1/min")

    work_off(database)

    assert read(api, made)["answers"] == {"pending": 3}
    spread = "SELECT extract(epoch FROM max(scheduled_at) - min(scheduled_at))::int FROM pgtask.jobs"
    assert number(connection, spread) == 120


def test_refusals_are_told(api: Api, connection: Connection, database: str) -> None:
    insert(connection, "t", unique_key="k")
    add_run(connection, 101, "failed", task="t", unique_key="k")
    made = create(api, action="retry", jobs={"task": "t"})

    work_off(database)

    [refusal] = read(api, made)["refusals"]
    assert (refusal["id"], refusal["answer"]) == (101, "held")
    assert "unique key" in refusal["detail"]


def test_dead_letters_are_resolved_with_a_note(api: Api, connection: Connection, database: str) -> None:
    add_run(connection, 101, "failed", task="t")
    create(api, action="resolve", dead_letters={"task": "t"}, note="refunded")

    work_off(database)

    found = connection.execute("SELECT job_id, note, resolved_by FROM pgtask.resolutions").fetchall()
    assert found == [(101, "refunded", "all")]


def test_an_empty_filter_must_be_meant(api: Api, connection: Connection) -> None:
    insert(connection, "t")
    refused = problem(api.post("/bulk-operations", {"action": "cancel", "jobs": {}}), 422, "invalid-value")
    assert '"all": true' in refused["detail"]
    assert create(api, action="cancel", jobs={}, all=True)["matched"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {"action": "cancel"},
        {"action": "cancel", "jobs": {"queue": "a"}, "dead_letters": {"queue": "a"}},
        {"action": "explode", "jobs": {"queue": "a"}},
        {"action": "cancel", "jobs": {"status": ["sleeping"]}},
        {"action": "cancel", "jobs": {"colour": "red"}},
    ],
)
def test_what_makes_no_sense_is_refused(api: Api, body: dict[str, Any]) -> None:
    problem(api.post("/bulk-operations", body), 422, "invalid-request")


def test_what_cannot_be_done_to_dead_letters_is_refused(api: Api) -> None:
    refused = api.post("/bulk-operations", {"action": "cancel", "dead_letters": {"queue": "a"}})
    assert "retry" in problem(refused, 422, "invalid-value")["detail"]
    problem(
        api.post("/bulk-operations", {"action": "retry", "jobs": {"queue": "a"}, "rate": "often"}), 422, "invalid-value"
    )


def test_a_preview_counts_and_does_nothing(api: Api, connection: Connection, database: str) -> None:
    insert(connection, "t", count=3)

    answer = api.post("/bulk-operations/preview", {"action": "cancel", "jobs": {"task": "t"}})

    assert answer.get_json() == {"matched": 3, "exact": True}
    assert not work_off(database)


def test_operations_are_listed_the_latest_first(api: Api, connection: Connection) -> None:
    insert(connection, "t")
    made = [create(api, action="cancel", jobs={"task": "t"})["id"] for _ in range(3)]

    first = api.get("/bulk-operations?limit=2").get_json()
    rest = api.get(f"/bulk-operations?limit=2&cursor={first['next_cursor']}").get_json()

    assert [item["id"] for item in first["items"] + rest["items"]] == made[::-1]
    assert rest["next_cursor"] is None
    problem(api.get("/bulk-operations?cursor=nonsense"), 422, "invalid-cursor")
    problem(api.get("/bulk-operations/999"), 404, "operation-not-found")


def test_what_was_done_is_audited(api: Api, connection: Connection) -> None:
    (id,) = insert(connection, "t")
    api.post("/jobs/cancel", {"ids": [id]})
    create(api, action="cancel", jobs={"task": "t"})

    found = connection.execute("SELECT actor, action, subject FROM pgtask.audit ORDER BY id").fetchall()
    assert found == [("all", "cancel_jobs", str(id)), ("all", "create_bulk_operation", "1")]
