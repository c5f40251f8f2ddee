"""The stream of events: what is told to whom, and that nothing is lost when a client comes back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import psycopg
import pytest
from pgtask.web import broadcaster
from pgtask.web.api import events
from werkzeug.test import TestResponse

from pgtask.database import feed
from pgtask.database.pool import Pool
from pgtask.model.token import Scope
from tests.api_client import Api, made_api, problem
from tests.command_line import add_live_worker, add_run
from tests.rows import insert
from tests.support import eventually

Connection = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks often, so that no test waits."""
    monkeypatch.setattr(broadcaster, "EVERY", 0.02)
    monkeypatch.setattr(events, "KEEP_ALIVE", 0.2)


class Stream:
    """A stream as a browser reads it."""

    def __init__(self, response: TestResponse) -> None:
        assert (response.status_code, response.mimetype) == (200, "text/event-stream"), response.get_data(as_text=True)
        self.headers = response.headers
        self.last_id: str | None = None
        self._parts = iter(response.response)

    def _next_fields(self) -> dict[str, str]:
        part: Any = next(self._parts)
        text: str = part.decode() if isinstance(part, bytes) else part
        pairs = (line.partition(": ") for line in text.splitlines())
        fields = {name: value for name, _, value in pairs}
        self.last_id = fields.get("id", self.last_id)
        return fields

    def next(self) -> dict[str, Any]:
        """The next event, with its name as `kind`."""
        while True:
            fields = self._next_fields()
            if "event" in fields:
                data: dict[str, Any] = json.loads(fields["data"])
                return {"kind": fields["event"]} | data

    def until(self, kind: str) -> dict[str, Any]:
        """The next event of a kind."""
        while (found := self.next())["kind"] != kind:
            pass
        return found

    def settle(self) -> None:
        """Waits until it is known how things stand, as only what differs from that is told."""
        for _ in range(2):
            self.silent()

    def silent(self) -> None:
        """Waits for a sign of life."""
        assert "event" not in self._next_fields()


