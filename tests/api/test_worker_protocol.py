"""Workers over HTTP: what they are given, what they may tell, and what becomes of answers that do not arrive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgtask.database import ownership, remote
from pgtask.database.remote import RemoteConnection
from pgtask.model.token import Scope
from tests.api.remote import Remote, register
from tests.api_client import Api, problem
from tests.rows import add_row, add_worker, ago, ended, expire, insert, job, live, number, runs
from tests.support import eventually

Connection = psycopg.Connection[Any]

GIVE_UP = 30.0


def age(connection: Connection, worker: Remote, seconds: float = 60) -> None:
    """Lets all that was noted of a worker, and its last heartbeat, be so many seconds older."""
    connection.execute("UPDATE pgtask.holdings SET noted_at = noted_at - make_interval(secs => %s)", [seconds])
    connection.execute(
        "UPDATE pgtask.workers SET heartbeat_at = heartbeat_at - make_interval(secs => %s) WHERE id = %s",
        [seconds - 1, worker.id],
    )


def row(connection: Connection, worker: Remote) -> dict[str, Any]:
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        found = cursor.execute("SELECT * FROM pgtask.workers WHERE id = %s", [worker.id]).fetchone()
    assert found is not None
    return found


def held(connection: Connection) -> int:
    return number(connection, "SELECT count(*) FROM pgtask.limit_holds")


# Registering


def test_a_worker_is_a_row_like_any_other(api: Api, connection: Connection) -> None:
    worker = register(api, "a", "b", queues=["q"], slots=4, lease=12, name="w", host="h", pid=7, version="1.2")

    found = row(connection, worker)

    names = ("name", "host", "pid", "version", "queues", "tasks", "executors", "slots", "lease", "token")
    assert [found[name] for name in names] == ["w", "h", 7, "1.2", ["q"], ["a", "b"], 1, 4, 12, "all"]


def test_a_name_alone_leaves_what_is_declared_of_the_task(api: Api, connection: Connection) -> None:
    add_row(connection, "tasks", name="known", timeout=5, payload_schema=Jsonb({"type": "object"}))

    register(api, "known", "new")

    found = connection.execute("SELECT name, timeout, payload_schema FROM pgtask.tasks ORDER BY name").fetchall()
    assert found == [("known", 5, {"type": "object"}), ("new", None, None)]


def test_a_task_is_declared_with_its_policy(api: Api, connection: Connection) -> None:
    register(
        api,
        {
            "name": "t",
            "queue": "mail",
            "priority": "high",
            "max_retries": 7,
            "retry_strategy": "linear",
            "retry_delay": "2m",
            "max_retry_delay": 600,
            "timeout": 9,
            "payload_schema": {"type": "object"},
        },
    )

    found = connection.execute(
        "SELECT queue, priority, max_retries, retry_strategy::text, retry_delay, max_retry_delay, timeout,"
        " payload_schema FROM pgtask.tasks WHERE name = 't'"
    ).fetchone()
    assert found == ("mail", 2, 7, "linear", 120, 600, 9, {"type": "object"})


@pytest.mark.parametrize(
    "body",
    [
        {"tasks": []},
        {"tasks": ["a"], "slots": 0},
        {"tasks": ["a"], "lease": 0.5},
        {"tasks": ["a"], "queues": []},
        {"tasks": ["a"], "colour": "red"},
        {"tasks": [{"name": "a", "retry_strategy": "sometimes"}]},
        {"tasks": ["a\0b"]},
        {"tasks": [{"name": "\N{GRINNING FACE}" * 100}]},
    ],
)
def test_a_registration_that_makes_no_sense_is_refused(api: Api, body: dict[str, Any]) -> None:
    assert api.post("/workers/register", body).status_code == 422


def test_the_protocol_is_for_workers(api: Api) -> None:
    operator = api.holder_of(Scope.OPERATE)

    problem(operator.post("/workers/register", {"tasks": ["t"]}), 403, "missing-scope")
    problem(operator.post("/workers/fetch", {"worker_id": 1}), 403, "missing-scope")
    problem(operator.post("/jobs/1/complete", {"worker_id": 1, "attempt": 1}), 403, "missing-scope")


def test_nobody_acts_for_the_worker_of_another_token(api: Api, connection: Connection) -> None:
    [id] = insert(connection, "t")
    worker = register(api.holder_of(Scope.WORKER), "t")
    given = worker.one()
    stranger = Remote(api.holder_of(Scope.WORKER), worker.id)
    native = Remote(api, add_worker(connection))

    for one in (stranger, native):
        problem(one.api.post("/workers/heartbeat", {"worker_id": one.id}), 404, "worker-not-found")
        problem(one.api.post("/workers/fetch", {"worker_id": one.id}), 404, "worker-not-found")
        problem(one.api.post("/workers/deregister", {"worker_id": one.id}), 404, "worker-not-found")
        for what in ("complete", "release", "progress"):
            problem(one.tell(what, given), 404, "worker-not-found")
        problem(one.tell("fail", given, error="x"), 404, "worker-not-found")
    assert live(connection, id)["worker_id"] == worker.id


def test_a_token_limited_to_queues_is_given_no_other_jobs(api: Api, connection: Connection) -> None:
    insert(connection, "t", queue="other")
    [id] = insert(connection, "t", queue="mail")
    limited = api.holder_of(Scope.WORKER, queues=["mail"])
    worker = register(limited, "t")

    assert [given["id"] for given in worker.fetch()] == [id]
    assert row(connection, worker)["queues"] == ["mail"]
    problem(limited.post("/workers/register", {"tasks": ["t"], "queues": ["other"]}), 404, "queue-not-found")
    problem(limited.post("/workers/fetch", {"worker_id": worker.id, "queues": ["other"]}), 404, "queue-not-found")
    problem(limited.post("/workers/register", {"tasks": [{"name": "t", "queue": "mail"}]}), 403, "limited-token")


# Fetching


def test_a_job_comes_with_all_that_its_handler_needs(api: Api, connection: Connection) -> None:
    add_row(connection, "tasks", name="t", max_retries=9)
    [id] = insert(
        connection, "t", {"n": 1}, queue="q", priority=2, timeout=30, traceparent="00-a", tags=["x"], retry_count=2
    )

    given = register(api, "t").one()

    kept = {name: given[name] for name in ("id", "attempt", "task", "queue", "priority", "timeout", "retry_count")}
    assert kept == {
        "id": id, "attempt": 1, "task": "t", "queue": "q", "priority": 2, "timeout": 30, "retry_count": 2,
    }  # fmt: skip
    assert (given["max_retries"], given["traceparent"], given["tags"]) == (9, "00-a", ["x"])
    assert given["deadline"] is not None
    assert live(connection, id)["status"] == "running"


def test_a_payload_goes_out_as_it_is_stored(api: Api, connection: Connection) -> None:
    insert(connection, "t")
    text = '{"exact": 1.00000000000000000001, "large": 123456789012345678901234567890}'
    connection.execute("UPDATE pgtask.jobs SET payload = %s::jsonb", [text])
    worker = register(api, "t")

    answer = api.post("/workers/fetch", {"worker_id": worker.id})

    assert text in answer.get_data(as_text=True)


@pytest.mark.parametrize("own", [30, None])
def test_the_timeout_is_the_jobs_own_or_its_tasks_or_its_queues(
    own: float | None, api: Api, connection: Connection
) -> None:
    add_row(connection, "queues", name="slow", timeout=90)
    insert(connection, "t", queue="slow", timeout=own)

    assert register(api, "t").one()["timeout"] == (own or 90)


def test_jobs_come_in_the_order_that_holds_for_all(api: Api, connection: Connection) -> None:
    add_row(connection, "queues", name="first", priority=5)
    [later] = insert(connection, "t", priority=1)
    [sooner] = insert(connection, "t", priority=3)
    [first] = insert(connection, "t", queue="first", priority=0)
    worker = register(api, "t")

    assert [worker.one()["id"] for _ in range(3)] == [first, sooner, later]


def test_only_what_is_asked_for_is_given(api: Api, connection: Connection) -> None:
    [a] = insert(connection, "a", queue="one")
    [b] = insert(connection, "b", queue="two")
    insert(connection, "c", queue="one")
    worker = register(api, "a", "b", queues=["one", "two"])

    assert worker.fetch(tasks=["c"]) == []
    assert worker.fetch(queues=["three"]) == []
    assert [given["id"] for given in worker.fetch(tasks=["b"])] == [b]
    assert [given["id"] for given in worker.fetch(queues=["one"])] == [a]
    assert worker.fetch() == []


def test_what_is_paused_or_late_or_not_yet_due_stays(api: Api, connection: Connection) -> None:
    add_row(connection, "queues", name="paused", paused_at="now")
    insert(connection, "t", queue="paused")
    insert(connection, "t", scheduled_at=ago(-3600))
    insert(connection, "t", start_by=ago(10))

    assert register(api, "t").fetch() == []


def test_limits_hold_and_their_places_are_freed(api: Api, connection: Connection) -> None:
    add_row(connection, "queues", name="few", max_workers=2)
    insert(connection, "t", queue="few", count=5)
    worker, other = register(api, "t"), register(api, "t")

    first = worker.fetch(10)
    assert len(first) == 2
    assert other.fetch(10) == []

    worker.ends("complete", first[0])
    assert len(other.fetch(10, wait=GIVE_UP)) == 1
    worker.ends("fail", first[1], error="x", retry=False)
    [third] = worker.fetch(10, wait=GIVE_UP)
    assert held(connection) == 2
    worker.ends("release", third)
    assert held(connection) == 1


def test_of_a_concurrency_key_one_runs_at_a_time(api: Api, connection: Connection) -> None:
    insert(connection, "t", concurrency_key="k", count=2)
    worker = register(api, "t")

    [given] = worker.fetch(10)
    assert worker.fetch(10) == []
    worker.ends("complete", given)

    assert len(worker.fetch(10, wait=GIVE_UP)) == 1


def test_a_rate_holds(api: Api, connection: Connection) -> None:
    add_row(connection, "tasks", name="t", rate_limit=2, rate_period=3600, rate_burst=2)
    insert(connection, "t", count=5)

    assert len(register(api, "t").fetch(10)) == 2


def test_failures_open_the_circuit_of_a_task_and_a_probe_closes_it(api: Api, connection: Connection) -> None:
    add_row(connection, "tasks", name="t", breaker_failures=2, breaker_hold=30, breaker_max_hold=60)
    insert(connection, "t", count=6)
    worker = register(api, "t")

    for given in worker.fetch(2):
        worker.ends("fail", given, error="no", retry=False)
    assert worker.fetch(10) == []

    connection.execute("UPDATE pgtask.circuits SET hold_until = now()")
    [probe] = worker.fetch(10, wait=GIVE_UP)
    worker.ends("complete", probe)
    assert number(connection, "SELECT count(*) FROM pgtask.circuits WHERE state = 'closed'") == 1
    assert len(worker.fetch(10, wait=GIVE_UP)) == 3


def test_what_crashed_a_process_runs_alone(api: Api, connection: Connection) -> None:
    [id] = insert(connection, "t", suspect=True)
    many, single = register(api, "t", slots=4), register(api, "t")

    assert many.fetch(1) == []
    assert single.fetch(2) == []
    assert single.one()["id"] == id


def test_a_fetch_waits_for_a_job(api: Api, connection: Connection) -> None:
    worker = register(api, "t")
    found: list[dict[str, Any]] = []
    waiting = threading.Thread(target=lambda: found.extend(worker.fetch(wait=GIVE_UP)))
    waiting.start()
    eventually(lambda: number(connection, "SELECT last_value FROM pgtask.idle_until") > 1)

    [id] = insert(connection, "t")
    waiting.join(GIVE_UP)

    assert [given["id"] for given in found] == [id]


def test_a_fetch_that_waits_holds_no_connection(api: Api, connection: Connection) -> None:
    worker = register(api, "t")
    counter = api.app.extensions["pgtask.counter"]
    waiting = threading.Thread(target=lambda: worker.fetch(wait=GIVE_UP))
    waiting.start()
    eventually(lambda: counter._waiting == 1)

    taken = [counter.pool._places.acquire(blocking=False) for _ in range(4)]
    assert all(taken)
    for _ in taken:
        counter.pool._places.release()
    insert(connection, "t")
    waiting.join(GIVE_UP)
    assert not waiting.is_alive()


def test_fetches_do_not_queue_up_behind_one_that_does_not_end(
    api: Api, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would take up all threads of the server while the database does not answer."""
    monkeypatch.setattr("pgtask.engine.dispenser.PATIENCE", 0.1)
    [id] = insert(connection, "t")
    worker = register(api, "t")
    dispenser = api.app.extensions["pgtask.counter"]._dispenser((None, ("t",)))

    with dispenser._lock:
        problem(api.post("/workers/fetch", {"worker_id": worker.id}), 503, "database-unavailable")

    assert worker.one()["id"] == id


