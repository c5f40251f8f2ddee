"""The demonstration does what it says, notices when a result is wrong, and leaves nothing running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.command_line import raw_terminal, run, start
from tests.support import eventually

Hurried = Callable[..., tuple[int, str, str]]

CONTENTS = {"a.txt": b"one\ntwo\n", "b/c.bin": b"no line feed at the end", "b/empty": b"", "d e.txt": b"x\n" * 1000}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    for name, content in CONTENTS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.pyc").write_bytes(b"left out")
    return folder


def demo(database: str | None, *arguments: str, cwd: Path | None = None) -> tuple[int, str, str]:
    """Runs `pgtask demo`: its exit code, output and errors."""
    pipe = subprocess.PIPE
    with start(database, "demo", *arguments, stdout=pipe, stderr=pipe, cwd=cwd) as process:
        output, errors = process.communicate(timeout=100)
    return process.returncode, output, errors


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hurried]:
    """As `demo`, but in this process and with few of the single jobs, as they wait rather than work."""
    monkeypatch.setattr("pgtask.cli.demo.SINGLES", 3)
    monkeypatch.setattr("pgtask.cli.demo.FALL_ASLEEP", 0.0)
    before = signal.getsignal(signal.SIGTERM)

    def demo(database: str, *arguments: str) -> tuple[int, str, str]:
        result = run(database, "demo", *arguments)
        return result.exit_code, result.stdout, result.stderr

    yield demo
    signal.signal(signal.SIGTERM, before)


def workers(connection: psycopg.Connection, *, alive: bool) -> list[tuple[int, int]]:
    """The workers that live or have ended: id and process."""
    condition = "dead_at IS NULL" if alive else "dead_at IS NOT NULL"
    return connection.execute(f"SELECT id, pid FROM pgtask.workers WHERE {condition}".encode()).fetchall()


def test_without_any_setup_it_makes_its_own_database_and_its_jobs_can_be_looked_at_later(
    tmp_path: Path, files: Path
) -> None:
    code, output, errors = demo(None, str(files), cwd=tmp_path)

    assert (code, "Error" in errors) == (0, False), errors
    fields = dict(line.split("\t") for line in output.splitlines() if line.count("\t") == 1)
    assert (fields["jobs"], fields["completed"], fields["failed"], fields["checked"]) == ("4", "4", "0", "4")
    assert f"{files}/d e.txt\t2000\t1000\t{sha256(CONTENTS['d e.txt']).hexdigest()}\t" in output
    with start(None, "jobs", "list", "--tag", fields["tag"], cwd=tmp_path, stdout=subprocess.PIPE) as listing:
        listed, _ = listing.communicate(timeout=30)
    assert sum("\tfile\t" in line for line in listed.splitlines()) == 4
    with start(None, "workers", "list", "--json", cwd=tmp_path, stdout=subprocess.PIPE) as listing:
        listed, _ = listing.communicate(timeout=30)
    assert [worker["state"] for worker in json.loads(listed)["items"]] == ["stopped"]


def test_its_figures_are_of_its_own_jobs_half_by_python_half_by_sql(
    database: str, files: Path, hurried: Hurried
) -> None:
    tags = set()
    for _ in range(2):
        code, output, _ = hurried(database, str(files), "--json")
        shown: dict[str, Any] = json.loads(output)

        assert (code, shown["ok"], shown["problems"]) == (0, True, [])
        assert (shown["jobs"], shown["completed"], shown["enqueued_by"]) == (4, 4, {"python": 2, "sql": 2})
        assert shown["read_bytes"] == sum(map(len, CONTENTS.values()))
        assert shown["lines"] == 2 + 1 + 0 + 1000
        assert [found["size_bytes"] for found in shown["largest"]] == [2000, 23, 8, 0]
        assert shown["jobs_per_second"] > 0
        assert 0 < shown["pickup_p50_seconds"] <= shown["pickup_p99_seconds"]
        tags.add(shown["tag"])
    assert len(tags) == 2


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """A file that is longer each time it is read."""
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while not stop.wait(0.001):
                file.write(b"more\n")

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_result_that_is_not_what_the_file_says_is_told_and_fails_it(
    database: str, files: Path, hurried: Hurried
) -> None:
    with changing(files / "a.txt"):
        code, output, errors = hurried(database, str(files), "--json")

    shown = json.loads(output)
    assert (code, shown["ok"], shown["completed"]) == (1, False, 4)
    (problem,) = shown["problems"]
    assert f"has stored another size and sha256 and lines for {files}/a.txt than is read here" in problem
    assert f"Error: {problem}" in errors


def test_a_job_that_fails_fails_it(database: str, files: Path, connection: psycopg.Connection) -> None:
    with start(database, "demo", str(files), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        # No worker can register before the file is gone.
        with connection.transaction():
            connection.execute("LOCK TABLE pgtask.workers IN EXCLUSIVE MODE")
            eventually(lambda: connection.execute("SELECT count(*) = 4 FROM pgtask.jobs").fetchone() == (True,), 60)
            (files / "a.txt").unlink()
        _, errors = process.communicate(timeout=100)

    assert process.returncode == 1
    assert "Error: 1 job did not complete." in errors
    assert "No such file or directory" in errors


def test_there_must_be_something_to_work_on(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, complaint in ((tmp_path / "gone", "There is no"), (empty, "There is no regular file to work on under")):
        code, output, errors = demo(None, str(path), cwd=tmp_path)

        assert (code, output) == (2, "")
        assert errors == f"Error: {complaint} {path}.\n"
    assert not (tmp_path / ".pgtask").exists()


def test_one_file_will_do_and_names_that_are_no_text_are_left_out(database: str, files: Path, hurried: Hurried) -> None:
    code, output, _ = hurried(database, str(files / "a.txt"), "--json")
    assert (code, json.loads(output)["jobs"]) == (0, 1)

    strange = os.fsencode(files) + b"/\xff\xfe"
    try:
        Path(os.fsdecode(strange)).touch()
    except OSError:
        pytest.skip("this file system refuses names that are no text")
    code, output, errors = hurried(database, str(files), "--json")
    assert (code, json.loads(output)["jobs"]) == (0, 4)
    assert "1 file left out: their names are no text." in errors


def test_on_a_terminal_it_shows_a_table_that_fits_and_what_to_do_next(database: str, files: Path) -> None:
    shown = raw_terminal(database, "demo", str(files), columns=80)

    plain = [line for line in shown.splitlines() if "\x1b[" not in line]
    assert "SHA-256" in shown
    assert "pgtask jobs list --tag demo-" in shown
    assert max(map(len, plain)) <= 80


def test_an_interruption_ends_its_worker(database: str, connection: psycopg.Connection) -> None:
    with start(database, "demo", stderr=subprocess.PIPE) as process:
        eventually(lambda: workers(connection, alive=True), 60)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)

    assert (process.returncode, errors.splitlines()[-1]) == (130, "Interrupted.")
    assert (len(workers(connection, alive=True)), len(workers(connection, alive=False))) == (0, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_its_worker_does_not_outlive_it(database: str, connection: psycopg.Connection) -> None:
    with start(database, "demo", stderr=subprocess.DEVNULL) as process:
        eventually(lambda: workers(connection, alive=True), 60)
        process.kill()

    eventually(lambda: workers(connection, alive=False), 60)


def test_its_help_says_what_it_does() -> None:
    assert "a job for each file under PATH" in run(None, "demo", "--help").output
