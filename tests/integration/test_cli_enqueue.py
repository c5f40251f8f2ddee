from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from typing import Any

import click
import pytest

from pgtask.cli.enqueue import read_payload
from tests import rows
from tests.command_line import add_run, answer, on_terminal, run, start
from tests.rows import Connection, insert
from tests.support import eventually


def enqueue(database: str, connection: Connection, *arguments: str, stdin: str | None = None) -> dict[str, Any]:
    result = run(database, "enqueue", *arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return rows.live(connection, int(result.stdout))


def test_a_pipe_gets_the_id_and_a_terminal_a_sentence(database: str, connection: Connection) -> None:
    job = enqueue(database, connection, "echo", "message=hi", "n=3")
    assert (job["task"], job["payload"]) == ("echo", {"message": "hi", "n": 3})
    assert f"Job {job['id'] + 1} enqueued." in on_terminal(database, "enqueue", "echo")
    created = answer(run(database, "enqueue", "echo", "--json"))
    assert (created["type"], created["status"]) == ("echo", "pending")


@pytest.mark.parametrize(
    ("parts", "payload"),
    [
        ([], {}),
        (
            ["a=1", "b=x", "c=true", "d=null", "e=[1,2]", 'f={"g":1.5}'],
            {"a": 1, "b": "x", "c": True, "d": None, "e": [1, 2], "f": {"g": 1.5}},
        ),
        (
            ["zip=007", "to=a@b.c", "empty=", 'text="7"', "eq=a=b"],
            {"zip": "007", "to": "a@b.c", "empty": "", "text": "7", "eq": "a=b"},
        ),
        (["big=12345678901234567890", "n=NaN"], {"big": 12345678901234567890, "n": "NaN"}),
        (['{"a": {"b": "ü"}}'], {"a": {"b": "ü"}}),
    ],
)
def test_payloads(parts: list[str], payload: dict[str, Any]) -> None:
    assert read_payload(tuple(parts)) == payload


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        (["x"], "'x' is no payload: give key=value pairs or one JSON object"),
        (["=1"], "'=1' is no payload"),
        (["a=1", "a=2"], "has 'a' twice"),
        (["[1]"], "must be a JSON object"),
        (['"text"'], "must be a JSON object"),
        (["{"], "There is no JSON in the payload"),
        (['{"a": NaN}'], "NaN is no JSON"),
        (['{"a": 1}', "b=2"], "is no payload"),
        (["[" * 100_000], "There is no JSON in the payload"),
    ],
)
def test_what_is_no_payload_is_a_usage_error(parts: list[str], complaint: str) -> None:
    with pytest.raises(click.UsageError, match=complaint):
        read_payload(tuple(parts))


def test_a_payload_can_come_from_stdin(database: str, connection: Connection) -> None:
    assert enqueue(database, connection, "echo", "-", stdin='{"a": 1}')["payload"] == {"a": 1}
    assert "no JSON in stdin" in run(database, "enqueue", "echo", "-", stdin="").stderr


def test_a_payload_that_postgresql_cannot_store_is_refused(database: str) -> None:
    result = run(database, "enqueue", "echo", '{"a": "\\u0000"}')
    assert result.exit_code == 1
    assert result.stderr == "Error: The payload cannot be stored: a text in it holds U+0000\n"
    big = run(database, "enqueue", "echo", f"text={'x' * 2**20}")
    assert big.exit_code == 1
    assert "the limit is 1048576 (setting max_payload_bytes). Store the data elsewhere" in big.stderr


def test_options_reach_the_job(database: str, connection: Connection) -> None:
    options = "-q mail --priority critical --delay 1h30m --unique-key k --max-retries -1 --timeout 90s --tag a --tag b"
    job = enqueue(database, connection, "echo", *options.split())
    assert (job["queue"], job["priority"], job["unique_key"], job["max_retries"]) == ("mail", 3, "k", -1)
    assert (job["timeout"], job["tags"]) == (90, ["a", "b"])
    assert (job["scheduled_at"] - job["created_at"]).total_seconds() == 5400
    job = enqueue(database, connection, "echo", "--at", "2030-01-02T03:04:05Z", "--priority", "-7")
    assert (job["scheduled_at"], job["priority"]) == (datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC), -7)