def test_when_too_many_wait_the_next_one_is_told_to_come_again(api: Api) -> None:
    worker = register(api, "t")
    api.app.extensions["pgtask.counter"]._places = 0

    answer = api.post("/workers/fetch", {"worker_id": worker.id, "wait": 30}).get_json()

    assert (answer["jobs"], answer["fetch_again_in"]) == ([], 1.0)


def test_a_job_given_back_behind_the_watermark_is_found(api: Api, connection: Connection) -> None:
    ids = insert(connection, "t", count=20, scheduled_at=ago(60))
    worker = register(api, "t")
    given = worker.fetch(20)
    assert worker.fetch() == []

    worker.ends("release", given[0])

    assert [again["id"] for again in worker.fetch(wait=GIVE_UP)] == [given[0]["id"]]
    assert len(ids) == 20


def test_a_claim_that_was_not_committed_is_forgotten(api: Api, connection: Connection) -> None:
    add_row(connection, "queues", name="few", max_workers=10)
    ids = insert(connection, "t", queue="few", count=3, scheduled_at=ago(60))
    worker = register(api, "t")
    connection.execute("ALTER TABLE pgtask.holdings ADD CONSTRAINT broken CHECK (named)")
    assert api.post("/workers/fetch", {"worker_id": worker.id, "limit": 3}).status_code == 422
    assert live(connection, ids[0])["status"] == "pending"

    connection.execute("ALTER TABLE pgtask.holdings DROP CONSTRAINT broken")

    assert [given["id"] for given in worker.fetch(3)] == ids


