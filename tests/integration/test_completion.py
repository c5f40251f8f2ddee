"""Completing jobs: fenced by job, attempt and worker, into the run history, each for itself."""

from __future__ import annotations

import json
from collections.abc import Callable

import psycopg
import pytest

from tests.integration.conftest import Work
from tests.rows import ago, ended, insert, job, live, number, runs


def test_a_completed_job_moves_to_the_history_with_all_its_columns(work: Work, connection: psycopg.Connection) -> None:
    (id,) = insert(
        connection,
        "t",
        {"a": 1},
        scheduled_at=ago(100),
        timeout=9,
        retry_delay=2,
        max_retry_delay=8,
        max_retries=4,
        retry_strategy="linear",
        unique_key="only",
        traceparent="00-1",
        tags=["x", "y"],
        progress=50,
        progress_message="half",
    )
    work.claim()
    before = live(connection, id)

    assert work.complete((id, 1), results=['{"done": true}']) == {id}

    assert job(connection, id) is None
    run = ended(connection, id)
    kept = (
        *("scheduled_at", "created_at", "timeout", "retry_delay", "max_retry_delay", "attempt", "retry_count"),
        *("max_retries", "worker_id", "executor", "retry_strategy", "priority", "crash_count", "progress", "queue"),
        *("task", "payload", "unique_key", "traceparent", "tags", "progress_message"),
    )
    assert {name: run[name] for name in kept} == {name: before[name] for name in kept}
    assert (run["outcome"], run["status"], run["claims"], run["result"]) == (
        "completed",
        "completed",
        1,
        {"done": True},
    )
    assert (run["error"], run["error_type"], run["traceback"]) == (None, None, None)


def test_its_times_come_from_the_databases_clock(work: Work, connection: psycopg.Connection) -> None:
    (id,) = insert(connection, "t")
    work.claim()
    before = connection.execute("SELECT clock_timestamp()").fetchone()

    work.complete((id, 1))

    after = connection.execute("SELECT clock_timestamp()").fetchone()
    run = ended(connection, id)
    assert before is not None
    assert after is not None
    # It is handed in as begun 0.5 s and ended 0.25 s before.
    assert before[0] <= run["finished_at"] + (run["finished_at"] - run["started_at"]) <= after[0]
    assert (run["finished_at"] - run["started_at"]).total_seconds() == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize("change", ["attempt", "worker", "status", "gone"])
def test_a_completion_by_one_who_no_longer_owns_the_job_is_refused(
    change: str, work: Work, make_work: Callable[..., Work], connection: psycopg.Connection
) -> None:
    id, other = insert(connection, "t", count=2)
    work.claim()
    late, attempt = work, 1
    if change == "attempt":
        attempt = 2
    elif change == "worker":
        late = make_work()
    elif change == "status":
        connection.execute("UPDATE pgtask.jobs SET status = 'pending' WHERE id = %s", [id])
    else:
        connection.execute("DELETE FROM pgtask.jobs WHERE id = %s", [id])
    before = job(connection, id)

    assert late.complete((id, attempt)) == set()

    assert job(connection, id) == before
    assert number(connection, "SELECT count(*) FROM pgtask.runs") == 0
    assert work.complete((other, 1)) == {other}


def test_the_same_attempt_is_completed_once(work: Work, connection: psycopg.Connection) -> None:
    (id,) = insert(connection, "t")
    work.claim()

    assert work.complete((id, 1)) == {id}
    assert work.complete((id, 1)) == set()
    assert len(runs(connection, id)) == 1


def test_an_earlier_attempt_cannot_complete_a_later_one(
    work: Work, make_work: Callable[..., Work], connection: psycopg.Connection
) -> None:
    (id,) = insert(connection, "t")
    work.claim()
    work.end(id, 1, "released")
    next_work = make_work(work.worker_id, executor=2)
    assert [row.attempt for row in next_work.claim()] == [2]

    assert work.complete((id, 1)) == set()
    assert not work.end(id, 1, "failed")
    assert live(connection, id)["status"] == "running"
    assert next_work.complete((id, 2)) == {id}


def test_what_is_refused_does_not_hold_up_the_rest_of_the_batch(work: Work, connection: psycopg.Connection) -> None:
    ids = insert(connection, "t", count=6)
    work.claim()

    accepted = work.complete(*[(id, 1 if position % 2 else 7) for position, id in enumerate(ids)])

    assert accepted == set(ids[1::2])
    assert {id: live(connection, id)["status"] for id in ids[::2]} == dict.fromkeys(ids[::2], "running")


def test_results_of_a_batch_keep_to_their_jobs(work: Work, connection: psycopg.Connection) -> None:
    ids = insert(connection, "t", count=5)
    work.claim()
    results = [None, "1", "[2]", None, '"ö \\" \\\\ , {}"']

    work.complete(*[(id, 1) for id in ids], results=results)

    found = [ended(connection, id)["result"] for id in ids]
    assert found == [None if text is None else json.loads(text) for text in results]


def test_a_batch_without_any_result_is_stored_too(work: Work, connection: psycopg.Connection) -> None:
    ids = insert(connection, "t", count=3)
    work.claim()

    assert work.complete(*[(id, 1) for id in ids]) == set(ids)
    assert [ended(connection, id)["result"] for id in ids] == [None] * 3


def test_completing_does_not_need_a_live_lease(work: Work, connection: psycopg.Connection) -> None:
    """Nobody has taken the job, so refusing would only run it twice."""
    (id,) = insert(connection, "t")
    work.claim()
    connection.execute("UPDATE pgtask.workers SET expires_at = now() - interval '1 h'")

    assert work.complete((id, 1)) == {id}


def test_recorded_tells_which_attempts_have_left_a_run(work: Work, connection: psycopg.Connection) -> None:
    done, running = insert(connection, "t", count=2)
    work.claim()
    work.complete((done, 1))

    assert work.connection.recorded([(done, 1), (done, 2), (running, 1)]) == {(done, 1)}


def test_a_claim_whose_answer_was_lost_is_given_back_but_what_is_held(
    work: Work, make_work: Callable[..., Work], connection: psycopg.Connection
) -> None:
    ids = insert(connection, "t", count=3)
    work.claim()
    sibling = make_work(work.worker_id, executor=2)
    (of_sibling,) = insert(connection, "t")
    sibling.claim()
    again = make_work(work.worker_id, executor=1)

    assert again.connection.release_unanswered([(ids[0], 1)]) == 2

    assert [live(connection, id)["status"] for id in ids] == ["running", "pending", "pending"]
    assert live(connection, of_sibling)["status"] == "running"
    assert number(connection, "SELECT count(*) FROM pgtask.runs") == 0
    assert [(row.id, row.attempt) for row in again.claim()] == [(ids[1], 2), (ids[2], 2)]


def test_the_backend_of_an_unanswered_exchange_can_be_ended(
    work: Work, make_work: Callable[..., Work], connection: psycopg.Connection
) -> None:
    name = f"pgtask executor {work.worker_id}.1"
    again = make_work(work.worker_id, executor=1)

    again.connection.end_predecessor()

    backends = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"
    assert number(connection, backends, [name]) == 1
    with pytest.raises(psycopg.OperationalError):
        work.claim()
