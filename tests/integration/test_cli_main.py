from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from click import Group
from click.testing import CliRunner

from pgtask.cli.main import BRANCHES, main
from tests.command_line import answer, lines, run, start
from tests.rows import Connection
from tests.support import eventually


def test_the_help_names_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name, branch in BRANCHES.items():
        assert name in result.stdout
        assert branch.help in result.stdout


@pytest.mark.parametrize("name", BRANCHES)
def test_every_command_explains_itself(name: str) -> None:
    command = main.get_command(main.make_context("pgtask", [name]), name)
    assert command is not None
    assert command.help
    for found in command.commands.values() if isinstance(command, Group) else ():
        # What `pgtask GROUP` lists is the first sentence, whole.
        assert not found.get_short_help_str(60).endswith("...")
    for arguments in ([name, "--help"], [name, "-h"]):
        assert CliRunner().invoke(main, arguments).exit_code == 0


def test_version() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert (result.exit_code, result.stdout.split()[0]) == (0, "pgtask")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["enqeue", "echo"], "There is no command 'enqeue'. Did you mean 'enqueue'?"),
        (["xyz"], "There is no command 'xyz'."),
        (["--nope"], "No such option"),
        (["jobs", "lst"], "No such command 'lst'"),
        (["jobs", "list", "--status", "faild"], "There is no status 'faild'. Did you mean 'failed'?"),
        (["jobs", "show", "x"], "'x' is no job's id"),
    ],
)
def test_usage_errors(arguments: list[str], complaint: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert complaint in result.stderr


@pytest.mark.parametrize(
    ("url", "code", "complaint"),
    [
        ("postgresql://u:hush@127.0.0.1:1/d", 4, "Cannot reach PostgreSQL at 127.0.0.1:1 ("),
        ("host=/nowhere dbname=d", 4, "Cannot reach PostgreSQL at /nowhere ("),
        ("mysql://u:hush@h/d", 2, "'mysql://' is not a PostgreSQL URL"),
        ("postgresql://h/d?nonsense=1", 2, "The database URL cannot be read"),
    ],
)
def test_a_database_out_of_reach_is_one_line(url: str, code: int, complaint: str) -> None:
    for arguments in (["jobs", "list"], ["--database-url", url, "stats"]):
        result = run(url, *arguments)
        assert (result.exit_code, result.stdout) == (code, "")
        assert result.stderr.startswith("Error: ")
        assert complaint in result.stderr
        assert result.stderr.count("\n") == 1
        assert "hush" not in result.stderr


def test_a_database_without_schema_says_what_to_run(empty_database: str) -> None:
    result = run(empty_database, "jobs", "list")
    assert result.exit_code == 1
    assert "pgtask db migrate" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_missing_right_is_told_in_one_line(database: str, connection: Connection) -> None:
    role = f"reader_{os.getpid()}"
    connection.execute(f"CREATE ROLE {role} LOGIN")
    try:
        connection.execute(f"GRANT USAGE ON SCHEMA pgtask TO {role}")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA pgtask TO {role}")
        options = f"{database} options='-c role={role}'"
        assert run(options, "jobs", "list").exit_code == 0
        result = run(options, "enqueue", "echo")
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: This database role may not do that (permission denied")
        assert result.stderr.count("\n") == 1
    finally:
        connection.execute(f"DROP OWNED BY {role}")
        connection.execute(f"DROP ROLE {role}")


def test_only_verbose_shows_a_traceback(monkeypatch: pytest.MonkeyPatch, database: str) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("odd \x1b[31m postgresql://u:hush@h/d")

    monkeypatch.setattr("pgtask.database.fleet.list_tasks", break_down)
    result = run(database, "tasks", "list")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        r"Error: RuntimeError: odd \x1b[31m postgresql://u:***@h/d. This should not happen."
    )
    assert "Traceback" not in result.stderr
    result = run(database, "--verbose", "tasks", "list")
    assert "Traceback" in result.stderr
    assert "hush" not in result.stderr


def test_ctrl_c_ends_a_command_quietly(database: str) -> None:
    pipe = subprocess.PIPE
    with start(database, "enqueue", "echo", "--wait", stdout=pipe, stderr=pipe) as process:
        eventually(lambda: lines(run(database, "jobs", "list")))
        process.send_signal(signal.SIGINT)
        shown, said = process.communicate(timeout=20)
    assert (process.returncode, shown) == (130, "")
    assert said.endswith("Interrupted.\n")
    assert "Traceback" not in said


def test_config_shows_values_and_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pgtask.toml").write_text('queues = ["mail", "default"]\nlease = "45s"')
    url = "postgresql://me:hush@h/d"
    shown = {line[0]: line[1:] for line in lines(run(url, "config", "show", "--origin"))}
    assert shown["lease"] == ["45 s", "pgtask.toml"]
    assert shown["queues"] == ["mail, default", "pgtask.toml"]
    assert shown["database_url"] == ["postgresql://me:***@h/d", "PGTASK_DATABASE_URL"]
    assert shown["poll"] == ["1 s", "default"]
    found = answer(run(url, "config", "show", "--json"))
    assert (found["queues"], found["lease"], found["app"]) == (["mail", "default"], 45, None)
    found = answer(run(None, "--database-url", url, "config", "show", "--json", "--origin"))
    assert found["database_url"] == {"value": "postgresql://me:***@h/d", "origin": "--database-url"}
    (tmp_path / "pgtask.toml").write_text('smtp_password = "secret"\nhttp_hosts = ["a.org", "b.org"]')
    shown = {line[0]: line[1:] for line in lines(run(url, "config", "show"))}
    assert (shown["smtp_password"], shown["http_hosts"]) == (["***"], ["a.org, b.org"])
    assert answer(run(url, "config", "show", "--json"))["smtp_password"] == "***"
    (tmp_path / "pgtask.toml").write_text("leese = 1")
    result = run(url, "config", "show")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_python_m_pgtask_is_the_same_command() -> None:
    with start(None, "--version", stdout=subprocess.PIPE) as process:
        shown, _ = process.communicate(timeout=20)
    assert (process.returncode, shown.split()[0]) == (0, "pgtask")


def test_a_worker_gets_what_was_asked_for(database: str, connection: Connection) -> None:
    options = "--drain --processes 1 -c 3 --lease 5s --queues a,b --name w1 --log-format json --no-listen"
    with start(database, "worker", *options.split(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        shown, _ = process.communicate(timeout=60)
    assert process.returncode == 0, shown
    assert all("message" in json.loads(line) for line in shown.splitlines())
    (worker,) = answer(run(database, "workers", "list", "--json"))["items"]
    assert (worker["name"], worker["queues"], worker["slots"], worker["lease"]) == ("w1", ["a", "b"], 3, 5)
    assert worker["state"] == "stopped"


def test_a_worker_whose_executors_run_one_job_at_a_time_has_as_many_slots_as_executors(database: str) -> None:
    options = "worker --drain --processes 2 --isolation process"
    with start(database, *options.split(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        shown, _ = process.communicate(timeout=60)
    assert process.returncode == 0, shown
    assert "2 executors with 1 slot each" in shown
    (worker,) = answer(run(database, "workers", "list", "--json"))["items"]
    assert worker["slots"] == 2


def test_an_order_of_queues_that_are_not_named_is_refused(database: str) -> None:
    refused = run(database, "worker", "--strict")
    assert refused.exit_code == 2
    assert "--strict serves queues in the order of --queues: name them, best first." in refused.stderr


@pytest.mark.parametrize("number", ["5", "auto", "auto:1-5"])
def test_a_number_of_slots_for_executors_that_have_one_is_refused(database: str, number: str) -> None:
    refused = run(database, "worker", "--isolation", "process", "--concurrency", number)
    assert refused.exit_code == 2
    assert "choose --processes instead of --concurrency" in refused.stderr


def test_a_worker_may_find_its_numbers_by_itself(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = "worker --drain --processes auto:1-3 --concurrency auto:20-30"
    with start(database, *options.split(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        shown, _ = process.communicate(timeout=60)
    assert process.returncode == 0, shown
    assert "1 to 3 executors with 20 to 30 slots each" in shown
    (worker,) = answer(run(database, "workers", "list", "--json"))["items"]
    assert (worker["executors"], worker["slots"]) == (1, 20)
    monkeypatch.setenv("PGTASK_CONCURRENCY", "auto")
    assert answer(run(database, "config", "show", "--json"))["concurrency"] == "auto:1-100"


@pytest.mark.parametrize(
    ("number", "complaint"),
    [
        ("auto:9-3", "'auto:9-3' must go from a number of at least 1 up to another."),
        ("auto:0-3", "'auto:0-3' must go from a number of at least 1 up to another."),
        ("automatic", "'automatic' is no whole number from 1 on; nor is it auto or, for instance, auto:1-100."),
    ],
)
def test_bounds_that_make_no_sense_are_refused_in_a_line(database: str, number: str, complaint: str) -> None:
    refused = run(database, "worker", "--concurrency", number)
    assert (refused.exit_code, refused.stderr) == (2, f"Error: --concurrency is wrong: {complaint}\n")
