"""Transactional effects exist exactly for completed attempts, whatever dies and whenever.

With PGTASK_LONG_KILLS set 200 processes are killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from pgtask.database import embedded, migrations
from pgtask.model.errors import EmbeddedServerError
from tests import rows
from tests.acceptance.fleet import Make, Worker, alive
from tests.checker import check
from tests.scene import Entry, Scene
from tests.support import eventually

LONG = bool(os.environ.get("PGTASK_LONG_KILLS"))
ROUNDS, RESTART_EVERY = (200, 40) if LONG else (40, 20)
APP = "tests.acceptance.apps.transactional"
# At least so many jobs wait, so that each kill hits something.
BACKLOG = 200

Connection = psycopg.Connection[Any]


@pytest.fixture
def prepared(home: Path) -> Iterator[Path]:
    """The home of a durable server with what the test needs."""
    with embedded.start(home) as started:
        migrations.migrate(started.url)
        with psycopg.connect(started.url) as connection:
            # No constraint: what is written twice is to be seen, not refused.
            connection.execute("CREATE TABLE public.effects (job_id int8, attempt int4)")
            # Who is killed here is not to blame, however often it happens.
            connection.execute("UPDATE pgtask.settings SET value = '1000000' WHERE name = 'max_crashes'")
        yield home


class Jobs:
    """Jobs that keep coming, so that each kill hits something."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.good: list[int] = []
        self.failing: list[int] = []

    @property
    def ids(self) -> list[int]:
        """All of them."""
        return self.good + self.failing

    def refill(self) -> None:
        """Enqueues more when few wait; each seventh is to fail at first."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            if rows.number(connection, "SELECT count(*) FROM (SELECT FROM pgtask.jobs LIMIT 1000) j") < BACKLOG:
                self.good += rows.insert(connection, "effect", count=6 * BACKLOG // 7)
                self.failing += rows.insert(connection, "effect", {"fails": True}, count=BACKLOG // 7)


class Prey:
    """The executors that can be killed: those that have just begun a job."""

    def __init__(self, worker: Worker, scene: Scene) -> None:
        self._worker = worker
        self._ledger = scene.directory / "ledger"
        self._offset = 0

    def hunt(self) -> None:
        """Kills an executor some moments after it has begun a job."""
        pid = eventually(self._lively, 30) or 0
        time.sleep(random.uniform(0, 0.01))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _lively(self) -> int | None:
        if not self._ledger.exists():
            return None
        with self._ledger.open("rb") as ledger:
            ledger.seek(self._offset)
            lines = ledger.read().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]
        self._offset += sum(map(len, whole))
        living = {process.pid for process in self._worker.executors() if alive(process)}
        pids = {Entry(*json.loads(line)).pid for line in whole} & living
        return random.choice(sorted(pids)) if pids else None


def restart(home: Path, clients: contextlib.ExitStack) -> None:
    """Crashes the server as `pg_ctl stop -m immediate` does, and starts it again."""
    with embedded.start(home) as server:
        postmaster = psutil.Process(server.postmaster_pid)
    postmaster.send_signal(signal.SIGQUIT)
    psutil.wait_procs([postmaster], timeout=30)
    clients.enter_context(eventually(lambda: _started(home), 30))


def _started(home: Path) -> embedded.EmbeddedServer:
    try:
        return embedded.start(home)
    except EmbeddedServerError as error:
        raise AssertionError("the server is not up again") from error


@pytest.mark.timeout(300)
def test_effects_exist_exactly_for_completed_attempts(prepared: Path, make_worker: Make, scene: Scene) -> None:
    with contextlib.ExitStack() as clients:
        url = clients.enter_context(embedded.start(prepared)).url
        jobs = Jobs(url)
        jobs.refill()
        worker = make_worker(url=url, app=APP, processes=3, concurrency=4, lease=10.0)
        prey = Prey(worker, scene)

        for number in range(ROUNDS):
            if number % RESTART_EVERY == RESTART_EVERY // 2:
                restart(prepared, clients)
            jobs.refill()
            prey.hunt()

        with psycopg.connect(url, autocommit=True) as connection:
            eventually(lambda: all_ended(connection, jobs.ids), 60)
            finals = check(connection, scene, jobs.ids)
            crashes = connection.execute("SELECT job_id FROM pgtask.runs WHERE outcome = 'crashed'")
            crashed = {row[0] for row in crashes}
            effects = sorted(connection.execute("SELECT job_id, attempt FROM public.effects").fetchall())
        assert {run["outcome"] for run in finals} == {"completed"}
        assert effects == sorted((run["job_id"], run["attempt"]) for run in finals)
        charged = {run["job_id"] for run in finals if run["retry_count"]}
        assert charged == set(jobs.failing) | crashed, "nobody is charged for a crash of the server, or beside others"
        assert len(worker.said(r"died: signal SIGKILL")) >= ROUNDS * 0.9
        assert not worker.said("superseded")
        assert worker.stop() == 0


def all_ended(connection: Connection, ids: list[int]) -> bool:
    return rows.number(connection, "SELECT count(*) FROM pgtask.jobs WHERE id = ANY (%s)", [ids]) == 0
