"""`pgtask dead`: listing, counting, retrying, resolving and deleting dead letters."""

from __future__ import annotations

import getpass
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.command_line import add_run, answer, lines, on_terminal, run
from tests.rows import ago, insert, job, live, number

Connection = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def dead(connection: Connection) -> None:
    """Three dead letters, 11 the first to have failed, and jobs that are none."""
    mail: dict[str, Any] = {"task": "mail.send", "queue": "mail", "error_type": "TimeoutError", "error": "no answer"}
    add_run(connection, 11, "failed", finished_at=ago(7200), claims=4, tags=["a"], **mail)
    add_run(connection, 12, "failed", finished_at=ago(60), **mail)
    add_run(connection, 13, "quarantined", finished_at=ago(30), error_type="ProcessDied", error="signal 11")
    add_run(connection, 21, "completed")
    add_run(connection, 22, "cancelled")


def left(connection: Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT id FROM pgtask.dead_letters ORDER BY id")]


def ids(database: str, *arguments: str) -> list[str]:
    return [line[0] for line in lines(run(database, "dead", "list", *arguments))]


def test_the_list_has_the_latest_failure_first(database: str) -> None:
    listed = lines(run(database, "dead", "list"))

    assert [line[:5] for line in listed] == [
        ["13", "quarantined", "echo", "default", "1"],
        ["12", "failed", "mail.send", "mail", "1"],
        ["11", "failed", "mail.send", "mail", "4"],
    ]
    assert [line[6:] for line in listed] == [
        ["ProcessDied: signal 11", ""],
        ["TimeoutError: no answer", ""],
        ["TimeoutError: no answer", "a"],
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--task", "mail.*"], ["12", "11"]),
        (["-q", "mail", "--since", "1h"], ["12"]),
        (["--error", "Process*"], ["13"]),
        (["--status", "quarantined"], ["13"]),
        (["--tag", "a"], ["11"]),
        (["--since", "2000-01-01"], ["13", "12", "11"]),
        (["--before", "2000-01-01"], []),
    ],
)
def test_options_filter_the_list(arguments: list[str], expected: list[str], database: str) -> None:
    assert ids(database, *arguments) == expected


def test_a_page_says_where_the_list_goes_on(database: str) -> None:
    first = answer(run(database, "dead", "list", "-n", "2", "--json"))
    second = answer(run(database, "dead", "list", "-n", "2", "--before", first["next_cursor"], "--json"))

    assert [item["id"] for item in first["items"] + second["items"]] == [13, 12, 11]
    assert second["next_cursor"] is None
    assert f"add --before {first['next_cursor']}" in on_terminal(database, "dead", "list", "-n", "2")


def test_a_terminal_gets_a_table(database: str) -> None:
    shown = on_terminal(database, "dead", "list", columns=100)

    assert shown.splitlines()[0].split() == ["ID", "STATUS", "TASK", "QUEUE", "TRIES", "FAILED", "ERROR"]
    assert "2 h ago" in shown


def test_stats_count_what_failed_alike(database: str) -> None:
    counted = lines(run(database, "dead", "stats"))

    assert [(line[0], line[1], line[2], line[5]) for line in counted] == [
        ("2", "mail.send", "TimeoutError", "12"),
        ("1", "echo", "ProcessDied", "13"),
    ]
    assert [line[0] for line in lines(run(database, "dead", "stats", "--task", "mail*", "--since", "1h"))] == ["1"]


def test_nothing_to_list_is_said(database: str, connection: Connection) -> None:
    assert run(database, "dead", "list", "--task", "x").stderr == "No dead letters match.\n"
    connection.execute("DELETE FROM pgtask.runs")
    assert run(database, "dead", "stats").stderr == "There are no dead letters.\n"


def test_ids_are_retried_and_each_is_answered(database: str, connection: Connection) -> None:
    result = run(database, "dead", "retry", "12", "21", "11")

    assert [line.split("\t")[:2] for line in result.stdout.splitlines()] == [
        ["12", "pending"],
        ["21", "completed"],
        ["11", "pending"],
    ]
    assert result.exit_code == 1
    assert left(connection) == [13]


def test_a_filter_retries_what_matches(database: str, connection: Connection) -> None:
    assert lines(run(database, "dead", "retry", "--error", "Timeout*", "-y")) == [["pending", "2"]]

    assert left(connection) == [13]
    assert {live(connection, id)["status"] for id in (11, 12)} == {"pending"}


def test_a_unique_key_that_is_held_is_reported_and_harms_no_other(database: str, connection: Connection) -> None:
    add_run(connection, 14, "failed", task="mail.send", unique_key="k")
    insert(connection, "t", unique_key="k")

    result = run(database, "dead", "retry", "--task", "mail.*", "-y")

    assert dict(lines(result)) == {"pending": "2", "held": "1"}
    assert left(connection) == [13, 14]


def test_all_takes_a_word_to_be_meant(database: str, connection: Connection) -> None:
    for command in ("retry", "resolve", "delete"):
        refused = run(database, "dead", command, "-y")
        assert (refused.exit_code, "or with --all" in refused.stderr) == (2, True)
        assert run(database, "dead", command, "11", "--all", "-y").exit_code == 2
    assert left(connection) == [11, 12, 13]

    assert lines(run(database, "dead", "retry", "--all", "-y")) == [["pending", "3"]]


def test_a_filter_asks_first(database: str, connection: Connection) -> None:
    refused = run(database, "dead", "retry", "--all")
    assert refused.exit_code == 2
    assert "3 jobs match. Retry them? There is no terminal to ask on: add --yes." in refused.stderr

    shown = on_terminal(database, "dead", "retry", "--all", "--rate", "2/min", stdin="n\n")
    assert "3 jobs match. Retry them, one every 30 s until 1 m from now?" in shown
    assert left(connection) == [11, 12, 13]