# Ending jobs


def test_a_job_is_completed_with_its_result(api: Api, connection: Connection) -> None:
    [id] = insert(connection, "t")
    worker = register(api, "t")

    assert worker.ends("complete", worker.one(), result={"n": [1, "a", None]}, seconds=0) == {
        "id": id, "attempt": 1, "outcome": "completed", "final": True, "repeated": False,
    }  # fmt: skip

    run = ended(connection, id)
    assert (run["outcome"], run["result"], run["worker_id"]) == ("completed", {"n": [1, "a", None]}, worker.id)
    assert (run["finished_at"] - run["started_at"]).total_seconds() < 0.001


def test_told_twice_it_counts_once(api: Api, connection: Connection) -> None:
    insert(connection, "t", count=3)
    worker = register(api, "t")
    done, bad, later = worker.fetch(3)

    for what, given, more in (
        ("complete", done, {}),
        ("fail", bad, {"error": "x"}),
        ("snooze", later, {"delay": 60}),
    ):
        first, second = worker.ends(what, given, **more), worker.ends(what, given, **more)
        assert first | {"repeated": True} == second
        assert len(runs(connection, given["id"])) == 1


def test_a_failure_is_retried_as_the_policy_says(api: Api, connection: Connection) -> None:
    [id] = insert(connection, "t", retry_strategy="fixed", retry_delay=1000, max_retry_delay=1000, max_retries=1)
    worker = register(api, "t")

    told = {"error": "no\0", "error_type": "ValueError", "traceback": "line 1"}
    assert worker.ends("fail", worker.one(), **told)["final"] is False
    run = runs(connection, id)[0]
    assert (run["outcome"], run["error"], run["error_type"], run["traceback"]) == (
        "failed", "no\N{SYMBOL FOR NULL}", "ValueError", "line 1",
    )  # fmt: skip
    waits = number(connection, "SELECT extract(epoch FROM scheduled_at - now()) FROM pgtask.jobs")
    assert 850 < waits < 1150

    connection.execute("UPDATE pgtask.jobs SET scheduled_at = now()")
    [again] = worker.fetch(wait=GIVE_UP)
    assert (again["attempt"], again["retry_count"]) == (2, 1)
    assert worker.ends("fail", again, error="no")["final"] is True
    assert ended(connection, id)["status"] == "failed"


