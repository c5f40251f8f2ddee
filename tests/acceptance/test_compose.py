"""What docker-compose.yml has its containers run, as processes: no Docker engine is needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.support import eventually

COMPOSE = yaml.safe_load((Path(__file__).resolve().parents[2] / "docker-compose.yml").read_text())


@pytest.fixture
def environment(empty_database: str) -> dict[str, str]:
    """That of a worker where the host sets nothing, but for the server's place."""
    given = {name: value for name, value in COMPOSE["services"]["worker"]["environment"].items() if value}
    others = {name: value for name, value in os.environ.items() if not name.startswith("PGTASK")}
    return others | given | {"PGTASK_DATABASE_URL": empty_database}


def start(service: str, environment: dict[str, str], **options: Any) -> subprocess.Popen[str]:
    """A container's command as a process."""
    command = [sys.executable, "-m", "pgtask", *COMPOSE["services"][service]["command"]]
    return subprocess.Popen(command, env=environment, text=True, **options)


def test_the_services_migrate_work_and_stop(empty_database: str, environment: dict[str, str], tmp_path: Path) -> None:
    assert start("migrate", environment, cwd=tmp_path).wait(60) == 0
    workers = [start("worker", environment, cwd=tmp_path) for _ in range(2)]
    try:
        with psycopg.connect(empty_database, autocommit=True) as connection:
            alive = "SELECT count(*) = 2 FROM pgtask.workers WHERE expires_at > now()"
            eventually(lambda: connection.execute(alive).fetchone() == (True,), timeout=30)
            connection.execute("INSERT INTO pgtask.jobs (task, payload) VALUES ('echo', '{\"message\": \"hi\"}')")
            ended = "SELECT result->>'message' FROM pgtask.all_jobs WHERE status = 'completed'"
            eventually(lambda: connection.execute(ended).fetchone() == ("hi",), timeout=30)
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        assert [worker.wait(30) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