def test_a_rate_spreads_the_retries_from_the_oldest_on(database: str, connection: Connection) -> None:
    assert lines(run(database, "dead", "retry", "--all", "--rate", "120/min", "-y")) == [["pending", "3"]]

    due = [live(connection, id)["scheduled_at"] for id in (11, 12, 13)]
    assert [instant - due[0] for instant in due] == [timedelta(seconds=n / 2) for n in range(3)]
    assert number(connection, "SELECT extract(epoch FROM now() - %s)", [due[0]]) < 60


@pytest.mark.parametrize("rate", ["fast", "0/min", "5"])
def test_a_bad_rate_is_refused_in_a_line(rate: str, database: str, connection: Connection) -> None:
    refused = run(database, "dead", "retry", "--all", "--rate", rate, "-y")

    assert (refused.exit_code, f"{rate!r} is" in refused.stderr) == (2, True)
    assert left(connection) == [11, 12, 13]


def test_many_are_retried_over_several_batches(database: str, connection: Connection) -> None:
    add = """
        INSERT INTO pgtask.runs (job_id, finished_at, scheduled_at, created_at, claims, retry_count, crash_count,
                                 outcome, status, priority, final, queue, task, payload)
        SELECT 1000 + n, now() - make_interval(secs => n / 10), now(), now(), 1, 1, 0, 'failed', 'failed', 1, true, 'q',
               'many', '{}' FROM generate_series(1, 2500) n
    """
    connection.execute(add)

    assert lines(run(database, "dead", "retry", "--task", "many", "-y")) == [["pending", "2500"]]

    assert number(connection, "SELECT count(*) FROM pgtask.jobs WHERE task = 'many'") == 2500
    assert left(connection) == [11, 12, 13]


def test_resolving_says_who_did_it_and_why(database: str, connection: Connection) -> None:
    assert lines(run(database, "dead", "resolve", "11", "--note", "by hand")) == [["11", "resolved", ""]]

    assert left(connection) == [12, 13]
    shown = dict(line[:2] for line in lines(run(database, "dead", "show", "11")))
    assert (shown["resolved_by"], shown["note"]) == (getpass.getuser(), "by hand")
    assert lines(run(database, "dead", "unresolve", "11")) == [["11", "unresolved", ""]]
    assert left(connection) == [11, 12, 13]


def test_what_is_no_dead_letter_is_not_resolved(database: str) -> None:
    result = run(database, "dead", "resolve", "21", "22", "11")

    assert [line.split("\t")[1] for line in result.stdout.splitlines()] == ["completed", "cancelled", "resolved"]
    assert result.exit_code == 1
    assert run(database, "dead", "resolve", "999").exit_code == 3


def test_a_note_that_is_too_long_is_refused(database: str) -> None:
    refused = run(database, "dead", "resolve", "11", "--note", "x" * 5000)

    assert (refused.exit_code, "the note has 5000 bytes; the limit is 4096" in refused.stderr) == (1, True)


def test_deleting_takes_dead_letters_only(database: str, connection: Connection) -> None:
    (waiting,) = insert(connection, "t")
    add_run(connection, 11, None)

    result = run(database, "dead", "delete", "11", "21", str(waiting), "-y")

    assert [line.split("\t")[1] for line in result.stdout.splitlines()] == ["deleted", "completed", "active"]
    assert number(connection, "SELECT count(*) FROM pgtask.runs WHERE job_id = 11") == 0
    assert job(connection, waiting)
    assert left(connection) == [12, 13]


def test_deleting_asks_also_for_ids(database: str, connection: Connection) -> None:
    assert run(database, "dead", "delete", "11").exit_code == 2
    assert lines(run(database, "dead", "delete", "--all", "-y")) == [["deleted", "3"]]
    assert left(connection) == []
    assert number(connection, "SELECT count(*) FROM pgtask.runs") == 2


def test_a_job_shows_where_its_copy_is_and_the_copy_of_what_it_is(database: str, connection: Connection) -> None:
    told = {
        "job_id": 11,
        "queue": "mail",
        "status": "failed",
        "error_type": "TimeoutError",
        "error": "no answer\nat all",
    }
    (copy,) = insert(connection, "mail.send", dead_letter=sql.Literal(Jsonb(told)))
    connection.execute("UPDATE pgtask.runs SET copy_id = %s WHERE job_id = 11", [copy])

    assert f"Copied to     job {copy}" in on_terminal(database, "jobs", "show", "11")
    shown = on_terminal(database, "jobs", "show", str(copy))
    assert "Copy of       job 11 of queue mail, which failed: TimeoutError: no answer" in shown


@pytest.mark.parametrize("told", [[1], {"job_id": None, "error": 5, "queue": ["\x1b[31m"]}, "x"])
def test_what_somebody_else_wrote_as_a_dead_letter_spoils_nothing(
    told: Any, database: str, connection: Connection
) -> None:
    (copy,) = insert(connection, "t", dead_letter=sql.Literal(Jsonb(told)))

    result = run(database, "jobs", "show", str(copy))

    assert result.exit_code == 0
    assert "\x1b" not in result.stdout


def test_jobs_retry_by_filter_keeps_its_refusals(database: str, connection: Connection) -> None:
    add_run(connection, 14, "failed", task="mail.send", unique_key="k")
    (holder,) = insert(connection, "mail.send", unique_key="k")

    result = run(database, "jobs", "retry", "--task", "mail.*", "--status", "failed,pending", "-y")

    assert dict(lines(result)) == {"active": "1", "held": "1", "pending": "2"}
    assert number(connection, "SELECT id FROM pgtask.jobs WHERE unique_key = 'k'") == holder