def test_a_failure_may_end_the_job_or_choose_its_delay(api: Api, connection: Connection) -> None:
    final, timed, delayed = insert(connection, "t", count=3)
    worker = register(api, "t")
    jobs = {given["id"]: given for given in worker.fetch(3)}

    assert worker.ends("fail", jobs[final], error="x", retry=False)["final"] is True
    assert worker.ends("fail", jobs[timed], error="x", outcome="timeout")["outcome"] == "timeout"
    worker.ends("fail", jobs[delayed], error="x", retry="2h")

    waits = number(
        connection, "SELECT extract(epoch FROM scheduled_at - now()) FROM pgtask.jobs WHERE id = %s", [delayed]
    )
    assert 7000 < waits <= 7200
    assert live(connection, timed)["retry_count"] == 1


def test_giving_back_and_snoozing_cost_nothing(api: Api, connection: Connection) -> None:
    released, untouched, snoozed = insert(connection, "t", count=3)
    worker = register(api, "t")
    jobs = {given["id"]: given for given in worker.fetch(3)}

    assert worker.ends("release", jobs[released])["outcome"] == "released"
    assert worker.ends("release", jobs[untouched], started=False)["outcome"] == "released"
    assert worker.ends("snooze", jobs[snoozed], delay="1h")["outcome"] == "snoozed"

    assert [live(connection, id)["retry_count"] for id in jobs] == [0, 0, 0]
    assert [len(runs(connection, id)) for id in (released, untouched, snoozed)] == [1, 0, 1]


