"""Webhooks: what arrives, in which order, and what happens when it does not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import psycopg
import pytest
import trustme

from pgtask.database import feed, webhooks
from pgtask.engine import delivery
from pgtask.engine import webhooks as engine
from pgtask.engine.webhooks import Webhooks
from pgtask.model.destination import parse_network
from pgtask.model.webhook import DELAYS, Message, draw_secret
from tests.command_line import add_run
from tests.receiver import allow_loopback, jobs_told, verified
from tests.rows import add_worker, number
from tests.site import Site, answer, drip, serving
from tests.support import eventually

Connection = psycopg.Connection[Any]
MESSAGE = Message("evt_1", b"{}")
LOOPBACK = [parse_network("127.0.0.0/8")]


@pytest.fixture
def site() -> Iterator[Site]:
    """A receiver."""
    with serving() as made:
        yield made


@pytest.fixture
def sender(database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhooks]:
    """What a leading worker does, in haste."""
    monkeypatch.setattr(engine, "_LOOK_EVERY", 0.02)
    allow_loopback(connection)
    made = Webhooks(database, add_worker(connection))
    made.start()
    yield made
    made.stop()


def url(site: Site, path: str = "/hook") -> str:
    """Where the receiver listens."""
    return f"http://127.0.0.1:{site.port}{path}"


def failed(connection: Connection, name: str = "w") -> bool:
    """Whether a webhook waits for its next try."""
    return webhooks.read(connection, name).failures > 0


def hasten(connection: Connection) -> None:
    """Has what waits for its next try tried now."""
    connection.execute("UPDATE pgtask.webhooks SET next_attempt_at = now()")


@pytest.mark.usefixtures("sender")
def test_what_happens_arrives_signed_and_in_order(site: Site, connection: Connection) -> None:
    add_run(connection, 99)
    secret = webhooks.create(connection, "w", url(site))
    for job in range(20):
        add_run(connection, job, queue="mail", task="send")

    eventually(lambda: len(site.requests) == 20)

    assert jobs_told(site) == list(range(20))
    first = site.requests[0]
    content = verified(first, secret)
    assert (content["type"], content["data"]["queue"], content["data"]["task"]) == ("job.completed", "mail", "send")
    assert first.headers["webhook-id"] == f"evt_{content['data']['position']}"
    assert len({request.headers["webhook-id"] for request in site.requests}) == 20
    eventually(lambda: webhooks.read(connection, "w").next_event_at is None)
    assert webhooks.read(connection, "w").last_status == 200


@pytest.mark.usefixtures("sender")
def test_only_what_is_asked_for_arrives(site: Site, connection: Connection) -> None:
    webhooks.create(connection, "w", url(site), statuses=["failed"], queues=["mail"], tasks=["a", "b"])
    add_run(connection, 1, "failed", queue="mail", task="c")
    add_run(connection, 2, "completed", queue="mail", task="a")
    add_run(connection, 3, "failed", queue="other", task="a")
    add_run(connection, 4, "failed", queue="mail", task="a")

    eventually(lambda: webhooks.read(connection, "w").next_event_at is None)

    assert jobs_told(site) == [4]


@pytest.mark.usefixtures("sender")
def test_what_failed_is_sent_again_under_the_same_id_before_what_came_later(site: Site, connection: Connection) -> None:
    site.answers["/hook"] = answer(500, b"not now")
    webhooks.create(connection, "w", url(site))
    add_run(connection, 1)
    eventually(lambda: failed(connection))
    add_run(connection, 2)
    found = webhooks.read(connection, "w")
    assert (found.last_status, found.last_error) == (500, "it answered 500 Internal Server Error: not now")
    wait = number(
        connection, "SELECT extract(epoch FROM next_attempt_at - now()) FROM pgtask.webhooks WHERE name = 'w'"
    )
    assert wait <= DELAYS[0]
    assert jobs_told(site) == [1]

    site.answers["/hook"] = answer(204, b"")
    hasten(connection)
    eventually(lambda: len(site.requests) == 3)

    assert jobs_told(site) == [1, 1, 2]
    assert site.requests[0].headers["webhook-id"] == site.requests[1].headers["webhook-id"]
    assert site.requests[0].body == site.requests[1].body
    eventually(lambda: not failed(connection))


@pytest.mark.usefixtures("sender")
def test_one_that_does_not_answer_holds_up_no_other(site: Site, connection: Connection) -> None:
    held = threading.Event()
    site.answers["/slow"] = lambda handler: (held.wait(20), answer()(handler))[1]
    webhooks.create(connection, "slow", url(site, "/slow"))
    webhooks.create(connection, "w", url(site))
    try:
        for job in range(5):
            add_run(connection, job)
        eventually(lambda: [request.path for request in site.requests].count("/hook") == 5)
        assert [request.path for request in site.requests].count("/slow") == 1
    finally:
        held.set()


def test_who_was_served_comes_after_those_who_wait(connection: Connection) -> None:
    for name in "ab":
        webhooks.create(connection, name, "http://127.0.0.1/")
    for job in (1, 2, 3):
        add_run(connection, job)

    served = []
    for _ in range(4):
        [due] = webhooks.due(connection, [], 1)
        served.append(due.name)
        webhooks.advance(connection, due, feed.read(connection, due.position, 1)[-1].position, 200)

    assert served == ["a", "b", "a", "b"]


def test_who_cannot_look_after_its_leadership_sends_no_more(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Webhooks(database, add_worker(connection))
    monkeypatch.setattr(webhooks, "due", mock.Mock(side_effect=ConnectionResetError))

    with pytest.raises(ConnectionResetError):
        made._serve()

    assert not made._leading.is_set()
    made.stop()


@pytest.mark.usefixtures("sender")
def test_one_that_failed_for_days_is_paused_and_goes_on_when_resumed(site: Site, connection: Connection) -> None:
    site.answers["/hook"] = answer(503, b"")
    webhooks.create(connection, "w", url(site))
    add_run(connection, 1)
    eventually(lambda: failed(connection))
    connection.execute("UPDATE pgtask.webhooks SET first_failed_at = now() - interval '73 h', next_attempt_at = now()")

    eventually(lambda: webhooks.read(connection, "w").paused_at)
    assert webhooks.read(connection, "w").paused_reason == "it failed for 3 days"
    site.answers["/hook"] = answer()
    add_run(connection, 2)
    webhooks.resume(connection, "w")

    eventually(lambda: jobs_told(site)[-2:] == [1, 2])


@pytest.mark.usefixtures("sender")
def test_one_that_is_gone_is_paused_at_once(site: Site, connection: Connection) -> None:
    site.answers["/hook"] = answer(410, b"")
    webhooks.create(connection, "w", url(site))
    add_run(connection, 1)

    eventually(lambda: webhooks.read(connection, "w").paused_reason == "it answered 410 Gone")


@pytest.mark.usefixtures("sender")
def test_while_paused_nothing_is_sent_and_nothing_lost(site: Site, connection: Connection) -> None:
    webhooks.create(connection, "w", url(site))
    webhooks.create(connection, "other", url(site, "/other"))
    webhooks.pause(connection, "w", "moving")
    add_run(connection, 1)
    eventually(lambda: site.requests)
    assert [request.path for request in site.requests] == ["/other"]

    webhooks.resume(connection, "w")
    eventually(lambda: len(site.requests) == 2)
    assert webhooks.read(connection, "w").paused_reason is None


def test_a_leader_that_died_is_replaced_and_goes_on_where_it_was(
    site: Site, database: str, connection: Connection, sender: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_CANDIDATES_PAUSE", 0.02)
    other = Webhooks(database, add_worker(connection))
    other.start()
    try:
        webhooks.create(connection, "w", url(site))
        add_run(connection, 1)
        eventually(lambda: site.requests)
        sender.stop()
        add_run(connection, 2)
        eventually(lambda: jobs_told(site)[-1] == 2)
    finally:
        other.stop()
    assert jobs_told(site) == [1, 2]


@pytest.mark.usefixtures("sender")
def test_that_events_are_missing_is_told(site: Site, connection: Connection) -> None:
    webhooks.create(connection, "w", url(site), statuses=["failed"])
    connection.execute("UPDATE pgtask.webhooks SET position = '9-1-1-1'")

    eventually(lambda: site.requests)
    assert json.loads(site.requests[0].body)["type"] == "feed.reset"
    add_run(connection, 1, "failed")
    eventually(lambda: len(site.requests) == 2)
    assert json.loads(site.requests[1].body)["data"]["id"] == 1


# Where it may go


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1", "0.0.0.0"])
def test_what_is_not_public_is_not_reached(site: Site, host: str) -> None:
    found = delivery.send(f"http://{host}:{site.port}/", draw_secret(), MESSAGE, [])

    assert found.status is None
    assert "webhook_networks" in (found.error or "")
    assert site.requests == []


def test_a_redirect_is_not_followed(site: Site) -> None:
    site.answers["/hook"] = answer(302, b"", Location=url(site, "/secret"))

    found = delivery.send(url(site), draw_secret(), MESSAGE, LOOPBACK)

    assert found.status == 302
    assert "redirects are not followed" in (found.error or "")
    assert [request.path for request in site.requests] == ["/hook"]


@pytest.mark.parametrize("slow", ["headers", "body"])
def test_who_answers_byte_by_byte_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch, slow: str) -> None:
    monkeypatch.setattr(delivery, "TOTAL", 0.3)

    def drip_headers(handler: Any) -> None:
        while True:
            handler.wfile.write(b"HTTP/1.1 500 x\r\n" if not handler.close_connection else b"")
            threading.Event().wait(0.02)
            handler.wfile.write(b"x")

    def drip_body(handler: Any) -> None:
        handler.send_response(500)
        handler.end_headers()
        while True:
            handler.wfile.write(b".")
            threading.Event().wait(0.02)

    site.answers["/hook"] = drip_headers if slow == "headers" else drip_body

    found = delivery.send(url(site), draw_secret(), MESSAGE, LOOPBACK)

    assert found.error


def test_an_answer_may_take_longer_than_a_connection(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "CONNECT_WITHIN", 0.1)

    def think(handler: Any) -> None:
        threading.Event().wait(0.5)
        answer()(handler)

    site.answers["/hook"] = think

    assert delivery.send(url(site), draw_secret(), MESSAGE, LOOPBACK).status == 200


def test_an_endless_answer_to_what_went_well_is_not_read(site: Site) -> None:
    site.answers["/hook"] = drip

    assert delivery.send(url(site), draw_secret(), MESSAGE, LOOPBACK).error is None


def test_nobody_there_is_a_failure_in_words() -> None:
    with serving() as gone:
        port = gone.port

    found = delivery.send(f"http://127.0.0.1:{port}/", draw_secret(), MESSAGE, LOOPBACK)

    assert found.status is None
    assert "takes no connection" in (found.error or "")


def test_certificates_are_checked_by_the_name_in_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl

    authority = trustme.CA()
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(served)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with serving(served) as site:
        names = [f"https://{host}:{site.port}/" for host in ("localhost", "127.0.0.1")]
        allowed = [*LOOPBACK, parse_network("::1")]
        assert delivery.send(names[0], draw_secret(), MESSAGE, allowed).status is None
        monkeypatch.setattr(delivery, "_trust", lambda: trusting)

        assert delivery.send(names[0], draw_secret(), MESSAGE, allowed).status == 200
        assert delivery.send(names[1], draw_secret(), MESSAGE, allowed).status is None