def test_what_is_not_given_comes_from_the_task(database: str, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.tasks (name, queue, priority) VALUES ('send', 'mail', 2)")
    job = enqueue(database, connection, "send")
    assert (job["queue"], job["priority"], job["max_retries"]) == ("mail", 2, None)
    assert enqueue(database, connection, "send", "--queue", "other")["queue"] == "other"


def test_a_held_unique_key_is_told(database: str, connection: Connection) -> None:
    job = enqueue(database, connection, "echo", "--unique-key", "k")
    result = run(database, "enqueue", "echo", "--unique-key", "k")
    assert (result.exit_code, result.stdout) == (0, f"{job['id']}\n")
    assert result.stderr == f"Nothing new enqueued: job {job['id']} holds this unique key.\n"


def test_an_unregistered_task_is_told_with_a_guess(database: str, connection: Connection) -> None:
    said = "No worker has registered task 'ehco' yet: the job waits."
    assert run(database, "enqueue", "ehco").stderr == f"{said} Start one: pgtask worker\n"
    connection.execute("INSERT INTO pgtask.tasks (name) VALUES ('echo')")
    assert run(database, "enqueue", "ehco").stderr == f"{said} Did you mean 'echo'?\n"
    assert run(database, "enqueue", "echo").stderr == ""


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--priority", "urgent"], "unknown priority 'urgent': use low, normal, high, critical"),
        (["--delay", "soon"], "'soon' is no duration"),
        (["--at", "tomorrow"], "'tomorrow' is no time"),
        (["--delay", "1m", "--at", "2030-01-01"], "--delay or --at, not both"),
        (["--timeout-wait", "3"], "--timeout-wait needs --wait"),
        (["--max-retries", "x"], "no number of retries"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(database: str, options: list[str], complaint: str) -> None:
    result = run(database, "enqueue", "echo", *options)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_a_time_out_of_range_is_refused_by_the_database_in_words(database: str) -> None:
    result = run(database, "enqueue", "echo", "--at", "9999-06-01T00:00:00Z")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The job was refused: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("failed", 1), ("cancelled", 1)])
def test_wait_ends_with_the_job(database: str, connection: Connection, status: str, code: int) -> None:
    pipe = subprocess.PIPE
    with start(database, "enqueue", "echo", "--wait", stdout=pipe, stderr=pipe) as process:
        (id,) = eventually(lambda: connection.execute("SELECT id FROM pgtask.jobs").fetchone()) or (0,)
        result = "'{\"a\": 1}'::jsonb" if status == "completed" else "NULL"
        # As a worker does: at no instant is the job nowhere.
        with connection.transaction():
            connection.execute("DELETE FROM pgtask.jobs")
            add_run(connection, id, status, error="boom" if status == "failed" else None)
            connection.execute(f"UPDATE pgtask.runs SET result = {result}")
        shown, _ = process.communicate(timeout=20)
    said = {"completed": '{"a": 1}\t', "failed": "null\tboom", "cancelled": "null\t"}
    assert (process.returncode, shown) == (code, f"{id}\t{status}\t{said[status]}\n")


def test_waiting_stops_at_its_time_limit(database: str, connection: Connection) -> None:
    result = run(database, "enqueue", "echo", "--wait", "--timeout-wait", "50ms")
    (id,) = connection.execute("SELECT id FROM pgtask.jobs").fetchone() or (0,)
    assert (result.exit_code, result.stdout) == (1, f"{id}\tpending\tnull\t\n")
    assert f"Job {id} has not ended; follow it: pgtask jobs show {id}" in result.stderr


def test_waiting_for_a_job_that_was_there_already(database: str, connection: Connection) -> None:
    (id,) = insert(connection, "echo", unique_key="k")
    shown = on_terminal(database, "enqueue", "echo", "--unique-key", "k", "--wait", "--timeout-wait", "1ms")
    assert f"Job {id} pending" in shown