def test_several_are_completed_at_once(api: Api, connection: Connection) -> None:
    insert(connection, "t", count=3)
    worker = register(api, "t")
    jobs = worker.fetch(3)
    gone = jobs[1]
    worker.ends("release", gone)
    told = [{"id": given["id"], "attempt": given["attempt"], "result": given["id"]} for given in jobs]

    answer = api.post("/workers/complete", {"worker_id": worker.id, "jobs": [*told, told[0]]}).get_json()

    outcomes = {one["id"]: one["outcome"] for one in answer["jobs"]}
    assert outcomes == {jobs[0]["id"]: "completed", gone["id"]: None, jobs[2]["id"]: "completed"}
    assert ended(connection, jobs[2]["id"])["result"] == jobs[2]["id"]
    assert live(connection, gone["id"])["status"] == "pending"


UNFIT = {
    "U+0000": r'"a\u0000b"',
    "infinite": "1e400",
    "too large": f'"{"x" * 1024 * 1024}"',
}


@pytest.mark.parametrize("result", UNFIT.values(), ids=UNFIT)
def test_a_result_that_cannot_be_stored_is_the_jobs_own_failure(result: str, api: Api, connection: Connection) -> None:
    insert(connection, "t", count=2)
    worker = register(api, "t")
    bad, good = worker.fetch(2)
    jobs = f'{{"id": {bad["id"]}, "attempt": 1, "result": {result}}}, {{"id": {good["id"]}, "attempt": 1, "result": 1}}'
    body = f'{{"worker_id": {worker.id}, "jobs": [{jobs}]}}'

    answer = api("POST", "/workers/complete", data=body, content_type="application/json")

    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert [one["outcome"] for one in answer.get_json()["jobs"]] == ["failed", "completed"]
    assert runs(connection, bad["id"])[0]["error_type"] == "PayloadError"


def test_what_postgresql_refuses_does_not_hold_up_the_others(api: Api, connection: Connection) -> None:
    insert(connection, "t", count=2)
    worker = register(api, "t")
    bad, good = worker.fetch(2)
    connection.execute("ALTER TABLE pgtask.runs ADD CONSTRAINT picky CHECK (result IS DISTINCT FROM '13')")
    told = [{"id": one["id"], "attempt": 1, "result": result} for one, result in ((bad, 13), (good, 14))]

    answer = api.post("/workers/complete", {"worker_id": worker.id, "jobs": told}).get_json()

    assert [one["outcome"] for one in answer["jobs"]] == ["failed", "completed"]
    assert runs(connection, bad["id"])[0]["error_type"] == "ResultRefused"
    assert worker.ends("complete", bad, result=13)["repeated"] is True


def test_progress_and_logs_are_kept(api: Api, connection: Connection) -> None:
    [id] = insert(connection, "t")
    worker = register(api, "t")
    given = worker.one()

    assert worker.ends("progress", given, percent=40.5, message="half", logs=[{"message": "a"}])["cancel"] is False
    worker.ends("progress", given, percent=50)
    worker.ends("progress", given, message="more", logs=[{"message": "b", "level": "warning"}])
    worker.ends("progress", given, logs=[{"message": "c", "line": 7}])
    worker.ends("progress", given, logs=[{"message": "c", "line": 7}])
    worker.ends("progress", given)

    found = live(connection, id)
    assert (found["progress"], found["progress_message"]) == (50, "more")
    lines = connection.execute("SELECT line, level, message FROM pgtask.job_logs ORDER BY line").fetchall()
    assert lines == [(1, "info", "a"), (2, "warning", "b"), (7, "info", "c")]


