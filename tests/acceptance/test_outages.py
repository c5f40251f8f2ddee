"""The database goes away under load: nothing is lost or charged, nothing runs twice while its executor lives."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from pgtask.database import embedded, migrations
from pgtask.model.errors import EmbeddedServerError
from tests import rows
from tests.acceptance.operated import Fleet, Worker, fleet
from tests.acceptance.producer import by_sql
from tests.support import eventually

ROUNDS = 3
BATCH = 20


@pytest.fixture
def server(home: Path) -> Iterator[embedded.EmbeddedServer]:
    """A server of the test's own, durable, to be crashed."""
    with embedded.start(home) as started:
        migrations.migrate(started.url)
        yield started


def check(url: str, workers: Fleet, ids: list[int]) -> None:
    """Every acknowledged job completed, started once, uncharged, by executors that lived through it all."""
    with psycopg.connect(url, autocommit=True) as connection:
        eventually(lambda: set(rows.statuses(connection, ids).values()) == {"completed"}, 60)
        assert len(rows.statuses(connection, ids)) == len(ids)
        charged = rows.number(connection, "SELECT count(*) FROM pgtask.runs WHERE retry_count > 0 OR NOT final")
        assert charged == 0, "no attempt is charged to an outage, and none is lost to it"
        finals = rows.number(connection, "SELECT count(*) - count(DISTINCT job_id) FROM pgtask.runs WHERE final")
        assert finals == 0, "no job ends twice"
    assert workers.ledger.twice() == []


def pids(worker: Worker) -> set[int]:
    return {process.pid for process in worker.executors()}


def test_immediate_restarts_under_load_lose_and_repeat_nothing(
    server: embedded.EmbeddedServer, home: Path, tmp_path: Path
) -> None:
    with fleet(server.url, tmp_path) as workers, contextlib.ExitStack() as clients:
        worker = workers.start("--processes", "2", "--lease", "10s")
        before = pids(worker)
        with by_sql(server.url, "quick", BATCH) as producer:
            for _ in range(ROUNDS):
                producer.enqueued(more=500)
                # What `pg_ctl stop -m immediate` sends: no checkpoint, recovery at the next start.
                postmaster = psutil.Process(server.postmaster_pid)
                postmaster.send_signal(signal.SIGQUIT)
                psutil.wait_procs([postmaster], timeout=30)
                server = clients.enter_context(eventually(lambda: restarted(home), 30))
            producer.enqueued(more=500)

        check(server.url, workers, producer.acknowledged)
        assert pids(worker) == before, "no executor was restarted"
        assert worker.terminate() == 0


def restarted(home: Path) -> embedded.EmbeddedServer:
    try:
        return embedded.start(home)
    except EmbeddedServerError as error:
        raise AssertionError("the server is not up again") from error


def test_executors_whose_backends_are_terminated_lose_and_repeat_nothing(
    workers: Fleet, connection: psycopg.Connection[Any]
) -> None:
    worker = workers.start("--processes", "2")
    before = pids(worker)
    with by_sql(workers.url, "quick", BATCH) as producer:
        for _ in range(40):
            producer.enqueued(more=BATCH)
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name LIKE 'pgtask executor %' AND datname = current_database()"
            )

    check(workers.url, workers, producer.acknowledged)
    assert pids(worker) == before


def test_a_worker_whose_every_connection_is_ended_is_woken_again(
    workers: Fleet, connection: psycopg.Connection[Any]
) -> None:
    worker = workers.start("--processes", "1", "--poll", "1h")
    rows.insert(connection, "quick")
    eventually(lambda: len(workers.ledger.starts()) == 1)

    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name LIKE 'pgtask %' AND datname = current_database()"
    )

    eventually(lambda: listening(connection, worker.id(connection)))
    (id,) = rows.insert(connection, "quick")
    eventually(lambda: rows.final(connection, id), 30)


def listening(connection: psycopg.Connection[Any], worker_id: int) -> bool:
    count = rows.number(
        connection,
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()",
        [f"pgtask listener {worker_id}"],
    )
    return count == 1


def test_a_worker_started_before_its_database_waits_for_it(home: Path, tmp_path: Path) -> None:
    with embedded.start(home) as first:
        url = first.url
        migrations.migrate(url)
    embedded.stop(home)
    with fleet(url, tmp_path) as workers:
        worker = workers.launch("--processes", "1")
        eventually(lambda: worker.said("Trying again"), 30)
        with embedded.start(home):
            worker.await_ready()
            with psycopg.connect(url, autocommit=True) as connection:
                (id,) = rows.insert(connection, "quick")
                eventually(lambda: rows.final(connection, id))
            assert worker.terminate() == 0
