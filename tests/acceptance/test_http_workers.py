"""The workers of examples/, in Python and in Node.js, on a real server: jobs end as with any other worker."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pgtask.web import create_app
from werkzeug.serving import BaseWSGIServer, make_server

from pgtask.config import load_settings
from pgtask.database import tokens
from pgtask.model.token import Scope
from tests.acceptance.operated import Fleet
from tests.acceptance.test_limits import limit, most_at_once, settled
from tests.rows import ended, final, insert, live, number, runs
from tests.support import eventually

Connection = psycopg.Connection[Any]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PATIENCE = 40.0
LEASE = 3.0


class Site:
    """The API at an address of its own, on the test's database."""

    def __init__(self, database: str) -> None:
        self._database = database
        self.port = 0
        self.start()
        with psycopg.connect(database, autocommit=True) as connection:
            self.token = tokens.create_token(connection, "workers", frozenset({Scope.WORKER})).text

    def start(self) -> None:
        """Serves, at the same address as before."""
        self._app = create_app(load_settings({"database_url": self._database, "max_body": 50_000}))
        self._server: BaseWSGIServer = make_server("127.0.0.1", self.port, self._app, threaded=True)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Serves no more."""
        self._server.shutdown()
        self._server.server_close()
        self._app.extensions["pgtask.counter"].close()
        self._app.extensions["pgtask"].close()


class HttpWorker:
    """One of the examples as a process."""

    def __init__(self, site: Site, kind: str, log: Path, **environment: str) -> None:
        command = {"python": [sys.executable, "http_worker.py"], "node": [str(NODE), "http_worker.mjs"]}
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command[kind],
                cwd=EXAMPLES,
                env=os.environ
                | {
                    "PGTASK_SERVER": f"http://127.0.0.1:{site.port}",
                    "PGTASK_TOKEN": site.token,
                    "PGTASK_LEASE": f"{LEASE:g}",
                }
                | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def ready(self, times: int = 1) -> int:
        """Waits until it is registered for the so-many-th time; returns its id."""

        def identity() -> int | None:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.log.read_text()}"
            lines = [line for line in self.log.read_text().splitlines() if line.endswith(" ready")]
            return int(lines[times - 1].split()[1]) if len(lines) >= times else None

        return eventually(identity, PATIENCE) or 0

    def terminate(self) -> int:
        """Asks it to stop; returns its exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)


Start = Callable[..., HttpWorker]


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    made = Site(database)
    yield made
    made.stop()


@pytest.fixture
def start(site: Site, tmp_path: Path) -> Iterator[Start]:
    """Starts workers over HTTP, which end with the test."""
    made: list[HttpWorker] = []

    def launch(kind: str = "python", **environment: str) -> HttpWorker:
        made.append(HttpWorker(site, kind, tmp_path / f"http-{len(made)}.log", **environment))
        return made[-1]

    yield launch
    for worker in made:
        worker.process.kill()
        worker.process.wait()
        sys.stdout.write(f"--- {worker.log.name}\n{worker.log.read_text()}")


NODE = shutil.which("node")
MISSING = "needs Node.js: apt-get install nodejs"

with_node = pytest.mark.skipif(NODE is None, reason=MISSING)
each_kind = pytest.mark.parametrize("kind", ["python", pytest.param("node", marks=with_node)])


def completed(connection: Connection, id: int) -> bool:
    run = final(connection, id)
    return run is not None and run["status"] == "completed"


def counting(connection: Connection, id: int) -> bool:
    """Whether a job has told how far it is."""
    return bool(live(connection, id)["progress"])