def test_a_log_is_kept_up_to_a_limit(api: Api, connection: Connection) -> None:
    insert(connection, "t")
    worker = register(api, "t")
    given = worker.one()

    worker.ends("progress", given, logs=[{"message": "x"}] * 1000)
    worker.ends("progress", given, logs=[{"message": "x"}] * 10)

    assert number(connection, "SELECT count(*) FROM pgtask.job_logs") == 1000
    assert number(connection, "SELECT count(*) FROM pgtask.job_logs WHERE message LIKE 'Further lines%%'") == 1


# Fencing


TELL: list[tuple[str, dict[str, Any]]] = [
    ("complete", {}),
    ("fail", {"error": "x"}),
    ("snooze", {"delay": 1}),
    ("release", {}),
    ("progress", {"percent": 1}),
]


@pytest.mark.parametrize(("what", "more"), TELL)
def test_what_is_no_longer_the_workers_is_refused(
    what: str, more: dict[str, Any], api: Api, connection: Connection
) -> None:
    [id] = insert(connection, "t")
    worker, other = register(api, "t"), register(api, "t")
    stale = worker.one()
    worker.ends("release", stale, started=False)
    current = other.one(wait=GIVE_UP)
    before = live(connection, id)

    problem(worker.tell(what, stale, **more), 409, "lease-lost")
    problem(worker.tell(what, current, **more), 409, "lease-lost")
    problem(other.tell(what, stale, **more), 409, "lease-lost")
    problem(other.tell(what, stale | {"id": id + 1000}, **more), 409, "lease-lost")

    assert live(connection, id) == before


@pytest.mark.parametrize(("what", "more"), TELL)
def test_a_worker_that_is_over_is_told_so(what: str, more: dict[str, Any], api: Api, connection: Connection) -> None:
    insert(connection, "t")
    worker = register(api, "t")
    given = worker.one()
    bury(connection, worker)

    problem(worker.tell(what, given, **more), 410, "worker-gone")
    problem(Remote(api, 999_999).tell(what, given, **more), 410, "worker-gone")


def bury(connection: Connection, worker: Remote) -> list[tuple[int, int]]:
    """Has a worker's lease run out, and a native worker rescue its jobs."""
    expire(connection, worker.id)
    rescuer = add_worker(connection, age=60)
    assert [dead[0] for dead in ownership.bury_dead(connection, rescuer)] == [worker.id]
    return ownership.rescue(connection, rescuer)


def test_a_dead_worker_is_turned_away(api: Api, connection: Connection) -> None:
    worker = register(api, "t")
    bury(connection, worker)

    for path in ("/workers/heartbeat", "/workers/fetch"):
        problem(api.post(path, {"worker_id": worker.id}), 410, "worker-gone")
        problem(api.post(path, {"worker_id": 999_999}), 410, "worker-gone")
    jobs = [{"id": 1, "attempt": 1}]
    problem(api.post("/workers/complete", {"worker_id": worker.id, "jobs": jobs}), 410, "worker-gone")


def test_a_dead_workers_jobs_come_back(api: Api, connection: Connection) -> None:
    [id] = insert(connection, "t")
    worker = register(api, "t")
    worker.one()

    assert bury(connection, worker) == [(id, 1)]

    assert runs(connection, id)[0]["outcome"] == "lost"
    assert register(api, "t").one()["attempt"] == 2


