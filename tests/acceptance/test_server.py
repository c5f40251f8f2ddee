"""`pgtask server` as its callers see it: killed, restarted, cut off from PostgreSQL, and asked nonsense."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
import pytest
import urllib3

from pgtask.database import embedded, migrations, tokens
from pgtask.model.errors import EmbeddedServerError
from pgtask.model.token import Scope
from tests.acceptance.serving import Server, Servers, servers_of
from tests.rows import insert, number
from tests.support import eventually

CLIENTS = 6


class UnexpectedError(Exception):
    """An answer that nobody promised."""


class Load:
    """Clients that put jobs in, each request with a key, and repeat it until it is answered, and then once more.

    Some enqueue several at once, some cancel what they have enqueued, some make tokens.
    """

    def __init__(self, server: Server, *, in_progress: bool = False) -> None:
        """`in_progress`: a request may meet another with its key, whose process is gone."""
        self.server = server
        self.tokens: dict[str, int] = {}
        self.jobs: dict[str, list[int]] = {}
        self.statuses: Counter[int] = Counter()
        self.broken = 0
        self.strange: list[str] = []
        self._in_progress = in_progress
        self._stopped = threading.Event()
        kinds = [self._enqueue_many, self._cancel, self._make_token]
        kinds += [self._enqueue] * (CLIENTS - len(kinds))
        self._threads = [threading.Thread(target=self._run, args=each) for each in enumerate(kinds)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(100)
        assert not any(thread.is_alive() for thread in self._threads), "a request was never answered"

    def made(self) -> int:
        """How many keys were answered, twice each."""
        return len(self.jobs) + len(self.tokens)

    def more(self, number: int) -> None:
        """Waits until so many more are made."""
        goal = self.made() + number
        eventually(lambda: self.made() >= goal or self.strange, 60)

    def _run(self, client: int, kind: Callable[[str], None]) -> None:
        number = 0
        while not self._stopped.is_set():
            number += 1
            try:
                kind(f"client {client} number {number}")
            except UnexpectedError as error:
                self.strange.append(str(error))
                return

    def _enqueue(self, key: str) -> None:
        path, body = "jobs", {"task": "echo", "payload": {"key": key}}
        first, again = (self._ask(key, path, body) for _ in range(2))
        _same(first, again)
        self.jobs[key] = [first.json()["id"]]

    def _enqueue_many(self, key: str) -> None:
        path, body = "jobs/bulk", {"task": "echo", "payloads": [{"key": key}] * 3}
        first, again = (self._ask(key, path, body) for _ in range(2))
        _same(first, again)
        self.jobs[key] = sorted(first.json()["ids"])

    def _cancel(self, key: str) -> None:
        body = {"task": "echo", "payload": {"key": key}}
        job = self._ask(key, "jobs", body)
        id = job.json()["id"]
        first, again = (self._ask(f"{key} cancel", f"jobs/{id}/cancel") for _ in range(2))
        _same(first, again)
        # The key outlives the job.
        _same(job, self._ask(key, "jobs", body))
        self.jobs[key] = [id]

    def _make_token(self, key: str) -> None:
        body = {"name": key, "scopes": ["read"]}
        first, again = (self._ask(key, "tokens", body) for _ in range(2))
        if first.json()["id"] != again.json()["id"]:
            raise UnexpectedError(f"{first.data!r}, then {again.data!r}")
        self.tokens[key] = first.json()["id"]

    def _ask(self, key: str, path: str, body: object = None) -> urllib3.BaseHTTPResponse:
        """The answer, when there is one at last."""
        while True:
            try:
                answer = self.server.ask("POST", f"/api/v1/{path}", body, Idempotency_Key=key)
            except urllib3.exceptions.HTTPError:
                self.broken += 1
                continue
            self.statuses[answer.status] += 1
            if answer.status in {200, 201}:
                return answer
            if not self._may_be(answer):
                raise UnexpectedError(f"{answer.status} to {path}: {dict(answer.headers)} {answer.data!r}")

    def _may_be(self, answer: urllib3.BaseHTTPResponse) -> bool:
        if answer.headers["Content-Type"] != "application/problem+json" or int(answer.headers["Retry-After"]) < 1:
            return False
        kind = answer.json()["type"]
        return answer.status == 503 or (self._in_progress and kind == "/problems/request-in-progress")


def _same(first: urllib3.BaseHTTPResponse, again: urllib3.BaseHTTPResponse) -> None:
    if first.data != again.data or "Idempotency-Replayed" not in again.headers:
        raise UnexpectedError(f"{first.data!r}, then {again.data!r}")


JOBS = """
    SELECT key, array_agg(id ORDER BY id)
      FROM (SELECT payload->>'key', id FROM pgtask.jobs
            UNION ALL SELECT payload->>'key', job_id FROM pgtask.runs WHERE final) AS all_jobs (key, id)
     GROUP BY key
