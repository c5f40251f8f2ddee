"""Limits of queues, of concurrency keys and of tasks, held by several workers at once.

What ran when is read from the history: the times there lie between the claim and the completion, so what overlaps there
ran at once.
"""

from __future__ import annotations

import signal
from typing import Any

import psycopg
import pytest

from tests import rows
from tests.acceptance.operated import Fleet
from tests.support import eventually

Connection = psycopg.Connection[Any]

MOST_AT_ONCE = """
    SELECT max(running)
      FROM (SELECT sum(step) OVER (PARTITION BY key ORDER BY at, step) AS running
              FROM (SELECT {key} AS key, started_at AS at, 1 AS step FROM pgtask.runs WHERE started_at IS NOT NULL
                     UNION ALL
                    SELECT {key}, finished_at, -1 FROM pgtask.runs WHERE started_at IS NOT NULL) steps
             WHERE key IS NOT NULL) counts
"""


def most_at_once(connection: Connection, key: str = "queue") -> int:
    """The most attempts that ran at once with the same key; those without one do not count."""
    row = connection.execute(MOST_AT_ONCE.format(key=key).encode()).fetchone()
    assert row is not None
    return int(row[0])


def left(connection: Connection) -> int:
    return rows.number(connection, "SELECT count(*) FROM pgtask.jobs")


def ended(connection: Connection, condition: str = "true") -> int:
    return rows.number(connection, f"SELECT count(*) FROM pgtask.runs WHERE final AND {condition}")


def settled(connection: Connection) -> bool:
    """Whether nothing is left and nothing held."""
    return (
        rows.number(
            connection,
            "SELECT (SELECT count(*) FROM pgtask.jobs) + (SELECT count(*) FROM pgtask.limit_holds)"
            " + (SELECT coalesce(sum(abs(used)), 0) FROM pgtask.limits)",
        )
        == 0
    )


def limit(connection: Connection, queue: str, **settings: Any) -> None:
    names = ", ".join(settings)
    values = ", ".join(f"%({name})s" for name in settings)
    changes = ", ".join(f"{name} = excluded.{name}" for name in settings)
    connection.execute(
        f"INSERT INTO pgtask.queues (name, {names}) VALUES (%(queue)s, {values})"
        f" ON CONFLICT (name) DO UPDATE SET {changes}".encode(),
        {"queue": queue, **settings},
    )


def start(workers: Fleet, count: int, *flags: str) -> None:
    launched = [workers.launch("--processes", "1", *flags, app="limited") for _ in range(count)]
    for worker in launched:
        worker.await_ready()


def test_no_more_jobs_of_a_queue_run_at_once_than_it_allows(workers: Fleet, connection: Connection) -> None:
    limit(connection, "narrow", max_workers=6)
    rows.insert(connection, "work", count=600, queue="narrow")
    rows.insert(connection, "other", count=300, queue="narrow", priority=2)
    rows.insert(connection, "work", count=300, queue="wide")

    start(workers, 4)

    eventually(lambda: settled(connection), 60)
    assert most_at_once(connection) > 6
    assert most_at_once(connection, "nullif(queue, 'wide')") == 6
    assert ended(connection, "status = 'completed'") == 1200


def test_each_concurrency_key_has_its_own_limit_and_its_turn(workers: Fleet, connection: Connection) -> None:
    limit(connection, "tenants", max_workers_per_key=2)
    rows.insert(connection, "work", count=600, queue="tenants", concurrency_key="large")
    for tenant in range(20):
        rows.insert(connection, "work", count=10, queue="tenants", concurrency_key=f"small:{tenant}")

    start(workers, 4, "--concurrency", "2")

    eventually(lambda: settled(connection), 60)
    assert most_at_once(connection, "concurrency_key") == 2
    # Each turn gives every key a job or two: the large one has not had many when the small ones end.
    before = "finished_at < (SELECT max(r.started_at) FROM pgtask.runs r WHERE r.concurrency_key LIKE 'small%')"
    assert ended(connection, f"concurrency_key = 'large' AND {before}") < 150
    assert ended(connection, "status = 'completed'") == 800


def test_one_job_of_a_key_at_a_time_unless_told_otherwise(workers: Fleet, connection: Connection) -> None:
    for key in ("a", "b", "c"):
        rows.insert(connection, "work", count=60, concurrency_key=key)
    rows.insert(connection, "work", count=200)

    start(workers, 4)

    eventually(lambda: settled(connection), 60)
    assert most_at_once(connection, "coalesce(concurrency_key, job_id::text)") == 1


@pytest.mark.parametrize("of", ["queue", "task"])
def test_no_more_jobs_start_than_the_rate_allows(workers: Fleet, connection: Connection, of: str) -> None:
    if of == "queue":
        limit(connection, "slow", rate_limit=50, rate_period=1.0, rate_burst=10)
    else:
        connection.execute(
            "INSERT INTO pgtask.tasks (name, rate_limit, rate_period, rate_burst, rate_set_by)"
            " VALUES ('work', 50, 1, 10, 'dana')"
        )
    # The others of the task's queue are not held up.
    rows.insert(connection, "work", count=150, queue="slow")
    rows.insert(connection, "other", count=300, queue="default" if of == "queue" else "slow")

    start(workers, 4)

    eventually(lambda: left(connection) == 0, 60)
    spans = """
        SELECT max(n - 10 - 50 * extract(epoch FROM at - since)), extract(epoch FROM max(at - since))
          FROM (SELECT a.started_at AS since, b.started_at AS at,
                       (SELECT count(*) FROM pgtask.runs r
                         WHERE r.task = 'work' AND r.started_at BETWEEN a.started_at AND b.started_at) AS n
                  FROM pgtask.runs a JOIN pgtask.runs b ON b.started_at > a.started_at
                 WHERE a.task = 'work' AND b.task = 'work') spans
    """
    row = connection.execute(spans).fetchone()
    assert row is not None
    # In any span no more than its burst and what the rate gives; a start may come half a second after its claim.
    assert row[0] <= 50 * 0.5
    assert row[1] >= (150 - 10) / 50 - 0.5
    later = "started_at > (SELECT max(r.finished_at) FROM pgtask.runs r WHERE r.task = 'other')"
    assert ended(connection, f"task = 'work' AND {later}") > 30


