"""The built-in tasks in a worker that is started and configured as an operator does it."""

from __future__ import annotations

import email
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from email import policy
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.command_line import add_run, answer, run, start
from tests.rows import ended, final, insert, runs
from tests.site import answer as answering
from tests.site import serving
from tests.support import eventually

Connection = psycopg.Connection[Any]
StartWorker = Callable[[str], psutil.Process]
PATIENCE = 30.0


@pytest.fixture
def start_worker(database: str, connection: Connection, tmp_path: Path) -> Iterator[StartWorker]:
    """Starts a worker of the built-in tasks in a directory with this pgtask.toml; it is told its database by a flag."""
    made: list[subprocess.Popen[str]] = []

    def begin(toml: str) -> psutil.Process:
        (tmp_path / "pgtask.toml").write_text(toml)
        with (tmp_path / "log").open("wb") as log:
            process = start(
                None, "--database-url", database, "worker", "--processes", "1", cwd=tmp_path, stdout=log, stderr=log
            )
        made.append(process)
        eventually(lambda: " ready: " in (tmp_path / "log").read_text(), PATIENCE)
        return psutil.Process(process.pid)

    yield begin
    for process in made:
        process.terminate()
        process.wait(PATIENCE)


def final_run(connection: Connection, id: int) -> dict[str, Any]:
    eventually(lambda: final(connection, id), PATIENCE)
    return ended(connection, id)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_what_is_not_allowed_fails_for_good_and_says_how_to_allow_it(
    start_worker: StartWorker, connection: Connection, tmp_path: Path
) -> None:
    start_worker("")
    web = final_run(connection, insert(connection, "http", {"url": "https://example.com/"})[0])
    command = final_run(connection, insert(connection, "command", {"name": "ls"})[0])
    for job, hint in ((web, "http_hosts"), (command, "commands_file")):
        assert (job["status"], job["attempt"], job["error_type"]) == ("failed", 1, "Discard")
        assert "is off" in job["error"]
        assert hint in job["error"]

    mail = final_run(connection, insert(connection, "email", {"to": "a@b.c", "subject": "hi", "body": "text"})[0])
    file = Path(mail["result"]["file"])
    assert file.parent == tmp_path / ".pgtask" / "outbox"
    message = email.message_from_bytes(file.read_bytes(), policy=policy.default)
    assert message["Message-ID"] == mail["result"]["message_id"]


def test_a_server_that_asks_for_time_is_tried_again_when_it_said(
    start_worker: StartWorker, connection: Connection
) -> None:
    with serving() as site:
        start_worker(f'http_hosts = ["127.0.0.1:{site.port}"]\nhttp_networks = ["127.0.0.1"]')
        site.answers["/busy"] = answering(503, b"", Retry_After="1000")
        (id,) = insert(connection, "http", {"url": f"http://127.0.0.1:{site.port}/busy"}, retry_delay=5)
        eventually(lambda: runs(connection, id), PATIENCE)
        row = connection.execute(
            "SELECT status::text, retry_count, extract(epoch FROM scheduled_at - now()) FROM pgtask.jobs WHERE id = %s",
            [id],
        ).fetchone()
        assert row is not None
        assert row[:2] == ("pending", 1)
        assert row[2] > 500
        assert "503 Service Unavailable" in runs(connection, id)[0]["error"]

        (id,) = insert(connection, "http", {"url": f"http://127.0.0.1:{site.port}/", "method": "POST", "body": [1]})
        assert final_run(connection, id)["result"]["body"] == "hello"


def commands(tmp_path: Path) -> str:
    """A command that starts a daemon, writes both their ids into files, and stays."""
    tmp_path.chmod(0o700)
    text = (
        "(setsid sh -c 'echo $$ > child; exec sleep 1000' &); "
        "while ! [ -s child ]; do sleep 0.01; done; echo $$ > parent; sleep 1000"
    )
    file = tmp_path / "commands.toml"
    file.write_text(f'[stay]\nprogram = ["/bin/sh", "-c", {json.dumps(text)}]\n')
    file.chmod(0o600)
    return f'commands_file = "{file}"'


def started(tmp_path: Path) -> list[int]:
    names = ("child", "parent")
    eventually(lambda: all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in names), PATIENCE)
    return [int((tmp_path / name).read_text()) for name in names]


@pytest.mark.parametrize("how", ["cancel", "timeout", "shutdown", "executor killed", "supervisor killed"])
def test_nothing_of_a_command_is_left(
    start_worker: StartWorker, connection: Connection, tmp_path: Path, how: str
) -> None:
    worker = start_worker(commands(tmp_path) + "\ngrace = 0")
    (id,) = insert(connection, "command", {"name": "stay"}, timeout=3 if how == "timeout" else None, max_retries=0)
    pids = started(tmp_path)
    if how == "cancel":
        connection.execute("SELECT pgtask.cancel(%s)", [id])
        assert final_run(connection, id)["status"] == "cancelled"
    elif how == "timeout":
        assert final_run(connection, id)["outcome"] == "timeout"
    elif how == "shutdown":
        worker.terminate()
    elif how == "executor killed":
        executors = [child for child in worker.children() if "pgtask.engine.executor" in child.cmdline()]
        assert len(executors) == 1
        executors[0].kill()
    else:
        os.kill(worker.pid, signal.SIGKILL)
    eventually(lambda: all(map(gone, pids)), PATIENCE)


def test_a_report_is_made_from_the_database_that_the_worker_serves(
    start_worker: StartWorker, connection: Connection, database: str
) -> None:
    add_run(connection, 10_000, "completed", queue="mail", task="send", finished_at="2026-01-05 10:00:00+00")
    start_worker("")
    (id,) = insert(connection, "report", {"type": "daily", "at": "2026-01-06T07:00:00Z"})
    result = final_run(connection, id)["result"]
    assert (result["from"], result["by_task"]["send"]["completed"]) == ("2026-01-05T00:00:00+00:00", 1)
    shown = answer(run(database, "jobs", "show", str(id), "--json"))
    assert "failing_tasks" in json.dumps(shown)
