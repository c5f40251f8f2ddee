from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from pgtask.database import psql
from pgtask.model.errors import ConfigurationError
from tests.command_line import answer, lines, run, start


def test_migrate_and_status(empty_database: str) -> None:
    result = run(empty_database, "db", "status")
    assert result.exit_code == 1
    assert "no schema" in result.stdout
    assert "Migrate it: pgtask db migrate" in result.stderr

    applied = [line for (line,) in lines(run(empty_database, "db", "migrate"))]
    assert applied
    found = answer(run(empty_database, "db", "status", "--json"))
    assert (found["up_to_date"], found["current"], found["pending"]) == (True, applied[-1], [])
    assert answer(run(empty_database, "db", "migrate", "--json")) == {"applied": [], "current": applied[-1]}


def test_psql_gets_its_arguments_and_our_exit_code_is_its_own(database: str) -> None:
    arguments = ["db", "psql", "-At", "-c", "SELECT 42", "-c", "SHOW application_name"]
    with start(database, *arguments, stdout=subprocess.PIPE) as process:
        shown, _ = process.communicate(timeout=20)
    assert (process.returncode, shown) == (0, "42\npsql\n")
    with start(database, "db", "psql", "-c", "nonsense", stderr=subprocess.PIPE) as process:
        process.communicate(timeout=20)
    assert process.returncode == 1


def test_a_password_is_not_shown_to_other_users_of_the_machine() -> None:
    target, variables = psql.connection_arguments("postgresql://me:hu%20sh@h:5/d?sslmode=require")
    assert "hu" not in target
    assert variables == {"PGPASSWORD": "hu sh"}
    assert target.split() == ["user=me", "dbname=d", "host=h", "port=5", "sslmode=require"]


def test_a_missing_psql_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("pgtask.database.embedded.binaries.candidates", lambda: [tmp_path])
    with pytest.raises(ConfigurationError, match=r"There is no psql\. Install"):
        psql.find_psql()


def test_start_and_stop_are_for_the_embedded_server(database: str) -> None:
    result = run(database, "db", "start")
    assert result.exit_code == 2
    assert "(PGTASK_DATABASE_URL), so there is no embedded one to start" in result.stderr


def test_commands_work_on_an_embedded_server_without_any_setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(None, "db", "status")
    assert result.exit_code == 1
    assert "There is no embedded PostgreSQL here yet" in result.stderr
    assert not (tmp_path / ".pgtask").exists()

    pipe = subprocess.PIPE
    with start(None, "db", "start", stdout=pipe, stderr=pipe, cwd=tmp_path) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        try:
            url = server.stdout.readline().strip()
            assert re.match(r"postgresql://.*host=", url)
            assert f"Creating an embedded PostgreSQL in {tmp_path}" in server.stderr.readline()

            result = run(None, "enqueue", "echo", "message=hi")
            assert (result.exit_code, result.stdout) == (0, "1\n")
            assert lines(run(url, "jobs", "list"))[0][:3] == ["1", "pending", "echo"]
            assert answer(run(None, "db", "status", "--json"))["database_url"] == url
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=60) == 0
        finally:
            stopped = run(None, "db", "stop")
    assert stopped.exit_code == 0
    assert str(tmp_path) in stopped.stderr