@contextmanager
def stream(api: Api, query: str = "", **headers: str) -> Iterator[Stream]:
    """A stream for the block."""
    response = api.get(f"/events{query}", headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        yield Stream(response)
    finally:
        response.close()


def test_an_ended_attempt_is_told_with_its_position(api: Api, connection: Connection) -> None:
    with stream(api) as told:
        add_run(connection, 7, queue="mail", task="send")
        found = told.until("job")

    assert (found["id"], found["queue"], found["task"], found["status"]) == (7, "mail", "send", "completed")
    assert found["position"] == told.last_id
    assert told.headers["Cache-Control"] == "no-store"
    assert told.headers["X-Accel-Buffering"] == "no"


@pytest.mark.parametrize("by", ["header", "query"])
def test_a_client_that_comes_back_gets_what_it_has_missed(api: Api, connection: Connection, by: str) -> None:
    with stream(api) as told:
        add_run(connection, 1)
        told.until("job")
    for job in (2, 3):
        add_run(connection, job)
    assert told.last_id

    place = {"Last_Event_ID": told.last_id} if by == "header" else {}
    with stream(api, "" if place else f"?after={told.last_id}", **place) as again:
        add_run(connection, 4)
        assert [again.until("job")["id"] for _ in range(3)] == [2, 3, 4]


def test_each_event_comes_once_while_many_are_written(api: Api, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a stream reads for itself, from what is told, or falls so far behind that it must read again."""
    monkeypatch.setattr(broadcaster, "_PAGE", 7)
    api.app.extensions["pgtask.broadcaster"]._ring = broadcaster.deque(maxlen=10)
    start = threading.Event()

    def write() -> None:
        with psycopg.connect(database, autocommit=True) as own:
            for job in range(300):
                add_run(own, job)
                if job == 20:
                    start.set()

    writer = threading.Thread(target=write)
    with psycopg.connect(database, autocommit=True) as own:
        position = feed.position(own)
    writer.start()
    start.wait()
    with stream(api, f"?after={position}&topics=jobs") as told:
        found = [told.until("job")["id"] for _ in range(300)]
        writer.join()

    assert found == list(range(300))


def test_what_a_stream_has_read_for_itself_is_not_told_again(database: str, connection: Connection) -> None:
    pool = Pool(database)
    teller = broadcaster.Broadcaster(pool, 1)
    position = feed.position(connection)
    stream = teller.subscribe(position)
    add_run(connection, 1)
    found, *_ = teller._look(position, None)
    teller._ring.extend(found)
    teller._told += len(found)

    first, second = list(stream.news(0)), list(stream.news(0))
    pool.close()

    assert (first, second) == (found, [])


def test_what_happens_before_the_first_look_is_told(
    api: Api, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that looks for all may begin late, when the first stream has read all that there was."""
    monkeypatch.setattr(events, "LONGEST", 10.0)
    teller = api.app.extensions["pgtask.broadcaster"]
    look, read = teller._look, threading.Event()

    def late(position: Any, standing: Any) -> Any:
        if not read.wait(30):
            raise TimeoutError
        return look(position, standing)

    with mock.patch.object(teller, "_look", late), stream(api) as told:
        told.settle()
        add_run(connection, 1)
        read.set()
        assert told.until("job")["id"] == 1


@pytest.mark.parametrize("position", ["nonsense", "9-1-1-1", "1-999999999999-1-1"])
def test_who_cannot_go_on_is_told_so_and_goes_on_from_now(api: Api, connection: Connection, position: str) -> None:
    with stream(api, Last_Event_ID=position) as told:
        assert told.next()["kind"] == "reset"
        add_run(connection, 1)
        assert told.until("job")["id"] == 1


def test_who_comes_back_after_events_were_pruned_gets_all_that_is_kept(
    api: Api, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LONGEST", 10.0)
    for job in (1, 2, 3):
        add_run(connection, job)
    connection.execute("SELECT pgtask.note_pruned(xid, job_id, attempt) FROM pgtask.runs WHERE job_id = 1")
    connection.execute("DELETE FROM pgtask.runs WHERE job_id = 1")

    with stream(api) as other:
        other.settle()
        with stream(api, Last_Event_ID="1-1-0-0") as told:
            assert told.next()["kind"] == "reset"
            assert [told.until("job")["id"] for _ in range(2)] == [2, 3]


def test_only_what_is_asked_for_is_told(api: Api, connection: Connection) -> None:
    with stream(api, "?job_id=3") as job, stream(api, "?queue=mail") as queue, stream(api, "?task=send") as task:
        add_run(connection, 1)
        add_run(connection, 2, queue="mail")
        add_run(connection, 3, queue="mail", task="send")
        add_run(connection, 3)
        assert [job.until("job")["task"] for _ in range(2)] == ["send", "echo"]
        assert [queue.until("job")["id"] for _ in range(2)] == [2, 3]
        assert task.until("job")["id"] == 3


def test_a_token_for_some_queues_hears_of_no_others(api: Api, connection: Connection) -> None:
    with stream(api.holder_of(Scope.READ, queues=["mail"])) as told:
        told.settle()
        add_run(connection, 1)
        connection.execute("INSERT INTO pgtask.queues (name, paused_at) VALUES ('other', now()), ('mail', now())")
        add_live_worker(connection)
        insert(connection, "t", status="running", attempt=1)
        add_run(connection, 2, queue="mail")
        found = {told.next()["kind"] for _ in range(2)}
        told.silent()

    assert found == {"job", "queue.changed"}


def test_what_goes_on_is_told_as_it_is_noticed(api: Api, connection: Connection) -> None:
    with stream(api) as told:
        told.settle()
        [job] = insert(connection, "t", status="running", attempt=1)
        started = told.until("job.started")
        connection.execute("UPDATE pgtask.jobs SET progress = 40, progress_message = 'half' WHERE id = %s", [job])
        progress = told.until("job.progress")
        connection.execute("INSERT INTO pgtask.queues (name, paused_at) VALUES ('mail', now())")
        queue = told.until("queue.changed")
        worker = add_live_worker(connection, "w7")
        joined = told.until("worker.changed")

    assert (started["id"], started["attempt"]) == (job, 1)
    assert (progress["progress"], progress["message"]) == (40, "half")
    assert (queue["name"], queue["paused"]) == ("mail", True)
    assert (joined["id"], joined["state"]) == (worker, "running")


def test_topics_are_chosen(api: Api, connection: Connection) -> None:
    with stream(api, "?topics=queues,workers") as told:
        told.settle()
        add_run(connection, 1)
        add_live_worker(connection)
        assert told.next()["kind"] == "worker.changed"


def test_a_quiet_stream_lives_and_moves_on(api: Api, connection: Connection) -> None:
    with stream(api, "?queue=mail") as told:
        told.silent()
        add_run(connection, 1)

        def has_moved() -> bool:
            told.silent()
            return told.last_id is not None and told.last_id.split("-")[2] == "1"

        eventually(has_moved)


def test_a_stream_ends_so_that_its_client_comes_back(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LONGEST", 0.1)
    with stream(api) as told, pytest.raises(StopIteration):
        told.next()


def test_streams_beyond_a_quarter_of_the_threads_are_refused(database: str) -> None:
    api = made_api(database, server_threads=8)
    with stream(api), stream(api):
        answer = api.get("/events")
        problem(answer, 503, "too-many-streams")
        assert answer.headers["Retry-After"] == "10"
    with stream(api) as told:
        told.silent()


def test_one_thread_looks_for_all_and_only_while_somebody_watches(api: Api, connection: Connection) -> None:
    # Streams that other tests did not read to their end may have theirs.
    others = set(threading.enumerate())

    def lookers() -> list[str]:
        return [thread.name for thread in set(threading.enumerate()) - others if thread.name == "events"]

    assert not lookers()
    with mock.patch.object(broadcaster.watching, "look", wraps=broadcaster.watching.look) as looked:
        with stream(api) as one, stream(api) as two:
            add_run(connection, 1)
            assert one.until("job")["id"] == two.until("job")["id"] == 1
            assert lookers() == ["events"]
        eventually(lambda: not lookers())
        looks = looked.call_count
    assert looks > 0


@pytest.mark.parametrize("query", ["topics=jobs,cats", "topics=", "job_id=0", "after=x", "queue=", "colour=red"])
def test_what_cannot_be_told_is_refused(api: Api, query: str) -> None:
    problem(api.get(f"/events?{query}"), 422, "invalid-request")