"""


def check(load: Load, url: str) -> None:
    """What was asked with a key is done once, nothing else is done, and no answer but those that are promised."""
    assert load.strange == []
    with psycopg.connect(url) as connection:
        assert dict(connection.execute(JOBS).fetchall()) == load.jobs
        stored = connection.execute("SELECT name, id FROM pgtask.tokens WHERE name LIKE 'client %'").fetchall()
        assert dict(stored) == load.tokens
        row = connection.execute("SELECT count(*) FROM pgtask.runs WHERE final").fetchone()
        rows = connection.execute("SELECT action, count(*) FROM pgtask.audit GROUP BY action").fetchall()
    many = sum(len(ids) == 3 for ids in load.jobs.values())
    cancelled = sum(key.startswith("client 1 ") for key in load.jobs)
    assert row == (cancelled,)
    assert dict(rows) == {
        "create_token": len(load.tokens),
        "enqueue_job": len(load.jobs) - many,
        "enqueue_jobs": many,
        "cancel_job": cancelled,
    }, "each is audited once"
    said = load.server.said()
    assert "Traceback" not in said
    assert '"level": "error"' not in said


def victim_of(server: Server) -> psutil.Process:
    """The process with the most connections of clients."""
    port = int(server.place.rpartition(":")[2])

    def held(process: psutil.Process) -> int:
        return sum(
            each.laddr.port == port and each.status == psutil.CONN_ESTABLISHED for each in process.net_connections()
        )

    return max(eventually(server.processes), key=held)


def test_requests_outlive_the_process_that_answers_them(api_servers: Servers, connection: psycopg.Connection) -> None:
    server = api_servers.start("--processes", "2")
    kills = 0
    with Load(server, in_progress=True) as load:
        # All requests are held up: before they take their keys, with them taken, and with their work done.
        for table in ("idempotency_keys", "jobs", "audit"):
            load.more(20)
            eventually(lambda: len(server.processes()) == 2)
            with connection.transaction():
                connection.execute(f"LOCK TABLE pgtask.{table}".encode())
                eventually(lambda: waiting(api_servers.url) >= CLIENTS - 1 or load.strange, 30)
                broken, victim = load.broken, victim_of(server)
                victim.kill()
                kills += 1
                psutil.wait_procs([victim], timeout=30)
                eventually(lambda at=broken: load.broken > at, 30)  # type: ignore[misc]
        for _ in range(2):
            load.more(20)
            victim = eventually(server.processes)[0]
            victim.kill()
            kills += 1
            psutil.wait_procs([victim], timeout=30)
        load.more(20)

    assert load.broken <= kills * CLIENTS, "only requests that were in a killed process were cut off"
    check_killed(load, api_servers.url)
    assert server.terminate() == 0


def check_killed(load: Load, url: str) -> None:
    """As `check`; gunicorn tells of the kills as errors."""
    server = load.server
    kept = [line for line in server.said().splitlines() if "was sent SIGKILL" not in line]
    server.log.write_text("\n".join(kept))
    check(load, url)


@pytest.fixture
def database_server(home: Path) -> Iterator[embedded.EmbeddedServer]:
    """A PostgreSQL of the test's own, to be crashed."""
    with embedded.start(home) as started:
        migrations.migrate(started.url)
        yield started


def restarted(home: Path) -> embedded.EmbeddedServer:
    try:
        return embedded.start(home)
    except EmbeddedServerError as error:
        raise AssertionError("PostgreSQL is not up again") from error


def test_while_postgresql_restarts_callers_are_told_to_come_back(
    database_server: embedded.EmbeddedServer, home: Path, tmp_path: Path
) -> None:
    postgres = database_server
    with servers_of(postgres.url, tmp_path) as made, contextlib.ExitStack() as clients:
        server = made.start("--processes", "2")
        eventually(lambda: len(server.processes()) == 2)
        before = {process.pid for process in server.processes()}
        with Load(server) as load:
            for way in (signal.SIGQUIT, signal.SIGINT):
                load.more(50)
                postmaster = psutil.Process(postgres.postmaster_pid)
                refused = load.statuses[503]
                postmaster.send_signal(way)
                psutil.wait_procs([postmaster], timeout=30)
                eventually(lambda at=refused: load.statuses[503] > at, 30)  # type: ignore[misc]
                postgres = clients.enter_context(eventually(lambda: restarted(home), 30))
            load.more(50)

        assert load.broken == 0
        check(load, postgres.url)
        assert {process.pid for process in server.processes()} == before
        assert server.terminate() == 0


