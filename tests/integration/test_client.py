"""pgtask.client and the command line over REST, against the application itself on a real database."""

from __future__ import annotations

import itertools
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import psycopg
import pytest
import trustme

from pgtask import JobFailedError, JobNotFoundError, NotAllowedError, PayloadError, QueueFull, UniqueConflictError
from pgtask.client import Client
from pgtask.database import audit
from pgtask.database.jobs import read
from pgtask.model.errors import ConfigurationError, QueueNotFoundError, ServerUnavailableError
from pgtask.model.rate import Rate
from pgtask.model.schedule import Schedule
from pgtask.model.token import Scope
from tests.command_line import add_live_worker, add_run, run
from tests.rows import insert
from tests.served import Served, served

Connection = psycopg.Connection[Any]


@pytest.fixture
def server(database: str) -> Iterator[Served]:
    with served(database) as made:
        yield made


@pytest.fixture
def client(server: Served) -> Iterator[Client]:
    with Client(server.url, server.token) as made:
        yield made


def test_needs_no_database_driver() -> None:
    script = "import sys; from pgtask.client import Client; assert 'psycopg' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_enqueues_the_job_that_was_asked_for(client: Client, connection: Connection) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    payload = {"to": "a@b.c", "at": due, "n": 10**30}
    made = client.enqueue("send_email", payload, queue="mail", priority="high", scheduled_at=due, tags=["x"])
    job = read(connection, made.id)
    assert made.created
    assert (job.task, job.queue, job.priority, job.tags, job.scheduled_at) == ("send_email", "mail", 2, ["x"], due)
    assert job.payload == {"to": "a@b.c", "at": due.isoformat(), "n": 10**30}
    assert client.read_job(made.id) == job


def test_awaits_the_end_of_a_job(client: Client, connection: Connection) -> None:
    made = client.enqueue("echo")
    with pytest.raises(TimeoutError, match=f"Job {made.id} has not ended yet: it is pending"):
        client.wait(made.id, 0.01)
    ending = threading.Timer(0.1, lambda: client_cancel(client, made.id))
    ending.start()
    with pytest.raises(JobFailedError, match="cancelled"):
        client.wait(made.id, 30)
    ending.join()


def client_cancel(client: Client, job_id: int) -> None:
    client._transport.post(f"/jobs/{job_id}/cancel")


def test_errors_are_those_of_a_database(client: Client, server: Served) -> None:
    with pytest.raises(JobNotFoundError) as missing:
        client.read_job(7)
    assert missing.value.job_id == 7
    with pytest.raises(QueueNotFoundError) as unknown:
        client.read_queue("no/such")
    assert unknown.value.name == "no/such"
    held = client.enqueue("echo", unique_key="k")
    with pytest.raises(UniqueConflictError) as conflict:
        client.enqueue("echo", unique_key="k", on_conflict="error")
    assert conflict.value.job_id == held.id
    client.create_queue("small", {"max_size": 1})
    client.enqueue("echo", queue="small")
    with pytest.raises(QueueFull) as full:
        client.enqueue("echo", queue="small")
    assert (full.value.queue, full.value.max_size) == ("small", 1)
    with pytest.raises(PayloadError):
        client.enqueue("echo", {"text": "\0"})
    with (
        Client(server.url, server.api.holder_of(Scope.ENQUEUE).token) as poor,
        pytest.raises(NotAllowedError, match="scope"),
    ):
        poor.list_queues()


