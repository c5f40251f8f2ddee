"""One bad job never harms another: it ends as its own failure, with an error that can be read."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

from tests.acceptance.fleet import Make, Worker
from tests.checker import check
from tests.rows import ended, insert, number
from tests.scene import Scene
from tests.support import eventually

Connection = psycopg.Connection[Any]

# What each way to misbehave must be recorded as: the type of the error, and a pattern of its text.
EXPECTED = {
    "SystemExit": ("SystemExit", "3"),
    "SystemExit without a code": ("SystemExit", "SystemExit"),
    "KeyboardInterrupt": ("KeyboardInterrupt", "KeyboardInterrupt"),
    "GeneratorExit": ("GeneratorExit", "GeneratorExit"),
    "StopIteration": ("StopIteration|RuntimeError", "7|StopIteration"),
    "CancelledError": ("CancelledError", "CancelledError"),
    "its own BaseException": ("Own", "mine"),
    "a group": ("BaseExceptionGroup", "several"),
    "an unspeakable error": ("UnspeakableError", "RuntimeError while the error was turned into text"),
    "an error with U+0000": ("ValueError", "a␀b"),
    "an error with a lone surrogate": ("ValueError", r"a\?b"),
    "a long error": ("ValueError", "x … [0-9]+ characters cut … x"),
    "a long chain": ("ValueError", "link 2999"),
    "endless recursion": ("RecursionError", "recursion"),
    "memory": ("MemoryError|OverflowError", ""),
    "a set": ("PayloadError", "builtins.set has no JSON form"),
    "bytes": ("PayloadError", "builtins.bytes has no JSON form"),
    "an object": ("PayloadError", "builtins.object has no JSON form"),
    "a generator": ("PayloadError", "builtins.generator has no JSON form"),
    "NaN": ("PayloadError", "NaN or an infinite number"),
    "a circle": ("PayloadError", "contains itself"),
    "a deep value": ("PayloadError", "nested too deeply"),
    "U+0000": ("PayloadError", r"U\+0000"),
    "a key with U+0000": ("PayloadError", r"U\+0000"),
    "a lone surrogate": ("PayloadError", "lone surrogate"),
    "2 MiB": ("PayloadError", "the limit is 1048576"),
    "a huge number": ("PayloadError", "4300 digits"),
    "treachery": ("SystemExit", r"from items\(\)"),
}


@pytest.fixture
def worker(make_worker: Make) -> Worker:
    return make_worker(app="tests.acceptance.apps.misbehaving", lease=60.0)


def all_ended(connection: Connection, ids: list[int]) -> bool:
    return number(connection, "SELECT count(*) FROM pgtask.jobs WHERE id = ANY (%s)", [ids]) == 0


def neighbours(connection: Connection, count: int = 3) -> list[int]:
    return insert(connection, "good", {"n": 1}, count=count) + insert(connection, "good_async", {"n": 1}, count=count)


def test_every_way_to_end_badly_is_the_jobs_own_failure(worker: Worker, scene: Scene, connection: Connection) -> None:
    executors = {process.pid for process in worker.executors()}
    bad: dict[int, str] = {}
    good: list[int] = []
    for way in EXPECTED:
        good += neighbours(connection)
        for task in ("misbehave", "misbehave_async"):
            bad[insert(connection, task, {"way": way})[0]] = way
    good += neighbours(connection)

    eventually(lambda: all_ended(connection, [*bad, *good]), 30)

    check(connection, scene, [*bad, *good], faultless=True)
    assert {ended(connection, id)["status"] for id in good} == {"completed"}
    for id, way in bad.items():
        run = ended(connection, id)
        kind, text = EXPECTED[way]
        assert (run["status"], run["outcome"], run["result"]) == ("failed", "failed", None), (way, run["task"])
        assert re.fullmatch(kind, run["error_type"]), (way, run["task"], run["error_type"])
        assert re.search(text, run["error"].replace("\n", " ")), (way, run["task"], run["error"][:500])
        assert len(run["error"]) < 3000
        assert len(run["traceback"] or "") < 30_000
    assert {process.pid for process in worker.executors()} == executors


def test_a_traceback_shows_the_handler_and_nothing_of_pgtask(worker: Worker, connection: Connection) -> None:
    ids = [insert(connection, task, {"way": "its own BaseException"})[0] for task in ("misbehave", "misbehave_async")]

    eventually(lambda: all_ended(connection, ids))

    for id in ids:
        traceback = ended(connection, id)["traceback"]
        assert re.search(r"misbehaving.py\", line \d+, in misbehave", traceback)
        assert "pgtask/engine" not in traceback


@pytest.mark.parametrize("task", ["child_exits", "stops_the_loop", "leaves_a_thread_that_fails"])
def test_a_job_cannot_stop_the_event_loop_or_the_threads_of_the_others(
    task: str, worker: Worker, scene: Scene, connection: Connection
) -> None:
    executors = {process.pid for process in worker.executors()}
    before = neighbours(connection)
    bad = insert(connection, task)
    after = neighbours(connection)

    eventually(lambda: all_ended(connection, [*before, *bad, *after]))
    later = neighbours(connection)
    eventually(lambda: all_ended(connection, later))

    check(connection, scene, [*before, *bad, *after, *later], faultless=True)
    assert {ended(connection, id)["status"] for id in [*before, *after, *later]} == {"completed"}
    assert ended(connection, bad[0])["status"] == ("failed" if task == "child_exits" else "completed")
    assert {process.pid for process in worker.executors()} == executors


def test_payloads_that_cannot_be_read_fail_alone_and_for_good(
    worker: Worker, scene: Scene, connection: Connection
) -> None:
    poison = [
        ("(repeat('[', 5000) || repeat(']', 5000))::jsonb", "nested too deeply"),
        ("('{\"n\": ' || repeat('9', 5001) || '}')::jsonb", "cannot be read: .*4300"),
        ("'[1, 2]'", "must be a JSON object of keyword arguments, not list"),
        ("'\"text\"'", "not str"),
        ("'null'", "not NoneType"),
    ]
    with connection.transaction():  # so that all are claimed together
        good = neighbours(connection)
        bad: dict[int, str] = {}
        for payload, words in poison:
            for task in ("good", "good_async"):
                row = connection.execute(
                    f"INSERT INTO pgtask.jobs (task, payload, max_retries) VALUES (%s, {payload}, 5) RETURNING id",
                    [task],
                ).fetchone()
                assert row is not None
                bad[row[0]] = words
        good += neighbours(connection)

    eventually(lambda: all_ended(connection, [*bad, *good]))

    assert {ended(connection, id)["status"] for id in good} == {"completed"}
    assert scene.started() == set(good)
    runs = connection.execute(
        "SELECT job_id, status, attempt, error FROM pgtask.runs WHERE job_id = ANY (%s)", [[*bad]]
    )
    for id, status, attempt, error in runs:
        assert (status, attempt) == ("failed", 1), bad[id]  # another attempt would fare no better
        assert re.search(bad.pop(id), error), error
    assert not bad


def test_arguments_that_do_not_fit_are_named(worker: Worker, connection: Connection) -> None:
    wrong = [
        insert(connection, task, payload, max_retries=0)[0]
        for task in ("good", "good_async")
        for payload in ({}, {"n": 1, "m": 2})
    ]

    eventually(lambda: all_ended(connection, wrong))

    errors = [ended(connection, id)["error"] for id in wrong]
    assert errors == [
        f"Task {task}: {words}. It takes: n."
        for task in ("good", "good_async")
        for words in ("'n' is missing", "'m' is unknown")
    ]


def test_what_only_postgresql_refuses_is_that_jobs_failure_too(
    worker: Worker, scene: Scene, connection: Connection
) -> None:
    connection.execute("ALTER TABLE pgtask.runs ADD CHECK (result <> '13')")

    ids = [insert(connection, task, {"n": n})[0] for n in range(20) for task in ("good", "good_async")]
    eventually(lambda: all_ended(connection, ids))

    finals = {run["job_id"]: run for run in check(connection, scene, ids, faultless=True)}
    refused = [finals[id] for id in ids[26:28]]
    assert {finals[id]["status"] for id in ids if id not in ids[26:28]} == {"completed"}
    assert {(run["status"], run["error_type"]) for run in refused} == {("failed", "ResultRefused")}
    assert "violates check constraint" in refused[0]["error"]