def test_a_request_at_hand_is_answered_before_the_server_ends(
    api_servers: Servers, connection: psycopg.Connection
) -> None:
    server = api_servers.start("--processes", "1")
    answers = []
    assert server.ask("GET", "/api/v1/me").status == 200
    with connection.transaction():
        connection.execute("LOCK TABLE pgtask.audit")
        body = {"name": "late", "scopes": ["read"]}
        thread = threading.Thread(target=lambda: answers.append(server.ask("POST", "/api/v1/tokens", body)))
        thread.start()
        eventually(lambda: waiting(api_servers.url))
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: "Handling signal: term" in server.said())
    thread.join(30)

    assert [answer.status for answer in answers] == [201]
    assert server.process.wait(30) == 0


def test_what_only_waits_is_answered_at_once_when_the_server_ends(
    api_servers: Servers, connection: psycopg.Connection
) -> None:
    server = api_servers.start("--processes", "1", PGTASK_GRACE="1000", PGTASK_SERVER_CONNECTIONS="8")
    [job] = insert(connection, "unknown")
    worker = server.ask("POST", "/api/v1/workers/register", {"tasks": ["t"]}).json()["worker_id"]
    fetched: list[Any] = []
    waited: list[Any] = []
    fetch = {"worker_id": worker, "wait": 30}
    threads = [
        threading.Thread(target=lambda: fetched.append(server.ask("POST", "/api/v1/workers/fetch", fetch))),
        threading.Thread(target=lambda: waited.append(server.ask("GET", f"/api/v1/jobs/{job}?wait=30"))),
    ]
    headers = {"Authorization": f"Bearer {server.token}"}
    stream = server.pool.request("GET", f"{server.place}/api/v1/events", headers=headers, preload_content=False)
    parts = stream.stream()
    assert next(parts)
    for thread in threads:
        thread.start()
    eventually(lambda: number(connection, "SELECT last_value FROM pgtask.idle_until") > 1)

    assert server.terminate() == 0

    # That it was cut off would raise an error.
    list(parts)
    for thread in threads:
        thread.join(30)
    assert [(answer.status, answer.json()["jobs"]) for answer in fetched] == [(200, [])]
    assert [(answer.status, answer.json()["status"]) for answer in waited] == [(200, "pending")]


def waiting(url: str) -> int:
    """How many transactions of this database wait for a lock."""
    with psycopg.connect(url) as other:
        row = other.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ).fetchone()
    return row[0] if row else 0


def test_a_rate_holds_over_all_processes(api_servers: Servers, connection: psycopg.Connection) -> None:
    server = api_servers.start("--processes", "2")
    slow = tokens.create_token(connection, "slow", {Scope.READ}, rate_limit=20).text
    statuses: Counter[int] = Counter()
    others: list[str | None] = []

    def ask() -> None:
        for _ in range(40):
            answer = server.ask("GET", "/api/v1/me", Authorization=f"Bearer {slow}")
            statuses[answer.status] += 1
            if answer.status == 429:
                others.append(answer.headers.get("Retry-After"))

    begun = time.monotonic()
    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    seconds = time.monotonic() - begun

    assert set(statuses) == {200, 429}
    assert 20 <= statuses[200] <= 20 + 20 * seconds + 1
    assert set(others) == {"1"}


def test_its_log_is_pgtasks_own_and_tells_no_secrets(api_servers: Servers) -> None:
    server = api_servers.start()
    server.ask("GET", "/api/v1/me", X_Request_Id="abc-1")
    server.ask("GET", "/api/v1/jobs/1?password=hush")
    assert server.terminate() == 0

    entries = [json.loads(line) for line in server.said().splitlines() if not line.startswith("There is no token yet")]
    (line,) = [entry for entry in entries if entry.get("request_id") == "abc-1"]
    assert (line["message"], line["status"], line["caller"], line["level"]) == (
        "GET /api/v1/me",
        200,
        "test 1",
        "debug",
    )
    assert line["ms"] > 0
    assert server.token is not None
    assert server.token.split("_", 2)[2] not in server.said()
    assert "hush" not in server.said()
    assert not (server.log.parent / ".gunicorn").exists(), "no control socket"


