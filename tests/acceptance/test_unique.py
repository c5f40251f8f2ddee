"""Unique jobs beside real workers, which start them and end them."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from pgtask import PgTask, Unique
from tests import rows
from tests.acceptance.operated import PATIENCE, Fleet
from tests.support import eventually

Connection = psycopg.Connection[Any]


def enqueue(connection: Connection, task: str, options: str) -> tuple[int, str]:
    row = connection.execute(f"SELECT id, answer FROM pgtask.enqueue_or_find('{task}', {options})".encode()).fetchone()
    assert row is not None
    return int(row[0]), str(row[1])


def started(workers: Fleet) -> set[int]:
    return {start.job_id for start in workers.ledger.starts()}


def test_one_waits_beside_one_that_runs(workers: Fleet, connection: Connection) -> None:
    workers.start("--processes", "1", "--concurrency", "1")
    options = "unique_key => 'k', unique_scope => 'waiting'"
    first, _ = enqueue(connection, "hold", options)
    eventually(lambda: started(workers) == {first}, PATIENCE)

    second, answer = enqueue(connection, "hold", options)
    assert answer == "created"
    assert enqueue(connection, "hold", options) == (second, "held")
    workers.ledger.open_gate()

    eventually(lambda: rows.final(connection, second), PATIENCE)
    assert enqueue(connection, "quick", options)[1] == "created"
    assert workers.ledger.twice() == []


def test_a_job_that_runs_keeps_its_key_in_the_other_scopes(workers: Fleet, connection: Connection) -> None:
    workers.start("--processes", "1", "--concurrency", "4")
    scopes = ("active", "until_success", "always")
    every = {scope: f"unique_key => '{scope}', unique_scope => '{scope}'" for scope in scopes}
    every["plain"] = "unique_key => 'plain'"
    ids = {kind: enqueue(connection, "hold", options)[0] for kind, options in every.items()}
    eventually(lambda: started(workers) == set(ids.values()), PATIENCE)

    for kind, options in every.items():
        assert enqueue(connection, "hold", f"{options}, on_conflict => 'replace'") == (ids[kind], "held")
    workers.ledger.open_gate()
    eventually(lambda: all(rows.final(connection, id) for id in ids.values()), PATIENCE)

    answers = {kind: enqueue(connection, "quick", options)[1] for kind, options in every.items()}
    assert answers == {"plain": "created", "active": "created", "until_success": "held", "always": "held"}


@pytest.mark.parametrize("scope", ["active", "waiting", "always"])
def test_a_job_that_is_due_all_at_once_is_found(scope: str, workers: Fleet, connection: Connection) -> None:
    workers.start("--processes", "1")

    def until_later(key: str) -> tuple[str, int]:
        options = f"unique_key => '{key}', unique_scope => '{scope}'"
        first, _ = enqueue(connection, "quick", f"{options}, delay => '1 h'")
        # Workers look past the place where it will be.
        (other,) = rows.insert(connection, "quick")
        eventually(lambda: rows.final(connection, other), PATIENCE)
        return options, first

    options, first = until_later("k")
    for _ in range(3):
        answer = enqueue(connection, "quick", f"{options}, delay => '1 h', on_conflict => 'reschedule'")
        assert answer == (first, "rescheduled")
    bounded = "on_conflict => 'reschedule', delay => '1 h', max_wait => '0 s'"
    assert enqueue(connection, "quick", f"{options}, {bounded}") == (first, "rescheduled")
    eventually(lambda: rows.final(connection, first), PATIENCE)

    options, second = until_later("l")
    assert enqueue(connection, "quick", f"{options}, on_conflict => 'replace'") == (second, "replaced")
    eventually(lambda: rows.final(connection, second), PATIENCE)
    assert workers.ledger.twice() == []


def test_no_change_is_missed_where_one_may_wait(workers: Fleet, database: str, connection: Connection) -> None:
    """Each producer changes a shop and asks for its rebuilding: the last rebuilding sees the last change."""
    connection.execute("CREATE TABLE shops (id integer PRIMARY KEY, version integer NOT NULL DEFAULT 0)")
    connection.execute("INSERT INTO shops (id) VALUES (1), (2)")
    for _ in range(2):
        workers.start("--processes", "1", "--concurrency", "4", app="unique")
    made: list[bool] = []

    def produce(app: PgTask) -> None:
        @app.task(name="rebuild", unique=Unique(by=["shop"], scope="waiting"))
        def rebuild(shop: int) -> None: ...

        with psycopg.connect(database) as own:
            for turn in range(40):
                own.execute("UPDATE shops SET version = version + 1 WHERE id = %s", [turn % 2 + 1])
                made.append(rebuild.options(connection=own).enqueue(shop=turn % 2 + 1).created)
                own.commit()

    with PgTask(database) as app, PgTask(database) as other:
        threads = [threading.Thread(target=produce, args=[one]) for one in (app, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(made) == 80
    eventually(lambda: rows.number(connection, "SELECT count(*) FROM pgtask.jobs") == 0, PATIENCE)
    seen = connection.execute(
        "SELECT payload ->> 'shop', max(result::int) FROM pgtask.runs WHERE status = 'completed' GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert seen == [("1", 40), ("2", 40)]
    assert rows.number(connection, "SELECT count(*) FROM pgtask.runs") == sum(made)


def test_workers_clear_keys_away_that_nobody_holds(workers: Fleet, connection: Connection) -> None:
    gone, _ = enqueue(connection, "quick", "unique_key => 'gone', unique_scope => 'waiting'")
    kept, _ = enqueue(connection, "quick", "unique_key => 'kept', unique_scope => 'always'")
    connection.execute("SELECT pgtask.cancel(%s), pgtask.cancel(%s)", [gone, kept])

    workers.start("--processes", "1", "--lease", "1")

    query = "SELECT unique_key FROM pgtask.unique_keys"
    eventually(lambda: connection.execute(query.encode()).fetchall() == [("kept",)], PATIENCE)
