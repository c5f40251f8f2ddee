"""`pgtask events`, `pgtask feed` and `pgtask webhooks`."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.command_line import add_run, answer, lines, on_terminal, run
from tests.receiver import allow_loopback, verified
from tests.site import answer as answering
from tests.site import serving

Connection = psycopg.Connection[Any]


def printed(database: str, *arguments: str) -> list[Any]:
    """What `events --once` prints, as JSON."""
    result = run(database, "events", "--once", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_consumer_prints_each_event_once(database: str, connection: Connection) -> None:
    assert printed(database, "--consumer", "c") == []
    add_run(connection, 1)
    add_run(connection, 2)

    assert [event["id"] for event in printed(database, "--consumer", "c")] == [1, 2]
    assert printed(database, "--consumer", "c") == []
    assert [event["id"] for event in printed(database, "--consumer", "new", "--from-start")] == [1, 2]


def test_events_go_on_after_a_position(database: str, connection: Connection) -> None:
    for job in range(3):
        add_run(connection, job, queue="mail" if job else "other", task="send")
    found = printed(database, "--from-start")

    assert printed(database, "--after", found[0]["position"]) == found[1:]
    assert printed(database, "--from-start", "-q", "mail") == found[1:]
    assert printed(database, "--from-start", "--task", "none") == []


def test_events_are_lines_in_a_pipe(database: str, connection: Connection) -> None:
    add_run(connection, 7, queue="mail", task="send")

    [line] = lines(run(database, "events", "--once", "--from-start"))

    assert line[1:6] == ["7", "ended", "completed", "completed", "send"]


def test_that_events_are_missing_is_said(database: str) -> None:
    result = run(database, "events", "--once", "--after", "9-1-1-1")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "Events are missing here." in result.stderr


@pytest.mark.parametrize("options", [["--consumer", "c", "--after", "1-1-1-1"], ["--after", "1-1-1-1", "--from-start"]])
def test_what_does_not_go_together_is_refused(database: str, options: list[str]) -> None:
    assert run(database, "events", *options).exit_code == 2


def test_a_position_that_is_none_is_refused_in_a_line(database: str) -> None:
    result = run(database, "events", "--once", "--after", "yesterday")

    assert result.exit_code == 1
    assert "'yesterday' is no position of the feed." in result.stderr


def test_consumers_are_listed_and_dropped(database: str, connection: Connection) -> None:
    printed(database, "--consumer", "c")
    add_run(connection, 1)

    [[name, behind, *_]] = lines(run(database, "feed", "list"))
    assert (name, bool(behind)) == ("c", True)
    assert "c" in on_terminal(database, "feed", "list")
    assert lines(run(database, "feed", "drop", "c")) == [["c", "dropped"]]
    gone = run(database, "feed", "drop", "c")
    assert (gone.exit_code, "no consumer 'c'" in gone.stderr) == (3, True)


def test_webhooks_are_added_shown_paused_and_deleted(database: str) -> None:
    [[name, secret]] = lines(run(database, "webhooks", "add", "w", "https://example.com/", "--status", "failed"))
    assert (name, secret[:6]) == ("w", "whsec_")
    assert [line[:4] for line in lines(run(database, "webhooks", "list"))] == [
        ["w", "active", "", "https://example.com/"]
    ]

    run(database, "webhooks", "pause", "w")
    assert ["state", "paused"] in lines(run(database, "webhooks", "show", "w"))
    run(database, "webhooks", "resume", "w")
    assert ["statuses", "failed"] in lines(run(database, "webhooks", "show", "w"))
    run(database, "webhooks", "delete", "w")
    assert run(database, "webhooks", "show", "w").exit_code == 3


def test_what_cannot_be_a_webhook_is_refused_in_a_line(database: str) -> None:
    result = run(database, "webhooks", "add", "w", "ftp://example.com/")

    assert result.exit_code == 1
    assert "Url must begin with http:// or https://." in result.stderr


def test_a_webhook_is_tried_out(database: str, connection: Connection) -> None:
    with serving() as site:
        secret = answer(run(database, "webhooks", "add", "w", f"http://127.0.0.1:{site.port}/", "--json"))["secret"]
        refused = run(database, "webhooks", "test", "w")
        assert (refused.exit_code, "loopback" in refused.stderr) == (1, True)
        allow_loopback(connection)
        site.answers["/"] = answering(204, b"")

        assert lines(run(database, "webhooks", "test", "w")) == [["w", "answered 204"]]
        assert verified(site.requests[0], secret)["type"] == "test"