NONSENSE = [
    (b"GARBAGE\r\n\r\n", 400),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", 400),
    (b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET /%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    (b"GET /api/v1/jobs/%00 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    (b"GET /api/v1/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    (
        b"POST /api/v1/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (b"POST /api/v1/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    (b"BREW /api/v1/jobs/1 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
]


def test_nonsense_is_refused_in_order(api_servers: Servers) -> None:
    server = api_servers.start("--processes", "1")
    for request, status in NONSENSE:
        answer = raw(server, request)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status), (request[:60], answer[:200])
        assert b"application/problem+json" in head
        assert json.loads(body)["status"] == status
    assert server.ask("GET", "/api/v1/me").status == 200
    assert "Traceback" not in server.said()


def raw(server: Server, request: bytes) -> bytes:
    """What the server answers to these bytes, until it closes or the problem is complete."""
    host, _, port = server.place.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(request)
        received = b""
        while not received.endswith(b"}"):
            part = connection.recv(65536)
            if not part:
                break
            received += part
    return received


def test_chunks_are_read_and_their_end_is_not_taken_on_trust(api_servers: Servers) -> None:
    server = api_servers.start("--processes", "1", PGTASK_MAX_BODY="1000")
    head = (
        b"POST /api/v1/tokens HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
        b"Connection: close\r\nAuthorization: Bearer " + str(server.token).encode() + b"\r\n\r\n"
    )
    body = b'{"name": "chunked", "scopes": ["read"]}'
    for sent, status in (
        (b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), 201),
        (b"zz\r\nnonsense\r\n", 400),
        (b"".join(b"64\r\n%s\r\n" % (b" " * 100) for _ in range(20)) + b"0\r\n\r\n", 413),
    ):
        answer = raw(server, head + sent)
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert "Traceback" not in server.said()


def test_it_works_below_a_path_of_a_trusted_proxy(api_servers: Servers) -> None:
    server = api_servers.start(PGTASK_TRUSTED_PROXIES="127.0.0.1", SCRIPT_NAME="/queue")

    answer = server.ask(
        "POST", "/queue/api/v1/tokens", {"name": "x", "scopes": ["read"]}, X_Forwarded_For="203.0.113.9"
    )
    assert answer.status == 201
    assert answer.headers["Location"].startswith("/queue/api/v1/tokens/")
    assert server.ask("GET", answer.headers["Location"]).status == 200
    document = server.ask("GET", "/queue/api/v1/openapi.json").json()
    assert document["servers"] == [{"url": "/queue"}]
    assert server.ask("GET", "/elsewhere").status == 404
    (change,) = server.ask("GET", "/queue/api/v1/audit?action=create_token").json()["items"]
    assert change["address"] == "203.0.113.9"
    other = server.ask("GET", "/api/v1/nothing", X_Forwarded_Prefix="/other").json()
    assert other["type"] == "/other/problems/not-found"


def refused(url: str, *flags: str) -> tuple[int, str]:
    """The exit code of a server that does not start, and the one line that it says."""
    done = subprocess.run(
        [sys.executable, "-m", "pgtask", "--database-url", url, "server", *flags],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr


def test_what_keeps_it_from_starting_is_said_in_a_line(
    api_servers: Servers, database: str, empty_database: str
) -> None:
    server = api_servers.start(token=False)
    taken = server.place.removeprefix("http://")

    for url, flags, code, text in (
        (database, ("--bind", "0.0.0.0:0"), 2, "There is no token"),
        (database, ("--bind", "[::]:0"), 2, "pgtask tokens create NAME --scope admin"),
        (database, ("--bind", taken), 2, f"The server cannot listen at {taken}: it is taken."),
        (database, ("--bind", "nonsense"), 2, "'nonsense' is no address to listen at"),
        (database, ("--bind", "unix:/nowhere/socket"), 2, "The server cannot listen at unix:/nowhere/socket"),
        (empty_database, ("--bind", "127.0.0.1:0"), 1, "run pgtask db migrate"),
        ("postgresql://localhost:1/x", ("--bind", "127.0.0.1:0"), 4, "Cannot reach PostgreSQL"),
    ):
        found, said = refused(url, *flags)
        assert (found, said.count("\n")) == (code, 1), said
        assert text in said


def test_a_unix_socket_needs_no_port(api_servers: Servers, tmp_path: Path) -> None:
    server = api_servers.start("--bind", f"unix:{tmp_path}/api")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{tmp_path}/api")
        connection.sendall(b"GET /problems HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert server.terminate() == 0
    assert not (tmp_path / "api").exists()