def test_what_dead_processes_held_is_free_again(workers: Fleet, connection: Connection) -> None:
    limit(connection, "narrow", max_workers=4)
    rows.insert(connection, "work", {"seconds": 0.02}, count=200, queue="narrow", concurrency_key="a")
    limit(connection, "narrow", max_workers_per_key=3)
    rows.insert(connection, "work", {"seconds": 0.02}, count=200, queue="narrow")
    start(workers, 3, "--lease", "2")

    eventually(lambda: ended(connection) > 40)
    (executor,) = workers.workers[0].executors()
    executor.kill()
    workers.workers[1].signal_all(signal.SIGKILL)

    eventually(lambda: settled(connection), 60)
    assert most_at_once(connection) <= 4
    assert most_at_once(connection, "coalesce(concurrency_key, job_id::text)") <= 3
    assert ended(connection, "status = 'completed'") == 400


def test_a_limit_counts_from_when_it_is_set_and_what_runs_counts_at_once(
    workers: Fleet, connection: Connection
) -> None:
    start(workers, 2)
    rows.insert(connection, "work", {"seconds": 30}, count=3, queue="q")
    eventually(lambda: rows.number(connection, "SELECT count(*) FROM pgtask.jobs WHERE status = 'running'") == 3)

    limit(connection, "q", max_workers=4)
    rows.insert(connection, "work", {"seconds": 30}, count=5, queue="q")

    running = "SELECT count(*) FROM pgtask.jobs WHERE status = 'running'"
    eventually(lambda: rows.number(connection, running) == 4)
    rows.insert(connection, "other", count=50)
    eventually(lambda: ended(connection, "task = 'other'") == 50)
    assert rows.number(connection, running) == 4

    limit(connection, "q", max_workers=6)
    eventually(lambda: rows.number(connection, running) == 6)
    limit(connection, "q", max_workers=None)
    eventually(lambda: rows.number(connection, running) == 8)


def test_a_queue_with_a_limit_of_none_starts_nothing_until_it_is_raised(workers: Fleet, connection: Connection) -> None:
    limit(connection, "shut", max_workers=0)
    start(workers, 2)
    rows.insert(connection, "work", count=20, queue="shut")
    rows.insert(connection, "other", count=100)
    eventually(lambda: ended(connection, "task = 'other'") == 100)
    assert ended(connection, "task = 'work'") == 0

    limit(connection, "shut", max_workers=1)

    eventually(lambda: left(connection) == 0)
    assert most_at_once(connection, "nullif(queue, 'default')") == 1


def test_floods_with_limits_and_without_do_not_starve_each_other(workers: Fleet, connection: Connection) -> None:
    limit(connection, "narrow", max_workers=2)
    rows.insert(connection, "work", {"seconds": 0}, count=4000, queue="wide")
    rows.insert(connection, "work", {"seconds": 0}, count=500, concurrency_key="k", queue="wide")
    rows.insert(connection, "work", {"seconds": 0}, count=2000, queue="narrow")

    start(workers, 1)

    eventually(lambda: settled(connection), 60)
    halfway = "finished_at < (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY r.finished_at) FROM pgtask.runs r)"
    for kind in ("queue = 'wide' AND concurrency_key IS NULL", "concurrency_key = 'k'", "queue = 'narrow'"):
        # The key gives one job at a time, hence one for each claim of hundreds of the others.
        assert ended(connection, f"{kind} AND {halfway}") > 3, kind


def test_no_more_is_claimed_within_limits_than_there_are_slots(workers: Fleet, connection: Connection) -> None:
    limit(connection, "narrow", max_workers=100)
    # Whose jobs are known to be short, so that others would be fetched ahead.
    rows.insert(connection, "work", {"seconds": 0}, count=500)
    start(workers, 1, "--concurrency", "3")
    eventually(lambda: left(connection) == 0)

    rows.insert(connection, "work", {"seconds": 0}, count=1000, queue="narrow")

    held = [rows.number(connection, "SELECT count(*) FROM pgtask.limit_holds")]
    while not settled(connection):
        held.append(rows.number(connection, "SELECT count(*) FROM pgtask.limit_holds"))
    assert 0 < max(held) <= 3


def test_the_leader_frees_what_nothing_else_has_freed(workers: Fleet, connection: Connection) -> None:
    limit(connection, "narrow", max_workers=1)
    connection.execute(
        "INSERT INTO pgtask.limit_holds (job_id, attempt, in_queue, queue) VALUES (7, 1, true, 'narrow')"
    )
    connection.execute("UPDATE pgtask.limits SET used = 1")
    rows.insert(connection, "work", queue="narrow")
    # Leading takes a worker whose lease has been unbroken for as long as it is.
    start(workers, 1, "--lease", "2")

    eventually(lambda: settled(connection), 30)