@each_kind
def test_jobs_are_run_retried_and_time_out(kind: str, start: Start, connection: Connection) -> None:
    worker = start(kind)
    id = worker.ready()
    [sum_] = insert(connection, "add", {"a": 20, "b": 22})
    [flaky] = insert(connection, "flaky", {"failures": 2}, retry_strategy="fixed", retry_delay=0)
    [hopeless] = insert(connection, "flaky", {"failures": 9}, max_retries=0)
    [slow] = insert(connection, "count", {"to": 1000}, max_retries=0, timeout=0.5)

    eventually(lambda: all(final(connection, job) for job in (sum_, flaky, hopeless, slow)), PATIENCE)

    assert ended(connection, sum_)["result"] == 42
    assert [run["outcome"] for run in runs(connection, flaky)] == ["failed", "failed", "completed"]
    assert ended(connection, flaky)["result"] == "at last"
    assert (ended(connection, hopeless)["status"], ended(connection, hopeless)["error"]) == (
        "failed",
        "failure 1 of 9",
    )
    assert ended(connection, hopeless)["traceback"]
    assert ended(connection, slow)["outcome"] == "timeout"
    assert {run["worker_id"] for run in runs(connection, flaky)} == {id}
    counted = "SELECT completed, unsuccessful FROM pgtask.workers"
    eventually(lambda: connection.execute(counted).fetchall() == [(2, 4)], PATIENCE)


@each_kind
def test_an_end_that_cannot_be_told_is_the_jobs_own_failure(kind: str, start: Start, connection: Connection) -> None:
    [large] = insert(connection, "add", {"a": "x" * 30_000, "b": "x" * 30_000}, max_retries=0)
    [infinite] = insert(connection, "add", max_retries=0)
    huge = f"1{'0' * 308}.5"
    connection.execute(
        "UPDATE pgtask.jobs SET payload = %s::jsonb WHERE id = %s", [f'{{"a": {huge}, "b": {huge}}}', infinite]
    )
    start(kind)

    eventually(lambda: all(final(connection, job) for job in (large, infinite)), PATIENCE)

    assert (ended(connection, large)["status"], ended(connection, large)["error_type"]) == ("failed", "Refused")
    # To JavaScript it is null.
    assert ended(connection, infinite)["status"] == {"python": "failed", "node": "completed"}[kind]
    assert [run["outcome"] for run in runs(connection, large)] == ["failed"]


@each_kind
def test_a_running_job_is_cancelled(kind: str, start: Start, connection: Connection) -> None:
    [id] = insert(connection, "count", {"to": 10_000})
    start(kind)
    eventually(lambda: counting(connection, id), PATIENCE)

    connection.execute("SELECT pgtask.cancel(%s)", [id])

    assert eventually(lambda: final(connection, id), PATIENCE)["status"] == "cancelled"  # type: ignore[index]


@each_kind
def test_told_to_stop_it_lets_its_jobs_end(kind: str, start: Start, connection: Connection) -> None:
    [id] = insert(connection, "count", {"to": 10})
    worker = start(kind)
    eventually(lambda: counting(connection, id), PATIENCE)

    assert worker.terminate() == 0

    assert completed(connection, id)
    assert number(connection, "SELECT count(*) FROM pgtask.workers WHERE dead_at IS NULL") == 0


@each_kind
def test_what_does_not_end_in_time_is_given_back(kind: str, start: Start, connection: Connection) -> None:
    [id] = insert(connection, "count", {"to": 10_000})
    worker = start(kind, PGTASK_GRACE="0.2")
    eventually(lambda: counting(connection, id), PATIENCE)

    assert worker.terminate() == 0

    assert (live(connection, id)["status"], live(connection, id)["retry_count"]) == ("pending", 0)
    assert [run["outcome"] for run in runs(connection, id)] == ["released"]


@each_kind
def test_the_jobs_of_a_killed_worker_are_rescued_by_a_native_one(
    kind: str, start: Start, workers: Fleet, connection: Connection
) -> None:
    # The native one would take the job from the start: it serves another queue until it has rescued it.
    [id] = insert(connection, "count", {"to": 5, "pause": 1000}, queue="http")
    workers.start("--lease", "3s", "-q", "native", app="shared")
    worker = start(kind)
    eventually(lambda: counting(connection, id) or live(connection, id)["status"] == "running", PATIENCE)

    worker.process.send_signal(signal.SIGKILL)

    eventually(lambda: [run["outcome"] for run in runs(connection, id)] == ["lost"], PATIENCE)
    connection.execute("UPDATE pgtask.jobs SET queue = 'native', payload = '{\"to\": 1}'")
    eventually(lambda: completed(connection, id), PATIENCE)
    assert ended(connection, id)["retry_count"] == 0