def test_pages_are_read_to_the_end(client: Client, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgtask.client.listing.PAGE", 2)
    for number in range(5):
        client.create_queue(f"q{number}", {})
    names = [f"q{number}" for number in range(5)]
    assert [queue.name for queue in client.list_queues() if queue.name in names] == names


def test_a_schedule_is_changed_by_its_name_though_that_is_a_number(client: Client, connection: Connection) -> None:
    client.create_schedule(Schedule(name="other", expression="@hourly", task="echo"))
    number = str(client.read_schedule("other").id)
    client.create_schedule(Schedule(name=number, expression="@daily", task="echo", payload='{"a": 1}'))
    client.set_schedule(number, {"task": "sleep"})
    assert client.read_schedule(number).task == "sleep"
    assert client.read_schedule("other").task == "echo"


def test_a_schedule_is_changed_though_its_name_is_a_word_of_the_api(client: Client) -> None:
    client.create_schedule(Schedule(name="preview", expression="@hourly", task="echo"))
    client.set_schedule("preview", {"task": "sleep"})
    assert client.read_schedule("preview").task == "sleep"


# Commands that read, once there are jobs, queues, schedules, tasks and workers to show.
READ = (
    ("jobs", "list"),
    ("jobs", "list", "--status", "failed,pending", "--queue", "mail", "--task", "mail.*", "-n", "1"),
    ("jobs", "list", "--before", "1001"),
    ("jobs", "show", "1"),
    ("jobs", "show", "1001"),
    ("jobs", "explain", "1"),
    ("jobs", "tail", "1000"),
    ("dead", "list"),
    ("dead", "list", "-n", "1", "--error", "Value*"),
    ("dead", "stats"),
    ("dead", "show", "1001"),
    ("queues", "list"),
    ("queues", "stats", "mail"),
    ("schedules", "list"),
    ("schedules", "show", "nightly"),
    ("schedules", "preview", "nightly"),
    ("workers", "list"),
    ("workers", "list", "--all"),
    ("workers", "show", "1"),
    ("tasks", "list"),
    ("stats",),
    ("stats", "--queue", "mail"),
    ("top", "--once"),
    ("tokens", "list"),
    ("tokens", "list", "-n", "1"),
    ("audit", "list"),
    ("audit", "list", "-n", "1", "--actor", "somebody", "--since", "1h"),
    ("webhooks", "list"),
    ("webhooks", "show", "hook"),
    ("bulk", "list"),
    ("bulk", "list", "-n", "1"),
    ("bulk", "list", "--before", "2"),
    ("bulk", "show", "1"),
)


@pytest.mark.parametrize("command", READ, ids=" ".join)
def test_reads_the_same_either_way(server: Served, connection: Connection, command: tuple[str, ...]) -> None:
    _furnish(server.api.url, connection)
    direct, distant = run(server.api.url, *command, "--json"), server.run(*command, "--json")
    assert (distant.exit_code, distant.stderr) == (0, "")
    assert _lasting(_documents(distant.stdout)) == _lasting(_documents(direct.stdout))


def _documents(text: str) -> list[Any]:
    """The JSON documents in a text: one, or one a line."""
    return [json.loads(line) for line in text.splitlines()] if "\n{" in text else [json.loads(text)]


def _furnish(database: str, connection: Connection) -> None:
    worker = add_live_worker(connection, queues=["mail"])
    assert worker == 1
    insert(connection, "mail.send", queue="mail")
    add_run(connection, 1000, "completed", queue="mail", task="mail.send")
    add_run(connection, 1001, "failed", queue="mail", task="mail.send", error_type="ValueError", error="no")
    assert run(database, "queues", "create", "mail", "--rate-limit", "100/min", "--timeout", "30s").exit_code == 0
    assert run(database, "queues", "pause", "mail").exit_code == 0
    assert run(database, "schedules", "add", "nightly", "0 2 * * *", "report").exit_code == 0
    assert run(database, "webhooks", "add", "hook", "http://example.com/", "--task", "mail.send").exit_code == 0
    for _ in range(2):
        assert run(database, "jobs", "delete", "--task", "mail.*", "--detach", "--yes").exit_code == 0
        audit.write(
            connection, actor="somebody", address="::1", action="x", subject="y", details={"a": 1}, request_id="r"
        )
    assert run(database, "tokens", "create", "billing", "--scope", "read").exit_code == 0


PASSING = frozenset({"at", "attempts_per_second", "due_seconds", "last_used_at", "last_used_from"})


def _lasting(content: Any) -> Any:
    """Without what goes on by itself between two looks."""
    if isinstance(content, dict):
        return {key: _lasting(value) for key, value in content.items() if key not in PASSING}
    if isinstance(content, str):
        return re.sub(r"\b[\d.]+ m?s\b", "a moment", content)
    return [_lasting(item) for item in content] if isinstance(content, list) else content


# Commands that change something, each answered alike by two databases that are alike.
CHANGE = (
    ("queues", "create", "new", "--rate-limit", "5/10s", "--rate-burst", "3", "--max-retries", "2"),
    ("queues", "set", "mail", "--rate-limit", "none", "--timeout", "inherit", "--weight", "3"),
    ("queues", "pause", "mail"),
    ("queues", "resume", "mail"),
    ("queues", "delete", "spare"),
    ("schedules", "add", "x", "@every 5m", "echo", "n=1", "--tag", "t", "--jitter", "5s"),
    ("schedules", "set", "nightly", "--expression", "@hourly", "--payload", '{"a": [1]}', "--timeout", "9s"),
    ("schedules", "pause", "nightly"),
    ("schedules", "resume", "nightly"),
    ("schedules", "delete", "nightly"),
    ("workers", "stop", "1", "99"),
    ("enqueue", "echo", "a=1", "--queue", "spare", "--tag", "t", "--expires", "1h", "--unique-by", "a"),
    ("jobs", "edit", "1", "--priority", "high", "--payload", '{"b": 2}', "--delay", "0"),
    ("jobs", "run-now", "1"),
    ("jobs", "cancel", "1", "99"),
    ("jobs", "cancel", "--queue", "mail", "--yes"),
    ("jobs", "retry", "1000", "1001"),
    ("jobs", "delete", "1", "1000", "--yes"),
    ("dead", "retry", "--all", "--yes"),
    ("dead", "retry", "--all", "--rate", "10/min", "--yes"),
    ("dead", "resolve", "1001", "1000", "--note", "done"),
    ("dead", "delete", "--task", "mail.*", "--yes"),
    ("webhooks", "pause", "hook"),
    ("webhooks", "resume", "hook"),
    ("webhooks", "delete", "hook"),
    ("bulk", "cancel", "1"),
    ("jobs", "retry", "--queue", "mail", "--detach", "--yes"),
)


@pytest.mark.parametrize("command", CHANGE, ids=" ".join)
def test_changes_the_same_either_way(
    pgtask_server: str, pgtask_template: str, server: Served, connection: Connection, command: tuple[str, ...]
) -> None:
    from pgtask.testing import servers

    with servers.database(pgtask_server, pgtask_template) as other, psycopg.connect(other, autocommit=True) as beside:
        for url, opened in ((server.api.url, connection), (other, beside)):
            _furnish(url, opened)
            assert run(url, "queues", "create", "spare").exit_code == 0
        direct, distant = run(other, *command, "--json"), server.run(*command, "--json")
    assert (distant.exit_code, distant.stderr) == (direct.exit_code, direct.stderr)
    assert _timeless(json.loads(distant.stdout)) == _timeless(json.loads(direct.stdout))


PERSONAL = frozenset({"paused_by", "start_by", "created_by", "position"})


def _timeless(content: Any) -> Any:
    """Without instants, and without who it was."""
    if isinstance(content, dict):
        kept = {
            key: value
            for key, value in content.items()
            if key not in {"paused_by", "start_by", "created_by", "position"}
        }
        return {key: _timeless(value) for key, value in kept.items() if not key.endswith("_at") or value is None}
    return [_timeless(item) for item in content] if isinstance(content, list) else content


FAULTS = (
    ("jobs", "run-now", "7"),
    ("jobs", "show", "7"),
    ("jobs", "explain", "7"),
    ("jobs", "tail", "7"),
    ("queues", "stats", "mial"),
    ("queues", "pause", "mail", "mial"),
    ("queues", "create", "mail"),
    ("queues", "delete", "mail"),
    ("queues", "set", "mail", "--dead-letter-queue", "mail"),
    ("schedules", "show", "nihgtly"),
    ("schedules", "add", "nightly", "@daily", "echo"),
    ("schedules", "add", "x", "61 * * * *", "echo"),
    ("tasks", "open", "nothing"),
    ("workers", "show", "99"),
    ("enqueue", "echo", "--queue", "full"),
    ("enqueue", "echo", "--unique-key", "k", "--on-conflict", "error"),
    ("enqueue", "echo", '{"a": "\\u0000"}'),
    ("tokens", "create", "billing", "--scope", "read"),
    ("tokens", "revoke", "nobody"),
    ("tokens", "revoke", "99"),
    ("webhooks", "show", "nothing"),
    ("webhooks", "pause", "nothing"),
    ("webhooks", "delete", "nothing"),
    ("webhooks", "add", "hook", "http://example.com/"),
    ("bulk", "show", "99"),
    ("bulk", "cancel", "99"),
)


@pytest.mark.parametrize("command", FAULTS, ids=" ".join)
def test_refuses_in_the_same_words_either_way(server: Served, connection: Connection, command: tuple[str, ...]) -> None:
    _furnish(server.api.url, connection)
    assert run(server.api.url, "queues", "create", "full", "--max-size", "1").exit_code == 0
    insert(connection, "b", queue="full")
    assert run(server.api.url, "enqueue", "echo", "--unique-key", "k").exit_code == 0
    direct, distant = run(server.api.url, *command), server.run(*command)
    assert direct.exit_code != 0
    assert (distant.exit_code, distant.stderr) == (direct.exit_code, direct.stderr)
    assert distant.stderr.count("\n") == 1


def test_a_paced_retry_goes_on_where_the_call_before_ended(
    server: Served, client: Client, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgtask.client.dead_letters.MOST_IDS", 2)
    for job in range(1, 6):
        add_run(connection, job, "failed")

    answers = client.paced_retry(Rate.parse("1/min"))(range(1, 6))

    assert {answer.answer for answer in answers} == {"pending"}
    due = [client.read_job(job).scheduled_at for job in range(1, 6)]
    assert [round((later - first).total_seconds() / 60, 1) for first, later in itertools.pairwise(due)] == [1.0] * 4


def test_a_token_is_made_and_revoked(server: Served) -> None:
    made = server.run("tokens", "create", "x", "--scope", "read", "--queue", "mail", "--expires", "1h", "--json")
    record = json.loads(made.stdout)
    assert (record["scopes"], record["queues"], made.stderr) == (["read"], ["mail"], "")
    assert server.run("queues", "list", token=record["token"]).exit_code == 0

    revoked = json.loads(server.run("tokens", "revoke", "x", "--json").stdout)

    assert revoked["id"] == record["id"]
    assert revoked["revoked_at"]
    again = json.loads(server.run("tokens", "revoke", str(record["id"]), "--json").stdout)
    assert again["revoked_at"] == revoked["revoked_at"]


def test_a_webhook_is_added_and_tried_out_by_the_server(server: Served, connection: Connection) -> None:
    added = json.loads(server.run("webhooks", "add", "w", "http://127.0.0.1:1/", "--status", "failed", "--json").stdout)
    assert added["secret"].startswith("whsec_")
    assert added["statuses"] == ["failed"]
    tried = server.run("webhooks", "test", "w")
    assert (tried.exit_code, tried.stdout) == (1, "")
    assert "127.0.0.1" in tried.stderr


def test_what_was_done_over_rest_is_in_the_audit(server: Served) -> None:
    assert server.run("queues", "create", "new").exit_code == 0
    shown = json.loads(server.run("audit", "list", "--action", "create_queue", "--json").stdout)
    assert [(change["subject"], change["action"]) for change in shown["items"]] == [("new", "create_queue")]


def test_a_wrong_token_is_told_in_a_line_that_does_not_show_it(server: Served) -> None:
    result = server.run("queues", "list", token="pgt_wrong_one")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "PGTASK_TOKEN" in result.stderr
    assert "pgt_wrong_one" not in result.output
    assert "pgt_wrong_one" not in repr(Client(server.url, "pgt_wrong_one"))


def test_a_missing_scope_is_named(server: Served) -> None:
    token = server.api.holder_of(Scope.READ).token
    result = server.run("queues", "pause", "default", token=token)
    assert (result.exit_code, result.stderr) == (1, "Error: This needs a token with the scope operate.\n")


def test_a_token_that_only_enqueues_gets_the_id(server: Served) -> None:
    token = server.api.holder_of(Scope.ENQUEUE).token
    result = server.run("enqueue", "echo", "--json", token=token)
    assert (result.exit_code, list(json.loads(result.stdout))) == (0, ["id"])


def test_a_server_that_is_not_there_is_told_in_a_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = run(None, "--url", url, "--token", "t", "queues", "list")
    assert result.exit_code == 4
    assert result.stderr == f"Error: The server at {url} cannot be reached: Connection refused.\n"


class Scripted(BaseHTTPRequestHandler):
    """Answers as it is told, one after the other, and keeps what it was asked."""

    answers: ClassVar[list[tuple[int, dict[str, str], Any]]]
    asked: ClassVar[list[Any]]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append((self.path, self.client_address, self.headers.get("Idempotency-Key")))
        status, headers, content = self.answers.pop(0)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET  # noqa: N815 - the name that its base class calls

    def log_message(self, *_: Any) -> None:
        pass


Script = Callable[..., str]


@pytest.fixture
def scripted() -> Iterator[Script]:
    server = HTTPServer(("127.0.0.1", 0), Scripted)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def begin(*answers: tuple[int, dict[str, str], Any]) -> str:
        Scripted.answers, Scripted.asked = list(answers), []
        return f"http://127.0.0.1:{server.server_port}"

    yield begin
    server.shutdown()
    thread.join()
    server.server_close()


def problem(status: int, kind: str) -> dict[str, Any]:
    return {"type": f"/problems/{kind}", "title": kind, "status": status, "detail": f"It is {kind}."}


MADE = {"id": 5, "answer": "created"}


def test_tries_again_with_the_same_key_on_the_same_connection(
    scripted: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("pgtask.client.transport.time.sleep", pauses.append)
    busy = (503, {"Retry-After": "3"}, problem(503, "busy"))
    url = scripted(busy, (429, {"Retry-After": "2"}, problem(429, "too-many-requests")), (201, {}, MADE))
    with Client(url, "t") as client:
        assert client.enqueue("echo").id == 5
    assert pauses == [3, 2]
    (_, address, key), *others = Scripted.asked
    assert key
    assert others == [("/api/v1/jobs", address, key)] * 2


@pytest.mark.parametrize(
    ("status", "kind", "error"), [(429, "queue-full", QueueFull), (409, "unique-conflict", UniqueConflictError)]
)
def test_what_time_does_not_heal_is_not_tried_again(
    scripted: Script, status: int, kind: str, error: type[Exception]
) -> None:
    url = scripted((status, {"Retry-After": "1"}, problem(status, kind)))
    with Client(url, "t") as client, pytest.raises(error, match=f"It is {kind}"):
        client.enqueue("echo")
    assert len(Scripted.asked) == 1


def test_gives_up_after_its_tries(scripted: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgtask.client.transport.time.sleep", lambda _: None)
    url = scripted(*[(502, {}, b"<html>Bad gateway</html>")] * 3)
    with Client(url, "t", retries=2) as client, pytest.raises(ServerUnavailableError, match=r"is not ready: .* 502"):
        client.list_queues()


def test_follows_no_redirect(scripted: Script) -> None:
    url = scripted((302, {"Location": "http://127.0.0.1:1/"}, b""))
    with Client(url, "t") as client, pytest.raises(ServerUnavailableError, match="answered 302"):
        client.list_queues()


def test_certificates_are_verified(tmp_path: Any) -> None:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server = HTTPServer(("127.0.0.1", 0), Scripted)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with (
            Client(f"https://127.0.0.1:{server.server_port}", "t") as client,
            pytest.raises(ServerUnavailableError, match="its certificate cannot be verified"),
        ):
            client.list_queues()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "https://u:p@host", "http://host?x=1"])
def test_wrong_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="URL of the server is wrong"):
        Client(url)


def test_a_database_and_a_server_are_not_both_given(database: str) -> None:
    result = run(None, "--database-url", database, "--url", "http://127.0.0.1:1", "queues", "list")
    assert result.exit_code == 2
    assert "not both" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("feed", "list"),
        ("db", "status"),
        ("worker",),
        ("scheduler",),
        ("dev",),
        ("demo",),
        ("bench",),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_what_needs_the_database_says_so(command: tuple[str, ...]) -> None:
    result = run(None, "--url", "http://127.0.0.1:1", *command)
    assert result.exit_code == 2
    assert f"pgtask {command[0]} needs the database, not its server: set PGTASK_DATABASE_URL." in result.stderr


def test_the_token_is_masked_among_the_settings() -> None:
    result = run(None, "--url", "https://pgtask.example.com/", "--token", "pgt_secret", "config", "show", "--json")
    shown = json.loads(result.stdout)
    assert (shown["url"], shown["token"]) == ("https://pgtask.example.com", "***")
