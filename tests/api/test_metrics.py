"""/health, /ready, /metrics, and the figures of the API."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from pgtask.web import create_app
from prometheus_client.parser import text_string_to_metric_families

from pgtask.config import load_settings
from pgtask.database import metering, statistics
from pgtask.model.token import Scope
from tests.api_client import Api, problem
from tests.rows import add_worker, insert

Connection = psycopg.Connection[Any]


def samples(api: Api) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = api.get("//metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(found: dict[tuple[str, frozenset[tuple[str, str]]], float], metric: str, /, **labels: str) -> float | None:
    return found.get((metric, frozenset(labels.items())))


def ended(connection: Connection, outcome: str, seconds: float, *, final: bool = True, age: str = "0 s") -> None:
    """A run of the past, as it stands in the history."""
    status = {"completed": "completed", "failed": "failed"}[outcome] if final else None
    connection.execute(
        """
        INSERT INTO pgtask.runs (job_id, finished_at, started_at, scheduled_at, created_at, attempt, outcome, status,
                                 priority, final, queue, task)
        SELECT 1, at, at - make_interval(secs => %(seconds)s), at - make_interval(secs => %(seconds)s),
               CASE WHEN %(final)s THEN at END, 1,
               %(outcome)s::pgtask.run_outcome, %(status)s::pgtask.job_status, 1, %(final)s, 'mail', 'send'
          FROM (SELECT now() - %(age)s::interval AS at) x
        """,
        {"outcome": outcome, "seconds": seconds, "status": status, "final": final, "age": age},
    )


def test_health_needs_no_database() -> None:
    app = create_app(load_settings({"database_url": "postgresql://127.0.0.1:1/nothing"}))

    answer = app.test_client().get("/health")

    assert (answer.status_code, (answer.json or {})["status"]) == (200, "ok")


def test_a_server_whose_database_is_away_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgtask.web.app.DATABASE_PATIENCE", 0.2)
    app = create_app(load_settings({"database_url": "postgresql://127.0.0.1:1/nothing"}))

    answer = app.test_client().get("/ready")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    [check] = (answer.json or {})["checks"]
    assert (check["name"], check["ok"]) == ("database", False)
    assert "127.0.0.1:1" in check["detail"]
    app.extensions["pgtask"].close()


def test_a_server_with_its_schema_is_ready(api: Api) -> None:
    answer = api.anonymous().get("//ready")

    assert answer.status_code == 200
    assert {check["name"]: check["ok"] for check in (answer.json or {})["checks"]} == {
        "database": True,
        "writable": True,
        "schema": True,
    }


def test_a_server_with_another_schema_is_not_ready(api: Api, connection: Connection) -> None:
    connection.execute("UPDATE pgtask.schema_version SET version_num = '0001'")

    answer = api.get("//ready")

    assert answer.status_code == 503
    assert "pgtask db migrate" in answer.text


def test_metrics_are_for_holders_of_a_token(api: Api, database: str) -> None:
    problem(api.anonymous().get("//metrics"), 401, "missing-token")
    problem(api.holder_of(Scope.ENQUEUE).get("//metrics"), 403, "missing-scope")
    problem(api.holder_of(Scope.READ, queues=["mail"]).get("//metrics"), 403, "limited-token")

    opened = create_app(load_settings({"database_url": database, "open_metrics": True}))
    assert opened.test_client().get("/metrics").status_code == 200
    opened.extensions["pgtask"].close()


def test_metrics_count_what_ended(api: Api, connection: Connection) -> None:
    insert(connection, "send", queue="mail", count=3)
    connection.execute("INSERT INTO pgtask.queues (name, paused_at) VALUES ('mail', now())")
    ended(connection, "completed", 0.02)
    ended(connection, "completed", 0.2)
    ended(connection, "failed", 45, final=False)
    ended(connection, "failed", 99999)
    statistics.roll_up(connection)

    found = samples(api)

    labels = {"queue": "mail", "task": "send"}
    assert value(found, "pgtask_jobs_created_total") == 3
    assert value(found, "pgtask_jobs_completed_total", **labels) == 2
    assert value(found, "pgtask_jobs_failed_total", **labels) == 1
    assert value(found, "pgtask_jobs_retried_total", **labels) == 1
    assert value(found, "pgtask_queue_length", queue="mail", status="pending") == 3
    assert value(found, "pgtask_queue_paused", queue="mail") == 1
    for le, number in {"0.01": 0, "0.025": 1, "0.25": 2, "60": 3, "14400": 3, "+Inf": 4}.items():
        assert value(found, "pgtask_job_duration_seconds_bucket", le=le, **labels) == number
    assert value(found, "pgtask_job_duration_seconds_count", **labels) == 4
    assert value(found, "pgtask_job_duration_seconds_sum", **labels) == pytest.approx(0.02 + 0.2 + 45 + 99999)


def test_counters_never_fall(api: Api, connection: Connection) -> None:
    """A fall is a restart to Prometheus, which would add all that was counted before once more."""
    ended(connection, "completed", 1)
    ended(connection, "failed", 2)
    ended(connection, "failed", 3)
    statistics.roll_up(connection)
    before = samples(api)

    connection.execute("DELETE FROM pgtask.runs WHERE outcome = 'completed'")
    # As a retry by hand does it.
    connection.execute("UPDATE pgtask.runs SET final = false, status = NULL")
    statistics.roll_up(connection)
    api.app.extensions["pgtask.probes"].forget()
    after = samples(api)

    counted = {key: number for key, number in before.items() if key[0].startswith(("pgtask_jobs_", "pgtask_job_"))}
    assert counted == {key: after[key] for key in counted}
    assert value(after, "pgtask_jobs_failed_total", queue="mail", task="send") == 2


def test_names_that_producers_make_up_are_not_all_series(
    api: Api, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metering, "MOST", 2)
    connection.execute(
        "INSERT INTO pgtask.totals (queue, task, completed)"
        " VALUES ('a', 't', 1), ('b', 't', 3), ('c', 't', 1), ('d', 't', 2)"
    )

    found = samples(api)

    shown = {dict(labels)["queue"] for name, labels in found if name == "pgtask_jobs_completed_total"}
    assert shown == {"b", "d"}
    assert value(found, "pgtask_jobs_series_omitted") == 2


def test_totals_outlive_the_statistics(api: Api, connection: Connection) -> None:
    for age in ("10 min", "5 min", "0 s"):
        ended(connection, "completed", 1, age=age)
        statistics.roll_up(connection)
    for _ in range(3):
        statistics.roll_up(connection)
    before = value(samples(api), "pgtask_jobs_completed_total", queue="mail", task="send")

    connection.execute("DELETE FROM pgtask.stats_minute WHERE minute < now() - interval '3 min'")
    api.app.extensions["pgtask.probes"].forget()

    assert before == value(samples(api), "pgtask_jobs_completed_total", queue="mail", task="send") == 3


def test_workers_are_measured(api: Api, connection: Connection) -> None:
    worker = add_worker(connection)
    connection.execute("UPDATE pgtask.workers SET completed = 7, slots = 20, running = 5")

    found = samples(api)

    assert value(found, "pgtask_workers_active") == 1
    [name] = connection.execute("SELECT name FROM pgtask.workers").fetchone() or ("",)
    assert value(found, "pgtask_worker_jobs_total", worker=str(worker), name=name, outcome="completed") == 7
    assert value(found, "pgtask_worker_running", worker=str(worker), name=name) == 5


def test_requests_are_counted_by_route(api: Api) -> None:
    for _ in range(2):
        api.get("/jobs/1")
    api.get("/nowhere")
    for number in range(3):
        api(f"MADE-UP-{number}", "//api/v1/jobs")

    found = samples(api)

    route = "/api/v1/jobs/<number:id>"
    assert value(found, "pgtask_http_requests_total", method="GET", route=route, status="404") == 2
    assert value(found, "pgtask_http_requests_total", method="GET", route="none", status="404") == 1
    assert value(found, "pgtask_http_requests_total", method="other", route="none", status="405") == 3
    assert value(found, "pgtask_http_request_duration_seconds_count", method="GET", route=route) == 2


def test_methods_that_clients_make_up_are_counted_as_one(api: Api) -> None:
    for number in range(3):
        api(f"BREW{number}", "/nowhere")

    found = samples(api)

    assert value(found, "pgtask_http_requests_total", method="other", route="none", status="404") == 3
    assert not [labels for _, labels in found if dict(labels).get("method", "").startswith("BREW")]


def test_the_database_is_measured(api: Api, database: str) -> None:
    with psycopg.connect(database) as holder:
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT 1")
        found = samples(api)

    assert (value(found, "pgtask_database_oldest_snapshot_seconds") or 0) > 0
    assert value(found, "pgtask_database_dead_rows", table="jobs") is not None
    assert value(found, "pgtask_database_notification_queue_ratio") is not None
    assert (value(found, "pgtask_system_uptime_seconds") or -1) >= 0


def test_the_figures_of_the_api(api: Api, connection: Connection) -> None:
    worker = add_worker(connection)
    connection.execute("UPDATE pgtask.workers SET cpu_percent = 50, rss_bytes = 1000, slots = 10, running = 4")
    connection.execute(
        "INSERT INTO pgtask.worker_minutes VALUES (%s, date_trunc('minute', now()), 6, 60, 15, 300, 6000)", [worker]
    )
    ended(connection, "completed", 2)
    ended(connection, "failed", 4)
    insert(connection, "send", queue="mail", count=2)

    found = api.get("/metrics?window=120").get_json()

    assert found["window_seconds"] == 120
    assert found["throughput"]["completed"] == 1
    assert found["error_rate"] == 0.5
    [task] = found["tasks"]
    assert (task["task"], task["average_run_seconds"]) == ("send", pytest.approx(3))
    assert found["workers"] == {
        "active": 1,
        "slots": 10,
        "running": 4,
        "average_slots": 10,
        "average_busy": 2.5,
        "efficiency": 0.25,
        "cpu_percent": 50,
        "rss_bytes": 1000,
    }
    assert [(queue["queue"], queue["pending"]) for queue in found["queues"] if queue["pending"]] == [("mail", 2)]
    problem(api.holder_of(Scope.READ, queues=["mail"]).get("/metrics"), 403, "limited-token")
