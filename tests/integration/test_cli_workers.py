from __future__ import annotations

import json

import pytest

from pgtask.model.wording import DASH
from tests import rows
from tests.command_line import add_live_worker, answer, lines, on_terminal, run
from tests.rows import Connection, ago, insert


def test_no_worker_says_what_to_do(database: str) -> None:
    result = run(database, "workers", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "No worker is alive. Start one: pgtask worker\n"


def fill(connection: Connection) -> dict[str, int]:
    return {
        "running": add_live_worker(connection, "web", running=7, cpu_percent=84.2, rss_bytes=45_000_000),
        "stopping": add_live_worker(connection, "web-2", queues=["mail", "media"], stopping_at=ago(1)),
        "lost": add_live_worker(connection, "batch", heartbeat_at=ago(95), expires_at=ago(65)),
        "dead": add_live_worker(connection, "old", expires_at=ago(100), dead_at=ago(95)),
        "stopped": add_live_worker(connection, "done", expires_at=ago(60), dead_at=ago(60)),
        "past": add_live_worker(connection, "past", expires_at=ago(7200), dead_at=ago(7200)),
    }


def test_workers_are_listed_with_their_states(database: str, connection: Connection) -> None:
    ids = fill(connection)
    connection.execute(
        "INSERT INTO pgtask.leader (name, holder, expires_at) VALUES ('upkeep', %s, now() + interval '1 h')",
        [ids["running"]],
    )
    shown = lines(run(database, "workers", "list"))
    assert {line[2]: int(line[0]) for line in shown} == {state: id for state, id in ids.items() if state != "past"}
    assert len(lines(run(database, "workers", "list", "--all"))) == 6
    items = answer(run(database, "workers", "list", "--json"))["items"]
    assert [worker["id"] for worker in items if worker["leader"]] == [ids["running"]]

    table = on_terminal(database, "workers", "list", columns=80)
    assert "7/20" in table
    assert "84 %" in table
    assert "45 MB" in table
    (dead,) = (line.split() for line in table.splitlines() if " dead " in line)
    assert (dead[1:4], dead[-2:]) == (["old", "dead", DASH], [DASH, DASH])
    assert all(len(line) <= 80 for line in table.splitlines())


def test_a_worker_is_shown_with_its_jobs(database: str, connection: Connection) -> None:
    worker = add_live_worker(connection, "web")
    (mine,) = insert(connection, "echo", status="running", attempt=1, started_at=ago(4), worker_id=worker)
    insert(connection, "echo", status="running", attempt=1, started_at=ago(4), worker_id=worker + 1)
    found = answer(run(database, "workers", "show", str(worker), "--json"))
    assert [job["id"] for job in found["jobs"]] == [mine]
    assert ["job", str(mine), "echo"] in [line[:3] for line in lines(run(database, "workers", "show", str(worker)))]
    shown = on_terminal(database, "workers", "show", str(worker))
    assert "20 in 2 executors" in shown
    assert "runs 4 s" in shown


@pytest.mark.parametrize(("id", "code"), [("99", 3), ("web", 2), (str(2**31), 2)])
def test_an_unknown_worker(database: str, id: str, code: int) -> None:
    for command in ("show", "stop"):
        assert run(database, "workers", command, id).exit_code == code


def test_stop_asks_live_workers_by_row_and_by_notice(database: str, connection: Connection) -> None:
    ids = fill(connection)
    connection.execute("LISTEN pgtask")
    result = run(database, "workers", "stop", str(ids["running"]), str(ids["dead"]))
    assert result.exit_code == 3
    assert result.stdout == f"{ids['running']}\tasked\n"
    assert result.stderr == f"There is no live worker {ids['dead']}.\n"
    asked = "SELECT count(*) FROM pgtask.workers WHERE id = %s AND stopping_at IS NOT NULL"
    assert rows.number(connection, asked, [ids["running"]]) == 1
    assert rows.number(connection, asked, [ids["dead"]]) == 0
    (notice,) = connection.notifies(timeout=5, stop_after=1)
    assert json.loads(notice.payload) == {"stop": ids["running"]}


def test_tasks_are_listed_with_their_defaults(database: str, connection: Connection) -> None:
    assert "No worker has registered a task yet" in run(database, "tasks", "list").stderr
    connection.execute(
        """
        INSERT INTO pgtask.tasks (name, queue, priority, max_retries, retry_strategy, retry_delay, timeout)
        VALUES ('send', 'mail', 2, 5, 'fixed', 60, 30), ('echo', 'default', 1, NULL, NULL, NULL, NULL)
        """
    )
    assert [line[:6] for line in lines(run(database, "tasks", "list"))] == [
        ["echo", "default", "1", "", "", ""],
        ["send", "mail", "2", "5", "fixed", "30.0"],
    ]
    add_live_worker(connection, started_at=ago(60))
    echo, send = answer(run(database, "tasks", "list", "--json"))["items"]
    assert (echo["live"], send["live"], send["retry_delay"]) == (True, True, 60)
    connection.execute("UPDATE pgtask.tasks SET last_seen_at = now() - interval '1 h' WHERE name = 'send'")
    assert not answer(run(database, "tasks", "list", "--json"))["items"][1]["live"]
    assert "fixed 1 m" in on_terminal(database, "tasks", "list", columns=120)


def test_a_scheduler_alone_makes_no_task_live(database: str, connection: Connection) -> None:
    add_live_worker(connection, "scheduler", slots=0, queues=[])
    connection.execute("INSERT INTO pgtask.tasks (name) VALUES ('t')")
    (id,) = insert(connection, "t")
    assert [task["live"] for task in answer(run(database, "tasks", "list", "--json"))["items"]] == [False]
    assert "no worker" in run(database, "jobs", "show", str(id)).stdout.lower()
    assert [queue["workers"] for queue in answer(run(database, "queues", "list", "--json"))["items"]] == [0]