def test_where_all_workers_come_over_http_the_scheduler_rescues(
    start: Start, database: str, tmp_path: Path, connection: Connection
) -> None:
    [id] = insert(connection, "count", {"to": 5, "pause": 1000})
    worker = start()
    eventually(lambda: live(connection, id)["status"] == "running", PATIENCE)
    with (tmp_path / "scheduler.log").open("wb") as log:
        scheduler = subprocess.Popen(
            [sys.executable, "-m", "pgtask", "scheduler", "--lease", "3s"],
            env=os.environ | {"PGTASK_DATABASE_URL": database},
            cwd=tmp_path,
            stdout=log,
            stderr=log,
        )
    try:
        worker.process.send_signal(signal.SIGKILL)
        eventually(lambda: [run["outcome"] for run in runs(connection, id)] == ["lost"], PATIENCE)
    finally:
        scheduler.kill()
        scheduler.wait()

    assert live(connection, id)["status"] == "pending"


@each_kind
def test_a_worker_that_was_declared_dead_ends_nothing_and_starts_anew(
    kind: str, start: Start, workers: Fleet, connection: Connection
) -> None:
    [id] = insert(connection, "count", {"to": 30}, queue="http")
    workers.start("--lease", "3s", "-q", "native", app="shared")
    worker = start(kind)
    first = worker.ready()
    eventually(lambda: counting(connection, id), PATIENCE)

    worker.process.send_signal(signal.SIGSTOP)
    eventually(lambda: [run["outcome"] for run in runs(connection, id)] == ["lost"], PATIENCE)
    connection.execute("UPDATE pgtask.jobs SET queue = 'native'")
    eventually(lambda: live(connection, id)["status"] == "running", PATIENCE)
    worker.process.send_signal(signal.SIGCONT)

    second = worker.ready(2)
    eventually(lambda: completed(connection, id), PATIENCE)
    assert second != first
    assert [(run["outcome"], run["attempt"]) for run in runs(connection, id)] == [("lost", 1), ("completed", 2)]
    assert ended(connection, id)["worker_id"] not in (first, second)


@each_kind
def test_a_server_that_was_away_learns_how_jobs_ended(
    kind: str, start: Start, site: Site, connection: Connection
) -> None:
    [id] = insert(connection, "count", {"to": 1, "pause": 0.5})
    start(kind, PGTASK_LEASE="30")
    eventually(lambda: live(connection, id)["status"] == "running", PATIENCE)

    site.stop()
    site.start()

    eventually(lambda: completed(connection, id), PATIENCE)
    [next_] = insert(connection, "add", {"a": 1, "b": 1})
    eventually(lambda: completed(connection, next_), PATIENCE)
    assert [run["outcome"] for run in runs(connection, id)] == ["completed"]


@with_node
def test_limits_hold_among_native_workers_and_those_over_http(
    start: Start, workers: Fleet, connection: Connection
) -> None:
    limit(connection, "few", max_workers=3)
    workers.start("--processes", "1", "--concurrency", "1", app="shared")
    start("python", PGTASK_SLOTS="2").ready()
    start("node", PGTASK_SLOTS="2").ready()

    insert(connection, "count", {"to": 1, "pause": 0.05}, queue="few", count=60)
    insert(connection, "count", {"to": 1, "pause": 0.01}, queue="keyed", concurrency_key="k", count=10)

    eventually(lambda: settled(connection), PATIENCE)
    assert most_at_once(connection) == 3
    assert most_at_once(connection, "concurrency_key") == 1
    # One place is always left to those over HTTP, who could use four.
    assert (
        number(
            connection,
            "SELECT count(*) FROM pgtask.workers w WHERE token IS NOT NULL AND EXISTS"
            " (SELECT FROM pgtask.runs r WHERE r.worker_id = w.id)",
        )
        > 0
    )
    assert number(connection, "SELECT count(*) FROM pgtask.runs WHERE final AND outcome = 'completed'") == 70
