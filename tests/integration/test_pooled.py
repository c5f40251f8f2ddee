"""Connections that ask nothing of their session: what holds in a transaction, and who waits for whom."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import errors

from pgtask.database import connection as connections
from pgtask.database import fencing
from pgtask.database.claims import START, ClaimRequest
from pgtask.database.connection import connect, lost
from pgtask.database.outcomes import Completions
from pgtask.database.pooled import PooledConnection
from pgtask.database.reading import reading
from pgtask.database.work import WorkConnection
from tests.rows import add_worker, insert, live, number, runs
from tests.support import eventually

Connection = psycopg.Connection[Any]
SETTINGS = {"statement_timeout": "7s", "enable_seqscan": "off"}
SHOW = "SELECT current_setting('statement_timeout'), current_setting('enable_seqscan')"


@pytest.fixture
def pooled(database: str) -> Iterator[Connection]:
    with connect(database, application_name="pooled", settings=SETTINGS, statement_timeout=None, pooled=True) as made:
        yield made


def outside(connection: Connection) -> object:
    """The settings of the session itself."""
    assert isinstance(connection, PooledConnection)
    kept, connection.settings = connection.settings, {}
    try:
        return connection.execute(SHOW).fetchone()
    finally:
        connection.settings = kept


def test_each_transaction_has_its_settings_and_the_session_none(pooled: Connection) -> None:
    before = outside(pooled)
    assert before != ("7s", "off")

    assert pooled.execute(SHOW).fetchone() == ("7s", "off")
    with pooled.transaction():
        assert pooled.execute(SHOW).fetchone() == ("7s", "off")
        with pooled.transaction():
            assert pooled.execute(SHOW).fetchone() == ("7s", "off")
    with pooled.pipeline():
        cursors = [pooled.execute(SHOW), pooled.execute(SHOW)]
    assert [cursor.fetchone() for cursor in cursors] == [("7s", "off")] * 2
    assert outside(pooled) == before


def test_a_statement_that_fails_is_a_transaction_that_did_not_happen(pooled: Connection) -> None:
    with pytest.raises(errors.DivisionByZero):
        pooled.execute("SELECT 1 / 0")
    with contextlib.suppress(errors.DivisionByZero), pooled.transaction():
        insert(pooled, "quick")
        pooled.execute("SELECT 1 / 0")

    assert number(pooled, "SELECT count(*) FROM pgtask.jobs") == 0


def test_the_time_limit_holds_in_each_transaction(pooled: Connection) -> None:
    assert isinstance(pooled, PooledConnection)
    pooled.settings = {"statement_timeout": "50"}

    for _ in range(2):
        with pytest.raises(errors.QueryCanceled):
            pooled.execute("SELECT pg_sleep(60)")
        with pytest.raises(errors.QueryCanceled), pooled.transaction():
            pooled.execute("SELECT pg_sleep(60)")


def test_nothing_is_prepared(pooled: Connection) -> None:
    for _ in range(10):
        pooled.execute("SELECT %s::int4", [1], prepare=True)

    assert number(pooled, "SELECT count(*) FROM pg_prepared_statements") == 0


def test_operators_read_at_one_instant(pooled: Connection, connection: Connection) -> None:
    with reading(pooled):
        assert number(pooled, "SELECT count(*) FROM pgtask.jobs") == 0
        insert(connection, "quick")
        assert number(pooled, "SELECT count(*) FROM pgtask.jobs") == 0


def request(limit: int = 10) -> ClaimRequest:
    return ClaimRequest(["default"], [1], [START.time], [START.id], limit)


def claim(work: WorkConnection) -> set[int]:
    return {row[0] for row in work.exchange(None, None, None, request(), ["quick"]).claimed}


@pytest.fixture
def worker_id(connection: Connection) -> int:
    return add_worker(connection)


def waits(connection: Connection) -> bool:
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = %s"
    oid = number(connection, "SELECT oid FROM pg_database WHERE datname = current_database()")
    return number(connection, query, [oid]) == 1


def test_an_executor_claims_and_completes(database: str, connection: Connection, worker_id: int) -> None:
    ids = insert(connection, "quick", count=3)
    work = WorkConnection(database, worker_id, 1, pooled=True)
    work.register_tasks([])

    assert claim(work) == set(ids)
    done = work.exchange(Completions(ids, [1] * 3, [0.0] * 3, [0.0] * 3, [None] * 3), None, None, request(), ["quick"])

    assert done.completed == set(ids)
    assert work.recorded([(id, 1) for id in ids]) == {(id, 1) for id in ids}
    work.close()


def test_a_claim_under_way_is_waited_for_before_its_jobs_are_released(
    database: str, connection: Connection, worker_id: int
) -> None:
    """The executor has lost that connection, the server does not know it yet."""
    (id,) = insert(connection, "quick")
    straggler = WorkConnection(database, worker_id, 1, pooled=True)
    work = WorkConnection(database, worker_id, 1, pooled=True)
    freed: list[int] = []
    with straggler._connection.transaction():
        assert claim(straggler) == {id}
        work.end_predecessor()
        thread = threading.Thread(target=lambda: freed.append(work.release_unanswered([])))
        thread.start()
        eventually(lambda: waits(connection))
    thread.join()

    assert freed == [1]
    assert live(connection, id)["status"] == "pending"
    assert runs(connection, id) == []
    straggler.close()
    work.close()


def test_a_transaction_that_waited_too_long_in_the_pooler_changes_nothing(
    database: str, connection: Connection, worker_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(connection, "quick")
    work = WorkConnection(database, worker_id, 1, pooled=True)
    monkeypatch.setattr(fencing, "BEGINS_WITHIN", -1.0)

    with pytest.raises(errors.ReadOnlySqlTransaction) as caught:
        claim(work)

    assert lost(caught.value), "the connection is to be replaced, and the job not blamed"
    assert number(connection, "SELECT count(*) FROM pgtask.jobs WHERE status = 'pending'") == 1
    monkeypatch.undo()
    assert claim(work)
    work.close()


def test_lateness_is_judged_once_the_lock_is_held(database: str, worker_id: int) -> None:
    """Whoever looks under the lock later than that instant must find all that will ever happen."""
    with psycopg.connect(database) as holder, psycopg.connect(database) as late, psycopg.connect(database) as watch:
        watch.autocommit = True
        fencing.fence(holder, worker_id, 1)
        (soon,) = watch.execute("SELECT clock_timestamp() + interval '200 ms'").fetchone() or (datetime.now(UTC),)
        thread = threading.Thread(target=lambda: fencing.fence(late, worker_id, 1, soon))
        thread.start()
        eventually(lambda: waits(watch))
        eventually(lambda: number(watch, "SELECT (clock_timestamp() > %s)::int4", [soon]))
        holder.rollback()
        thread.join()
        with pytest.raises(errors.ReadOnlySqlTransaction):
            insert(late, "quick")


def test_the_wait_for_a_predecessor_has_an_end(database: str, connection: Connection, worker_id: int) -> None:
    insert(connection, "quick")
    work = WorkConnection(database, worker_id, 1, pooled=True)
    assert isinstance(work._connection, PooledConnection)
    work._connection.settings = {"statement_timeout": "50"}
    with connection.transaction():
        fencing.fence(connection, worker_id, 1)
        with pytest.raises(errors.QueryCanceled):
            claim(work)

    assert claim(work)
    work.close()


def test_the_two_clocks_may_drift_apart(database: str, connection: Connection, worker_id: int) -> None:
    insert(connection, "quick")
    work = WorkConnection(database, worker_id, 1, pooled=True)
    work.fence.heard(datetime.now(UTC) - timedelta(hours=1))
    with pytest.raises(errors.ReadOnlySqlTransaction):
        claim(work)

    assert work.sweep(None, ["t"])

    assert claim(work)
    work.close()


def test_executors_do_not_wait_for_each_other(database: str, connection: Connection, worker_id: int) -> None:
    first, second = (WorkConnection(database, worker_id, number, pooled=True) for number in (1, 2))
    ids = insert(connection, "quick", count=20)

    with first._connection.transaction():
        one = claim(first)
        assert len(one) == len(claim(second)) == 10

    assert number(connection, "SELECT count(*) FROM pgtask.jobs WHERE status = 'running'") == len(ids)
    first.close()
    second.close()


def test_a_session_with_its_settings_passes_the_check(database: str) -> None:
    with connect(database, application_name="direct") as opened:
        connections.check_session(opened)


def test_a_pooled_client_prepares_nothing(database: str) -> None:
    from pgtask import PgTask

    app = PgTask(database, pooled=True)
    with app.pool.connection() as opened:
        for _ in range(10):
            opened.execute("SELECT %s::int4", [1])
        assert number(opened, "SELECT count(*) FROM pg_prepared_statements") == 0
    app.close()
