"""What an operator and systemd tell a worker by signals, and what it tells systemd."""

from __future__ import annotations

import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests import rows
from tests.acceptance.operated import Fleet
from tests.acceptance.producer import by_sql
from tests.support import eventually

Connection = psycopg.Connection[Any]


def results(connection: Connection) -> set[str]:
    query = "SELECT DISTINCT result #>> '{}' FROM pgtask.runs WHERE task = 'version' AND final"
    return {row[0] for row in connection.execute(query)}


def test_hup_brings_new_code_under_load_and_nothing_is_lost_or_charged(
    database: str, workers: Fleet, connection: Connection
) -> None:
    (workers.folder / "version").write_text("old")
    worker = workers.start("--processes", "2", app="culprits")
    before = {process.pid for process in worker.executors()}
    with by_sql(database, "version", 2) as producer:
        eventually(lambda: results(connection) == {"old"})
        (workers.folder / "version").write_text("new")

        worker.process.send_signal(signal.SIGHUP)

        eventually(lambda: not before & {process.pid for process in worker.executors()}, 30)
        producer.enqueued(more=20)
    ids = producer.acknowledged
    eventually(lambda: set(rows.statuses(connection, ids).values()) == {"completed"})
    assert results(connection) == {"old", "new"}
    late = rows.runs(connection, ids[-1])
    assert late[-1]["result"] == "new"
    runs = "SELECT count(*) FROM pgtask.runs WHERE job_id = ANY (%s)"
    assert rows.number(connection, runs, [ids]) == len(ids), "each ran once"
    assert rows.number(connection, f"{runs} AND retry_count > 0", [ids]) == 0


def test_code_that_cannot_be_loaded_leaves_the_old_executors_at_work(workers: Fleet, connection: Connection) -> None:
    worker = workers.start("--processes", "1", app="fragile")
    before = [process.pid for process in worker.executors()]
    (workers.folder / "broken").touch()

    worker.process.send_signal(signal.SIGHUP)

    eventually(lambda: worker.said("the old ones go on"))
    assert [process.pid for process in worker.executors()] == before
    (id,) = rows.insert(connection, "sound")
    eventually(lambda: rows.final(connection, id) is not None)


def test_tstp_takes_no_more_jobs_until_cont(workers: Fleet, connection: Connection) -> None:
    worker = workers.start("--processes", "1")
    (running,) = rows.insert(connection, "hold")
    eventually(workers.ledger.starts)

    worker.process.send_signal(signal.SIGTSTP)
    eventually(lambda: worker.said("no more jobs are taken"))
    workers.ledger.open_gate()
    eventually(lambda: rows.final(connection, running) is not None)
    (waiting,) = rows.insert(connection, "quick")
    other = workers.start("--processes", "1", "--queues", "other")
    (elsewhere,) = rows.insert(connection, "quick", queue="other")
    eventually(lambda: rows.final(connection, elsewhere) is not None)
    assert rows.live(connection, waiting)["status"] == "pending"

    worker.process.send_signal(signal.SIGCONT)

    eventually(lambda: rows.final(connection, waiting) is not None)
    assert other.process.poll() is None


def test_a_quiet_worker_that_was_declared_dead_stays_quiet(workers: Fleet, connection: Connection) -> None:
    worker = workers.start("--processes", "1", "--lease", "3s", app="culprits")
    before = worker.id(connection)
    worker.process.send_signal(signal.SIGTSTP)
    eventually(lambda: worker.said("no more jobs are taken"))
    connection.execute("UPDATE pgtask.workers SET dead_at = now() WHERE id = %s", [before])
    eventually(lambda: worker.log.read_text().count(" ready: ") == 2)
    assert worker.id(connection) != before
    (waiting,) = rows.insert(connection, "good")
    workers.start("--processes", "1", "--queues", "other", app="culprits")
    (elsewhere,) = rows.insert(connection, "good", queue="other")
    eventually(lambda: rows.final(connection, elsewhere) is not None)
    assert rows.live(connection, waiting)["status"] == "pending"

    worker.process.send_signal(signal.SIGCONT)

    eventually(lambda: rows.final(connection, waiting) is not None)


def test_quit_gives_running_jobs_back_at_once_and_uncharged(workers: Fleet, connection: Connection) -> None:
    worker = workers.start("--processes", "1", "--grace", "600s")
    ids = rows.insert(connection, "hold", count=3)
    eventually(lambda: len(workers.ledger.starts()) == 3)

    worker.process.send_signal(signal.SIGQUIT)

    assert worker.process.wait(30) == 0
    for id in ids:
        row = rows.live(connection, id)
        assert (row["status"], row["retry_count"], row["suspect"]) == ("pending", 0, False)
        assert [run["outcome"] for run in rows.runs(connection, id)] == ["released"]


def test_usr1_logs_what_runs_with_its_stack(workers: Fleet, connection: Connection) -> None:
    worker = workers.start("--processes", "1")
    (id,) = rows.insert(connection, "hold")
    eventually(workers.ledger.starts)

    worker.process.send_signal(signal.SIGUSR1)

    eventually(lambda: worker.said(f"job {id} attempt 1 of task hold has run for"))
    eventually(lambda: worker.said("in hold"))
    assert worker.said("1 jobs in hand, of which 1 run")
    workers.ledger.open_gate()
    eventually(lambda: rows.final(connection, id) is not None)


@pytest.fixture
def manager() -> Iterator[tuple[str, list[str]]]:
    """A service manager's socket, and the assignments that have come to it."""
    heard: list[str] = []
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        address = str(Path(folder) / "notify")
        end.bind(address)

        def listen() -> None:
            while text := end.recv(4096).decode():
                heard.extend(text.splitlines())

        thread = threading.Thread(target=listen)
        thread.start()
        yield address, heard
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", address)
        thread.join()


def test_systemd_learns_of_readiness_reload_life_and_end(manager: tuple[str, list[str]], workers: Fleet) -> None:
    address, heard = manager
    worker = workers.launch("--processes", "1", app="culprits", NOTIFY_SOCKET=address, WATCHDOG_USEC="300000")
    eventually(lambda: "READY=1" in heard, 30)
    eventually(lambda: heard.count("WATCHDOG=1") > 3)

    heard.clear()
    worker.process.send_signal(signal.SIGHUP)

    eventually(lambda: "RELOADING=1" in heard)
    eventually(lambda: "READY=1" in heard, 30)
    assert any(line.startswith("MONOTONIC_USEC=") for line in heard)
    assert worker.terminate() == 0
    eventually(lambda: "STOPPING=1" in heard)


def test_systemd_has_no_reason_to_restart_a_worker_whose_database_is_away(
    manager: tuple[str, list[str]], workers: Fleet, connection: Connection
) -> None:
    address, heard = manager
    worker = workers.launch("--processes", "1", app="culprits", NOTIFY_SOCKET=address, WATCHDOG_USEC="300000")
    eventually(lambda: "READY=1" in heard, 30)
    for _ in range(3):
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgtask %' "
            "AND datname = current_database()"
        )
        heard.clear()
        eventually(lambda: heard.count("WATCHDOG=1") > 2)
    assert worker.process.poll() is None
