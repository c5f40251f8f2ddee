"""`pgtask dev` brings up a database and a worker, says how to use them, and leaves in order."""

from __future__ import annotations

import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import urllib3

from pgtask.database import fleet
from tests.command_line import raw_terminal, start
from tests.support import eventually

APP = """
from pgtask import PgTask

tasks = PgTask()


@tasks.task(name="it's.mine")
def mine(name: str, number: int, rest: list | None = None) -> str:
    return name * number
"""


class Dev:
    """A running `pgtask dev` and what it has printed about itself."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        assert process.stdout is not None
        self.process = process
        self._log = log
        self.fields = dict(process.stdout.readline().rstrip("\n").split("\t") for _ in range(6))

    def log(self) -> str:
        return self._log.read_text()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def dev(database: str | None, folder: Path, *arguments: str) -> Iterator[Dev]:
    log = folder / "log"
    with (
        log.open("w") as errors,
        start(database, "dev", *arguments, stdout=subprocess.PIPE, stderr=errors, cwd=folder) as process,
    ):
        try:
            yield Dev(process, log)
        finally:
            process.kill()


def result_of_latest(connection: psycopg.Connection) -> object:
    row = connection.execute(
        "SELECT result FROM pgtask.all_jobs WHERE status = 'completed' ORDER BY id DESC"
    ).fetchone()
    return row and row[0]


def test_the_insert_that_it_shows_is_run_and_term_ends_it_in_order(
    database: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    with dev(database, tmp_path, "--processes", "1") as running:
        assert running.fields["sql"].startswith("INSERT INTO pgtask.jobs (task, payload) VALUES ('echo', ")
        connection.execute(running.fields["sql"].encode())
        eventually(lambda: result_of_latest(connection) == {"n": 1}, 60)

        assert running.stop() == 0

    assert "has shut down" in running.log()
    assert connection.execute("SELECT count(*) FROM pgtask.workers WHERE dead_at IS NULL").fetchone() == (0,)


def test_without_any_setup_it_makes_its_own_database_and_names_it(tmp_path: Path) -> None:
    with dev(None, tmp_path, "--processes", "1") as running:
        if running.fields["psql"].startswith("psql "):
            asked = subprocess.run(
                [*shlex.split(running.fields["psql"]), "-Atc", "SELECT 42"], check=False, capture_output=True
            )
            assert asked.stdout == b"42\n"
        else:
            assert running.fields["psql"] == "pgtask db psql"
        with psycopg.connect(running.fields["database"], autocommit=True) as connection:
            connection.execute(running.fields["sql"].encode())
            eventually(lambda: result_of_latest(connection) == {"n": 1}, 60)

        assert running.stop() == 0


def test_the_token_that_it_shows_opens_the_api_until_it_ends(
    database: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    with dev(database, tmp_path, "--processes", "1", "--bind", "127.0.0.1:0") as running:
        place = running.fields["api"].removesuffix("/api/docs")
        asked = {"Authorization": f"Bearer {running.fields['token']}"}
        answer = urllib3.request(
            "GET", f"{place}/api/v1/me", headers=asked, retries=urllib3.Retry(5, backoff_factor=0.5)
        )
        assert (answer.status, answer.json()["scopes"]) == (200, ["admin"])
        assert urllib3.request("GET", running.fields["api"]).status == 200

        assert running.stop() == 0

    with pytest.raises(urllib3.exceptions.HTTPError):
        urllib3.request("GET", running.fields["api"], retries=False)
    ended = connection.execute("SELECT revoked_by FROM pgtask.tokens").fetchall()
    assert ended == [("pgtask dev",)]


def test_it_migrates_a_database_that_has_no_schema(empty_database: str, tmp_path: Path) -> None:
    with (
        dev(empty_database, tmp_path, "--processes", "1") as running,
        psycopg.connect(empty_database, autocommit=True) as connection,
    ):
        assert connection.execute("SELECT count(*) FROM pgtask.jobs").fetchone() == (0,)
        assert running.stop() == 0


def test_its_example_is_for_the_application_that_it_runs(
    database: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(APP)
    with dev(database, tmp_path, "-A", "shop", "--processes", "1") as running:
        assert """('it''s.mine', '{"name": "hi", "number": 1}')""" in running.fields["sql"]
        connection.execute(running.fields["sql"].encode())
        eventually(lambda: result_of_latest(connection) == "hi", 60)


def test_an_application_that_is_not_there_is_told_before_anything_is_started(tmp_path: Path) -> None:
    with start(None, "dev", "-A", "nowhere", cwd=tmp_path, stderr=subprocess.PIPE) as process:
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 2
    assert errors.startswith("Error: There is no module 'nowhere'")
    assert not (tmp_path / ".pgtask").exists()


def test_a_password_is_not_shown(database: str, tmp_path: Path) -> None:
    with dev(f"{database} password=hush", tmp_path, "--processes", "1") as running:
        assert running.fields["psql"].startswith("pgtask ")
        assert "hush" not in "".join(running.fields.values())


@pytest.mark.parametrize("columns", [80, 140])
def test_on_a_terminal_the_log_follows_the_addresses(
    database: str, connection: psycopg.Connection, columns: int
) -> None:
    def stop() -> None:
        eventually(lambda: fleet.list_workers(connection), 60)
        fleet.stop_workers(connection, [worker.id for worker in fleet.list_workers(connection)])

    thread = threading.Thread(target=stop)
    thread.start()
    shown = raw_terminal(database, "dev", columns=columns)
    thread.join()

    assert shown.index("Database") < shown.index("The worker's log. Ctrl-C shuts it down.") < shown.index("INFO")
