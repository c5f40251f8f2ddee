from __future__ import annotations

import pytest

from pgtask.database.connection import connect
from pgtask.database.overview import OverviewReader
from pgtask.database.roles import Role
from tests.command_line import add_live_worker, add_run, answer, lines, on_terminal, run
from tests.logins import Logins
from tests.rows import Connection, ago, insert

DANGEROUS = "\x1b[2Jred\x07 \u202edesrever\n"


def fill(connection: Connection) -> int:
    worker = add_live_worker(connection, "web-1", running=1)
    insert(connection, "mail.send", queue="mail", count=3)
    insert(connection, DANGEROUS, status="running", attempt=1, worker_id=worker, started_at=ago(5))
    connection.execute("INSERT INTO pgtask.queues (name, paused_at, paused_by) VALUES ('mail', now(), 'dana')")
    add_run(connection, 100, "failed", task="bad", error_type="ValueError", error=DANGEROUS)
    add_run(connection, 101, "quarantined", task="bad")
    add_run(connection, 102, "cancelled", task="bad")
    add_run(connection, 103, task="good")
    return worker


def test_without_a_terminal_it_prints_how_things_stand_and_exits(database: str, connection: Connection) -> None:
    worker = fill(connection)
    shown = lines(run(database, "top"))
    assert ["total", "pending", "3"] in shown
    by_section: dict[str, list[list[str]]] = {}
    for section, *values in shown:
        by_section.setdefault(section, []).append(values)
    assert [row[:4] for row in by_section["queues"]] == [["default", "active", "0", "1"], ["mail", "paused", "3", "0"]]
    assert by_section["workers"][0][:4] == [str(worker), "web-1", "running", "1/20"]
    assert [row[0] for row in by_section["failures"]] == ["101", "100"]
    assert {row[0] for row in by_section["tasks"]} == {"bad", "good"}
    assert len(by_section["running"]) == 1


def test_json_is_one_document_of_what_the_other_commands_print(database: str, connection: Connection) -> None:
    fill(connection)
    shown = answer(run(database, "top", "--json"))
    assert set(shown) == {"at", "totals", "queues", "workers", "running", "failures", "statistics"}
    assert shown["totals"]["pending"] == 3
    assert shown["totals"]["oldest_due_at"] is not None
    assert shown["queues"] == answer(run(database, "queues", "list", "--json"))["items"]
    assert {worker["name"] for worker in shown["workers"]} == {"web-1"}
    assert [job["id"] for job in shown["failures"]] == [101, 100]
    assert shown["running"][0]["event"] == "started"


def test_once_shows_a_frame_that_nothing_in_a_job_can_steer(database: str, connection: Connection) -> None:
    fill(connection)
    for columns in (80, 140):
        shown = on_terminal(database, "top", "--once", columns=columns)
        assert "paused" in shown
        assert "web-1" in shown
        assert r"\x1b[2Jred" in shown
        assert shown.replace("\n", "").isprintable()
        assert max(map(len, shown.splitlines())) <= columns


def test_an_empty_database_says_what_to_do(database: str) -> None:
    shown = on_terminal(database, "top", "--once")
    assert "No worker is alive. Start one: pgtask worker" in shown
    assert "No job has failed in the last 30 m." in shown


def test_a_queue_with_a_backlog_costs_no_more_than_its_head(database: str, connection: Connection) -> None:
    insert(connection, "t", status="running", attempt=1, worker_id=1, started_at=ago(5), scheduled_at=ago(50))
    insert(connection, "t", count=20_000)
    with connect(database, application_name="test") as reading:
        overview = OverviewReader().read(reading)
    assert [job.worker_id for job in overview.running] == [1]
    assert overview.total("pending") >= 10_000


def test_a_role_that_may_not_look_is_told_before_the_screen_is_taken(
    logins: Logins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgtask.cli.top._watch", lambda watcher: None)  # noqa: ARG005
    shown = on_terminal(logins.make(Role.ENQUEUER), "top")
    assert shown.startswith("Error: This database role may not do that")