def test_a_claim_that_outlasts_its_worker_is_undone(
    api: Api, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may be stopped between its statements for longer than anyone looks for the jobs of the dead."""
    [id] = insert(connection, "t")
    worker = register(api, "t")
    note = RemoteConnection.note_claim

    def late(self: RemoteConnection, rows: Any) -> Any:
        assert bury(connection, worker) == []
        return note(self, rows)

    monkeypatch.setattr(RemoteConnection, "note_claim", late)
    problem(api.post("/workers/fetch", {"worker_id": worker.id}), 410, "worker-gone")
    monkeypatch.undo()

    assert live(connection, id)["status"] == "pending"
    assert register(api, "t").one()["id"] == id


@pytest.mark.parametrize("pooled", [False, True])
def test_a_server_that_falls_silent_within_a_claim_keeps_nobody_alive(
    pooled: bool, make_api: Callable[..., Api], database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(remote._SETTINGS, "idle_in_transaction_session_timeout", "100")
    [id] = insert(connection, "t")
    api = make_api(database, pooled=pooled)
    worker = register(api, "t")
    note = RemoteConnection.note_claim

    def fall_silent(self: RemoteConnection, rows: Any) -> Any:
        briefings = note(self, rows)
        expire(connection, worker.id)
        rescuer = add_worker(connection, age=60)
        eventually(lambda: ownership.bury_dead(connection, rescuer))
        return briefings

    monkeypatch.setattr(RemoteConnection, "note_claim", fall_silent)
    problem(api.post("/workers/fetch", {"worker_id": worker.id}), 503, "database-unavailable")

    assert live(connection, id)["status"] == "pending"


def test_a_worker_is_not_declared_dead_while_it_is_given_jobs(
    api: Api, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(connection, "t")
    worker = register(api, "t")
    note = RemoteConnection.note_claim

    def meanwhile(self: RemoteConnection, rows: Any) -> Any:
        briefings = note(self, rows)
        expire(connection, worker.id)
        assert ownership.bury_dead(connection, add_worker(connection, age=60)) == []
        return briefings

    monkeypatch.setattr(RemoteConnection, "note_claim", meanwhile)
    given = worker.one()
    monkeypatch.undo()

    assert bury(connection, worker) == [(given["id"], 1)]


def test_a_completion_from_before_the_death_is_known_after_it(api: Api, connection: Connection) -> None:
    insert(connection, "t")
    worker = register(api, "t")
    given = worker.one()
    worker.ends("complete", given)
    bury(connection, worker)

    assert worker.ends("complete", given)["repeated"] is True


def test_a_lease_that_has_run_out_takes_nothing_until_it_is_renewed(api: Api, connection: Connection) -> None:
    insert(connection, "t", count=2)
    worker = register(api, "t")
    given = worker.one()
    expire(connection, worker.id)

    problem(api.post("/workers/fetch", {"worker_id": worker.id}), 409, "lease-expired")
    worker.ends("complete", given)
    worker.beat()

    assert len(worker.fetch()) == 1


# Heartbeats


def test_a_heartbeat_renews_the_lease(api: Api, connection: Connection) -> None:
    worker = register(api, "t", lease=60)
    connection.execute("UPDATE pgtask.workers SET expires_at = now() + interval '1 s'")

    assert worker.beat({"id": 1, "attempt": 1}, cpu_percent=12.5, rss_bytes=1000, quiet=True)["lease"] == 60

    found = row(connection, worker)
    assert (found["cpu_percent"], found["rss_bytes"], found["running"]) == (12.5, 1000, 1)
    assert found["quiet_at"] is not None
    assert number(connection, "SELECT extract(epoch FROM expires_at - now()) FROM pgtask.workers") > 30


def test_a_heartbeat_tells_how_many_attempts_have_ended(api: Api, connection: Connection) -> None:
    worker = register(api, "t")
    worker.beat(completed=7, unsuccessful=2)
    worker.beat()

    found = row(connection, worker)
    assert (found["completed"], found["unsuccessful"]) == (7, 2)


def test_a_heartbeat_tells_what_is_lost_and_what_to_cancel(api: Api, connection: Connection) -> None:
    lost, cancelled, fine = insert(connection, "t", count=3)
    worker = register(api, "t")
    jobs = {given["id"]: given for given in worker.fetch(3)}
    worker.ends("release", jobs[lost])
    connection.execute("SELECT pgtask.cancel(%s)", [cancelled])

    answer = worker.beat(*jobs.values())

    assert answer["lost"] == [{"id": lost, "attempt": 1}]
    assert answer["cancel"] == [{"id": cancelled, "attempt": 1}]
    assert worker.ends("progress", jobs[cancelled])["cancel"] is True
    assert worker.ends("fail", jobs[cancelled], error="stopped", outcome="cancelled")["outcome"] == "cancelled"
    assert ended(connection, cancelled)["status"] == "cancelled"
    assert live(connection, fine)["status"] == "running"


def test_a_cancelled_job_that_is_given_back_ends(api: Api, connection: Connection) -> None:
    insert(connection, "t", count=2)
    worker = register(api, "t")
    first, second = worker.fetch(2)
    connection.execute("SELECT pgtask.cancel(id) FROM pgtask.jobs")

    assert worker.ends("release", first)["final"] is True
    assert worker.ends("release", second, started=False)["final"] is True
    assert [ended(connection, given["id"])["status"] for given in (first, second)] == ["cancelled", "cancelled"]


def test_a_worker_that_is_asked_to_stop_is_told_and_given_nothing(api: Api, connection: Connection) -> None:
    insert(connection, "t")
    worker = register(api, "t")
    connection.execute("UPDATE pgtask.workers SET stopping_at = now()")

    assert worker.beat()["stop"] is True
    answer = api.post("/workers/fetch", {"worker_id": worker.id}).get_json()
    assert (answer["stop"], answer["jobs"]) == (True, [])


def test_an_answer_that_did_not_arrive_strands_nothing(api: Api, connection: Connection) -> None:
    ids = insert(connection, "t", count=2, queue="few")
    add_row(connection, "queues", name="few", max_workers=2)
    worker, other = register(api, "t"), register(api, "t")
    worker.fetch(2)

    # It may still be on its way.
    worker.beat()
    assert [live(connection, id)["status"] for id in ids] == ["running", "running"]

    age(connection, worker)
    worker.beat()

    assert [live(connection, id)["status"] for id in ids] == ["pending", "pending"]
    assert [live(connection, id)["retry_count"] for id in ids] == [0, 0]
    assert [runs(connection, id) for id in ids] == [[], []]
    assert held(connection) == 0
    assert {given["id"] for given in other.fetch(2, wait=GIVE_UP)} == set(ids)


def test_an_answer_may_be_on_its_way_for_a_third_of_the_lease(api: Api, connection: Connection) -> None:
    [id] = insert(connection, "t")
    worker = register(api, "t", lease=30)
    worker.one()

    for _ in range(3):
        worker.beat()

    assert live(connection, id)["status"] == "running"


def test_a_job_that_the_worker_has_forgotten_goes_back(api: Api, connection: Connection) -> None:
    kept, forgotten = insert(connection, "t", count=2)
    worker = register(api, "t")
    jobs = {given["id"]: given for given in worker.fetch(2)}
    for _ in range(3):
        worker.beat(*jobs.values())
        age(connection, worker)
    assert live(connection, forgotten)["status"] == "running"

    worker.beat(jobs[kept])

    assert live(connection, kept)["status"] == "running"
    assert live(connection, forgotten)["status"] == "pending"
    assert [(run["outcome"], run["error"]) for run in runs(connection, forgotten)] == [
        ("released", "The worker named it no more.")
    ]


def test_what_has_ended_is_not_given_back(api: Api, connection: Connection) -> None:
    [id] = insert(connection, "t")
    worker = register(api, "t")
    worker.ends("fail", worker.one(), error="x", retry=0)
    again = register(api, "t").one(wait=GIVE_UP)
    age(connection, worker)

    worker.beat()

    assert (live(connection, id)["status"], live(connection, id)["attempt"]) == ("running", again["attempt"])


def test_what_is_noted_does_not_grow(api: Api, connection: Connection) -> None:
    insert(connection, "t", count=5)
    worker = register(api, "t")
    for _ in range(5):
        worker.ends("complete", worker.one())

    for _ in range(3):
        age(connection, worker)
        worker.beat()

    assert number(connection, "SELECT count(*) FROM pgtask.holdings") == 0


# Leaving


def test_a_worker_that_leaves_gives_all_back(api: Api, connection: Connection) -> None:
    named, unheard = insert(connection, "t", count=2)
    worker = register(api, "t")
    worker.beat(worker.one())
    age(connection, worker)
    worker.beat({"id": named, "attempt": 1})
    worker.one()

    assert api.post("/workers/deregister", {"worker_id": worker.id}).status_code == 204
    assert api.post("/workers/deregister", {"worker_id": worker.id}).status_code == 204

    assert [live(connection, id)["status"] for id in (named, unheard)] == ["pending", "pending"]
    assert [len(runs(connection, id)) for id in (named, unheard)] == [1, 0]
    assert row(connection, worker)["dead_at"] is not None
    problem(api.post("/workers/heartbeat", {"worker_id": worker.id}), 410, "worker-gone")


def test_no_part_of_the_protocol_is_audited(api: Api, connection: Connection) -> None:
    insert(connection, "t")
    worker = register(api, "t")
    worker.beat()
    worker.ends("complete", worker.one())

    assert number(connection, "SELECT count(*) FROM pgtask.audit") == 0


# Without notifications, and beside a native worker's claims


def test_without_listening_a_poll_finds_the_job(
    make_api: Callable[..., Api], database: str, connection: Connection
) -> None:
    worker = register(make_api(database, listen=False, poll=0.05), "t")
    found: list[dict[str, Any]] = []
    waiting = threading.Thread(target=lambda: found.extend(worker.fetch(wait=GIVE_UP)))
    waiting.start()

    [id] = insert(connection, "t")
    waiting.join(GIVE_UP)

    assert [given["id"] for given in found] == [id]
    assert job(connection, id) is not None
