"""start_by: what was not started in time ends cancelled; and the other options of a job at the doors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from pgtask import PayloadError, PgTask
from pgtask.database import admission, jobs
from pgtask.engine.task import Task
from tests import rows
from tests.command_line import on_terminal, run
from tests.rows import Connection, ago, ended, insert, live

LATER = datetime(2099, 1, 1, tzinfo=UTC)


@pytest.fixture
def app(database: str) -> Iterator[PgTask]:
    with PgTask(database) as app:
        yield app


@pytest.fixture
def task(app: PgTask) -> Task[Any]:
    @app.task(name="t")
    def take(n: int = 0) -> None:
        pass

    return take


def deadline(connection: Connection, id: int) -> float:
    """Seconds from its creation to when a job must have started."""
    job = live(connection, id)
    return float((job["start_by"] - job["created_at"]).total_seconds())


# What ends


def test_a_job_that_was_not_started_in_time_is_cancelled(connection: Connection) -> None:
    start_by = datetime(2026, 1, 2, 3, 4, 5, 678900, UTC)
    (id,) = insert(
        connection, "t", {"n": 1}, start_by=start_by, tags=["a"], concurrency_key="c", attempt=2, retry_count=2
    )
    assert admission.expire_jobs(connection) == 1
    run = ended(connection, id)
    assert (run["outcome"], run["status"], run["attempt"], run["claims"]) == ("cancelled", "cancelled", None, 2)
    assert (run["error_type"], run["error"]) == ("Expired", "It was not started by 2026-01-02T03:04:05Z")
    assert (run["payload"], run["tags"], run["concurrency_key"], run["start_by"]) == ({"n": 1}, ["a"], "c", start_by)
    assert (run["retry_count"], run["started_at"]) == (2, None)


def test_only_waiting_jobs_that_are_late_end(connection: Connection) -> None:
    kept = insert(connection, "t")
    kept += insert(connection, "t", start_by=ago(-60))
    kept += insert(connection, "t", start_by=ago(60), status="running", attempt=1)
    late = insert(connection, "t", start_by=ago(60))
    late += insert(connection, "t", start_by=ago(60), scheduled_at=ago(-60), retry_count=1)
    late += insert(connection, "t", start_by="-infinity")
    late += insert(connection, "t", start_by=ago(60), suspect=True)
    assert admission.expire_jobs(connection) == len(late)
    assert set(rows.statuses(connection, late).values()) == {"cancelled"}
    assert "cancelled" not in rows.statuses(connection, kept).values()


def test_jobs_end_in_batches_and_who_holds_one_goes_first(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "_BATCH", 10)
    monkeypatch.setattr(admission, "_BATCHES", 3)
    ids = insert(connection, "t", start_by=ago(60), count=45)
    with psycopg.connect(database) as other:
        other.execute("SELECT FROM pgtask.jobs WHERE id = %s FOR UPDATE", [ids[0]])
        connection.execute("SET lock_timeout = '5s'")
        assert admission.expire_jobs(connection) == 30
    assert admission.expire_jobs(connection) == 15
    assert admission.expire_jobs(connection) == 0
    assert set(rows.statuses(connection, ids).values()) == {"cancelled"}


def test_an_expired_job_frees_its_key_and_can_be_retried_by_hand(connection: Connection) -> None:
    (id,) = insert(connection, "t", start_by=ago(60), unique_key="k", concurrency_key="c")
    admission.expire_jobs(connection)
    assert connection.execute("SELECT pgtask.unique_job('k'), pgtask.retry(%s)", [id]).fetchone() == (None, "pending")
    job = live(connection, id)
    assert (job["start_by"], job["unique_key"], job["concurrency_key"]) == (None, "k", "c")
    assert admission.expire_jobs(connection) == 0


# The doors


def test_python_takes_an_instant_or_a_duration(
    task: Task[Any], connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = task.options(expires="5m", concurrency_key="tenant:7")
    ids = [bound.enqueue().id, asyncio.run(bound.enqueue_async()).id, *(job.id for job in bound.enqueue_many([{}]))]
    monkeypatch.setattr(jobs, "COPY_FROM", 1)
    ids += [job.id for job in bound.enqueue_many([{}, {}])]
    assert [live(connection, id)["concurrency_key"] for id in ids] == ["tenant:7"] * 5
    assert [deadline(connection, id) for id in ids] == pytest.approx([300] * 5, abs=5)

    bound = task.options(start_by=LATER, scheduled_at=LATER)
    ids = [bound.enqueue().id, *(job.id for job in bound.enqueue_many([{}]))]
    assert {live(connection, id)["start_by"] for id in ids} == {LATER}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"start_by": datetime(2020, 1, 1, tzinfo=UTC)}, "start_by 2020-01-01T00:00:00+00:00 has passed"),
        ({"start_by": datetime(2099, 1, 1)}, "has no time zone"),  # noqa: DTZ001
        ({"start_by": LATER, "expires": 5}, "give start_by or expires, not both"),
        ({"start_by": LATER, "scheduled_at": LATER + timedelta(seconds=1)}, "before it is due at 2099-01-01T00:00:01"),
        ({"expires": "5m", "delay": "6m"}, "before it is due"),
        ({"expires": "soon"}, "'soon' is no duration"),
        ({"concurrency_key": ""}, "a concurrency_key has 1 to 512 bytes"),
        ({"concurrency_key": "x" * 513}, "a concurrency_key has 1 to 512 bytes"),
    ],
)
def test_what_could_never_start_in_time_is_refused(options: dict[str, Any], complaint: str, task: Task[Any]) -> None:
    def enqueue() -> object:
        return task.options(**options).enqueue()

    def enqueue_many() -> object:
        return task.options(**options).enqueue_many([{}])

    def enqueue_async() -> object:
        return asyncio.run(task.options(**options).enqueue_async())

    for door in (enqueue, enqueue_many, enqueue_async):
        with pytest.raises(PayloadError, match=complaint.replace("+", r"\+")):
            door()


def test_sql_takes_both_and_refuses_what_is_too_late(connection: Connection) -> None:
    query = "SELECT pgtask.enqueue('t', concurrency_key => 'c', start_by => now() + interval '5 min')"
    id = rows.number(connection, query)
    assert (live(connection, id)["concurrency_key"], deadline(connection, id)) == ("c", 300)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=r"^start_by .* has passed: give an instant to come"):
        connection.execute("SELECT pgtask.enqueue('t', start_by => now() - interval '1 s')")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=r"is before the job is due, at .*: it would never"):
        connection.execute("SELECT pgtask.enqueue('t', delay => '2 min', start_by => now() + interval '1 min')")


def test_the_command_takes_both_and_shows_them(database: str, connection: Connection) -> None:
    result = run(database, "enqueue", "t", "--expires", "5m", "--concurrency-key", "tenant:7")
    id = int(result.stdout)
    assert deadline(connection, id) == 300
    shown = on_terminal(database, "jobs", "show", str(id))
    assert "Concurrency key  tenant:7" in shown
    assert "Start by" in shown

    refused = run(database, "enqueue", "t", "--expires", "5m", "--delay", "6m")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "is before the job is due" in refused.stderr
    assert run(database, "enqueue", "t", "--concurrency-key", "").exit_code == 2
