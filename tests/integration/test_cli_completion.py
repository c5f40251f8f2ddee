from __future__ import annotations

import subprocess

import pytest

from pgtask.cli import suggestions
from tests.command_line import add_live_worker, run, start
from tests.rows import Connection


def complete(database: str | None, *words: str) -> list[str]:
    """What bash is offered for the last word."""
    environment = {"COMP_WORDS": " ".join(["pgtask", *words]), "COMP_CWORD": str(len(words))}
    environment["_PGTASK_COMPLETE"] = "bash_complete"
    with start(database, environment=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        output, errors = process.communicate(timeout=60)
    assert errors == ""
    return [line.split(",", 1)[1] for line in output.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_says_how_to_install_it(shell: str) -> None:
    result = run(None, "completion", shell)
    assert result.exit_code == 0
    assert f"_PGTASK_COMPLETE={shell}_complete" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("# To install this: ")


def test_the_bash_script_is_sound_bash() -> None:
    script = run(None, "completion", "bash").stdout
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_the_fish_script_cuts_nothing_off_at_a_comma() -> None:
    script = run(None, "completion", "fish").stdout
    assert script.count("string split") == script.count('string split --max 1 ","') == 1


def test_commands_options_and_statuses_are_completed_without_a_database() -> None:
    assert complete(None, "jo") == ["jobs"]
    assert complete(None, "jobs", "ta") == ["tail"]
    assert "--status" in complete(None, "jobs", "list", "--")
    assert complete(None, "jobs", "list", "--status", "failed,c") == ["failed,completed", "failed,cancelled"]


def test_names_of_queues_and_tasks_come_from_the_database(database: str, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name) VALUES ('mail'), (E'ma\\x1b[2J')")
    connection.execute("INSERT INTO pgtask.tasks (name) VALUES ('send_email')")
    add_live_worker(connection, queues=["reports"])
    assert complete(database, "queues", "pause", "") == ["default", "mail", "reports"]
    assert complete(database, "jobs", "tail", "--queue", "m") == ["mail"]
    assert complete(database, "enqueue", "se") == ["send_email"]
    assert complete(database, "jobs", "list", "--task", "x") == []


def test_a_database_that_does_not_answer_completes_nothing_and_says_nothing(empty_database: str) -> None:
    assert complete("postgresql://nobody@127.0.0.1:1/none", "queues", "pause", "") == []
    assert complete(empty_database, "queues", "pause", "") == []
    assert complete("not a url", "queues", "pause", "") == []


def test_a_database_that_is_slow_to_answer_is_not_waited_for(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    import click

    from pgtask.cli.main import main

    release = threading.Event()
    monkeypatch.setattr(suggestions, "PATIENCE", 0.01)
    monkeypatch.setattr(suggestions, "connect", lambda *_, **__: release.wait(30))
    context = click.Context(main, info_name="pgtask")
    context.params["database_url"] = database
    assert suggestions.queue_names(context, "") == []
    release.set()
