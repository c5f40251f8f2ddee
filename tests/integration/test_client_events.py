"""What a server tells as it happens, in Python and on the command line."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgtask.client import Client
from pgtask.database import feed
from pgtask.model.change import Change, RunningJob
from pgtask.model.errors import ServerUnavailableError
from pgtask.model.event import FeedEvent
from tests.command_line import add_run, start
from tests.rows import insert
from tests.served import Served, served

Connection = psycopg.Connection[Any]


@pytest.fixture
def server(database: str) -> Iterator[Served]:
    with served(database) as made:
        yield made
        made.api.app.extensions["pgtask.broadcaster"].dismiss()


@pytest.fixture
def client(server: Served) -> Iterator[Client]:
    with Client(server.url, server.token) as made:
        yield made


def ended(found: Iterator[FeedEvent | Change]) -> int:
    """The job of the next event that tells of an ended attempt."""
    return next(each.event.id for each in found if isinstance(each, FeedEvent) and each.event is not None)


def test_a_stream_goes_on_after_the_position_of_the_one_before(client: Client, connection: Connection) -> None:
    first = client.stream_events(topics=["jobs"])
    events = first.connect()
    add_run(connection, 1, task="a")
    assert ended(events) == 1
    place = first.position
    add_run(connection, 2, "failed", task="b", error_type="ValueError", error="no")
    add_run(connection, 3, task="a")

    assert ended(client.stream_events(after=place, task="a").connect()) == 3
    told = next(iter(client.stream_events(after=place)))
    assert isinstance(told, FeedEvent)
    assert told.event is not None
    assert (told.event.id, told.event.status, told.event.error_type) == (2, "failed", "ValueError")


def test_a_position_of_another_database_is_told_as_such(client: Client) -> None:
    [told] = [next(client.stream_events(after="999-1-1-1").connect())]
    assert isinstance(told, FeedEvent)
    assert told.event is None
    assert told.reason


def test_running_jobs_and_queues_are_told_of(client: Client, connection: Connection) -> None:
    events = client.stream_events().connect()
    add_run(connection, 1)
    assert ended(events) == 1
    insert(connection, "t", status="running", attempt=1, worker_id=1, queue="q")
    started = next(each.about for each in events if isinstance(each, Change) and each.event == "job.started")
    assert isinstance(started, RunningJob)
    assert (started.task, started.queue, started.attempt) == ("t", "q", 1)
    connection.execute("INSERT INTO pgtask.queues (name, paused_at) VALUES ('q', now())")
    assert next(each.event for each in events if isinstance(each, Change)) == "queue.changed"


def test_a_server_that_ends_ends_the_stream_and_one_that_is_gone_is_told(server: Served, client: Client) -> None:
    stream = client.stream_events()
    events = stream.connect()
    server.api.app.extensions["pgtask.broadcaster"].dismiss()
    assert list(events) == []
    with pytest.raises(ServerUnavailableError), Client("http://127.0.0.1:1", "t") as other:
        other.stream_events().connect()


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (("jobs", "tail", "--status", "failed", "-q", "mail"), {"event", "at", "id", "run_seconds"}),
        (("events", "--queue", "mail", "--after"), {"event", "at", "id", "position"}),
    ],
)
def test_jobs_are_followed_without_the_database(
    server: Served, connection: Connection, command: tuple[str, ...], names: set[str]
) -> None:
    place = feed.position(connection)
    arguments = [*command, *([place] if command[-1] == "--after" else []), "--json"]
    process = start(
        None,
        *("--url", server.url, *arguments),
        environment={"PGTASK_TOKEN": server.token},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        if command[0] == "jobs":
            assert process.stderr.readline().startswith("Following jobs")
        add_run(connection, 1, "failed", queue="other")
        add_run(connection, 2, "failed", queue="mail")
        found = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    assert found["id"] == 2
    assert names <= found.keys()


@pytest.mark.parametrize(
    "arguments",
    [
        ("jobs", "tail", "--tag", "x"),
        ("jobs", "tail", "--task", "mail.*"),
        ("jobs", "tail", "queue:a,b"),
        ("events", "--once"),
        ("events", "--consumer", "c"),
    ],
    ids=" ".join,
)
def test_what_streams_cannot_do_is_said_in_a_line(server: Served, arguments: tuple[str, ...]) -> None:
    result = server.run(*arguments)
    assert result.exit_code == 2
    assert "REST" in result.stderr or "PGTASK_DATABASE_URL" in result.stderr
