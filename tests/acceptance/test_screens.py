"""What watches: `pgtask top` on a real terminal, and `pgtask jobs tail` beside a real worker."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.acceptance.fleet import Make
from tests.command_line import add_run, start
from tests.rows import ended, insert, job, live, number
from tests.scene import Scene
from tests.support import eventually

Connection = psycopg.Connection[Any]
PATIENCE = 30.0


class Terminal:
    """A command on a terminal of its own: what it has sent, and keys for it."""

    def __init__(self, database: str, *arguments: str, columns: int = 100, lines: int = 40) -> None:
        self._ours, self._theirs = pty.openpty()
        self.resize(columns, lines)
        self.settings = termios.tcgetattr(self._theirs)
        self._sent = b""
        self.process = start(
            database,
            *arguments,
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            environment={"TERM": "xterm-256color", "COLUMNS": "", "LINES": ""},
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while part := os.read(self._ours, 65536):
                self._sent += part

    @property
    def sent(self) -> str:
        return self._sent.decode(errors="replace")

    def shows(self, pattern: str, since: int = 0) -> bool:
        """Whether it has shown this since it had sent so much."""
        return re.search(pattern, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.sent[since:])) is not None

    def await_shown(self, pattern: str, since: int = 0) -> None:
        def shown() -> bool:
            assert self.process.poll() is None or self.shows(pattern, since), self.sent[-3000:]
            return self.shows(pattern, since)

        eventually(shown, PATIENCE)

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def restored(self) -> bool:
        """Whether the terminal is as it was: its settings, its screen, its cursor."""
        left = self.sent.rfind("\x1b[?1049l") > self.sent.rfind("\x1b[?1049h") >= 0
        return left and self.sent.rfind("\x1b[?25h") > self.sent.rfind("\x1b[?25l") and self._settings_restored()

    def _settings_restored(self) -> bool:
        return termios.tcgetattr(self._theirs) == self.settings

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._theirs)
        self._reading.join(5)
        os.close(self._ours)


@contextlib.contextmanager
def terminal(database: str, *arguments: str, **options: int) -> Iterator[Terminal]:
    made = Terminal(database, *arguments, **options)
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def outage(database: str, pgtask_server: str) -> Iterator[None]:
    """The database of the test lets nobody in meanwhile but those who stay."""
    name = str(conninfo_to_dict(database)["dbname"])
    with psycopg.connect(pgtask_server, autocommit=True) as server:
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        server.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        try:
            query = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = %s AND application_name LIKE 'pgtask %%'"
            )
            server.execute(query, [name])
            yield
        finally:
            server.execute(allow.format(sql.Identifier(name), sql.SQL("true")))


def test_keys_pause_and_resume_a_queue_cancel_and_retry_jobs(
    database: str, connection: Connection, make_worker: Make, scene: Scene
) -> None:
    make_worker()
    insert(connection, "hold", {"gate": "never"}, queue="mail", max_retries=0)
    (failed,) = insert(connection, "fail", {"times": 9}, max_retries=0)
    running = number(connection, "SELECT min(id) FROM pgtask.jobs")
    eventually(lambda: running in scene.started())
    eventually(lambda: ended(connection, failed))

    def paused() -> bool:
        row = connection.execute("SELECT paused_at FROM pgtask.queues WHERE name = 'mail'").fetchone()
        return row is not None and row[0] is not None

    with terminal(database, "top", "--interval", "200ms") as top:
        top.await_shown(r"mail +active")
        top.await_shown("failure 1")
        top.press("\x1b[B")
        top.press("p")
        eventually(paused)
        top.await_shown(r"mail +paused \d")
        top.press("p")
        eventually(lambda: not paused())

        top.press("3c")
        top.await_shown(rf"Cancel job {running} \(hold\)\?")
        top.press("n")
        top.press("3cy")
        eventually(lambda: ended(connection, running)["outcome"] == "cancelled", PATIENCE)

        runs = number(connection, "SELECT count(*) FROM pgtask.runs WHERE job_id = %s", [failed])
        top.press("5R")
        eventually(
            lambda: number(connection, "SELECT count(*) FROM pgtask.runs WHERE job_id = %s", [failed]) > runs, PATIENCE
        )
        top.press("?")
        top.await_shown("order tasks")
        top.press("qq")
        assert top.process.wait(PATIENCE) == 0
        assert eventually(top.restored)


@pytest.mark.parametrize(("way", "code"), [("key", 0), (signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_however_it_ends_the_terminal_is_as_before(database: str, way: str | signal.Signals, code: int) -> None:
    with terminal(database, "top") as top:
        top.await_shown("No job runs")
        assert not top.restored()
        top.press("\x1a")  # Ctrl-Z does nothing
        if isinstance(way, str):
            top.press("q")
        else:
            top.process.send_signal(way)
        assert top.process.wait(PATIENCE) == code
        assert eventually(top.restored)


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (140, 50), (80, 6), (30, 3)])
def test_it_fits_every_terminal_and_follows_its_size(
    database: str, connection: Connection, columns: int, lines: int
) -> None:
    insert(connection, "\x1b[2J\x07t\u202e\n", queue="\x1b]0;x\x07", count=50)
    add_run(connection, 1000, "failed", error="\x1b[2J\x9b2J")
    with terminal(database, "top", "--interval", "100ms", columns=columns, lines=lines) as top:
        top.await_shown("pgtask top")
        top.press("1")
        top.resize(lines + 100, columns)
        top.process.send_signal(signal.SIGWINCH)
        top.await_shown(r"\\x1b\]0")
        top.press("q")
        assert top.process.wait(PATIENCE) == 0
    codes = set(re.findall(r"\x1b(?!\[[0-9;?]*[mHhlAK])[^m]{0,8}|\x07|\x9b|\u202e", top.sent))
    assert codes == set()


def test_an_outage_is_shown_and_survived(database: str, connection: Connection, pgtask_server: str) -> None:
    with terminal(database, "top", "--interval", "100ms") as top:
        top.await_shown("0 pending")
        with outage(database, pgtask_server):
            top.await_shown("Database away since")
            insert(connection, "t", count=7)
            assert not top.shows("7 pending")
        top.await_shown("7 pending")
        top.press("q")
        assert top.process.wait(PATIENCE) == 0


class Tail:
    """`pgtask jobs tail --json` and what it has printed."""

    def __init__(self, database: str, *arguments: str) -> None:
        self.process = start(
            database,
            *("jobs", "tail", "--json", "--interval", "100ms"),
            *arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            environment={"PYTHONUNBUFFERED": "1"},
        )
        self.events: list[dict[str, Any]] = []
        self.notes: list[str] = []
        for stream, take in ((self.process.stdout, self._event), (self.process.stderr, self.notes.append)):
            threading.Thread(target=lambda s=stream, t=take: [t(line) for line in s], daemon=True).start()

    def _event(self, line: str) -> None:
        self.events.append(json.loads(line))

    def said(self, text: str) -> bool:
        return any(text in note for note in self.notes)

    def ended(self) -> list[tuple[int, int]]:
        return sorted((event["id"], event["attempt"]) for event in self.events if event["event"] == "ended")


@contextlib.contextmanager
def tail(database: str, *arguments: str) -> Iterator[Tail]:
    made = Tail(database, *arguments)
    with made.process:
        try:
            yield made
        finally:
            made.process.kill()


def test_tail_tells_each_attempt_of_a_real_worker_once_through_an_outage(
    database: str, connection: Connection, make_worker: Make, scene: Scene, pgtask_server: str
) -> None:
    make_worker()
    with tail(database) as following:
        eventually(lambda: following.said("Following"), PATIENCE)
        (held,) = insert(connection, "hold", {"gate": "go"})
        eventually(lambda: [e for e in following.events if e["event"] == "started" and e["id"] == held], PATIENCE)
        insert(connection, "quick", count=300)
        (failing,) = insert(connection, "fail", {"times": 2})
        with outage(database, pgtask_server):
            eventually(lambda: following.said("Trying again"), PATIENCE)
            insert(connection, "quick", count=100)
        scene.open("go")
        eventually(lambda: number(connection, "SELECT count(*) FROM pgtask.jobs") == 0 or None, PATIENCE)
        expected = sorted(connection.execute("SELECT job_id, attempt FROM pgtask.runs").fetchall())
        eventually(lambda: len(following.ended()) >= len(expected), PATIENCE)
        eventually(lambda: following.said("is back"), PATIENCE)
        assert following.ended() == expected
        outcomes = [event["status"] for event in following.events if event["id"] == failing and event["outcome"]]
        assert outcomes == ["retrying", "retrying", "completed"]
        following.process.send_signal(signal.SIGINT)
        assert following.process.wait(PATIENCE) == 0


def test_tail_of_a_job_tells_its_lines_and_progress_until_it_ends(
    database: str, connection: Connection, make_worker: Make
) -> None:
    (id,) = insert(connection, "tell", {"steps": 3})
    with tail(database, str(id)) as following:
        eventually(lambda: following.events, PATIENCE)
        make_worker()
        assert following.process.wait(PATIENCE) == 0
        eventually(lambda: following.events[-1]["event"] == "status" and following.events[-1]["status"] == "completed")
    messages = [event["message"] for event in following.events if event["event"] == "log"]
    assert messages == ["step 1", "step 2", "step 3"]
    (end,) = [event for event in following.events if event["event"] == "ended"]
    assert (end["outcome"], end["attempt"]) == ("completed", 1)
    assert job(connection, id) is None


def test_tail_of_a_job_that_fails_exits_with_1(database: str, connection: Connection, make_worker: Make) -> None:
    (id,) = insert(connection, "fail", {"times": 9}, max_retries=1)
    assert live(connection, id)["attempt"] == 0
    with tail(database, str(id)) as following:
        make_worker()
        assert following.process.wait(PATIENCE) == 1
        eventually(lambda: following.events[-1]["event"] == "status" and following.events[-1]["status"] == "failed")
    assert [event["error"] for event in following.events if event["event"] == "ended"] == ["failure 1", "failure 2"]
