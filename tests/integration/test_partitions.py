"""Upkeep of history: partitions ahead, retention behind, and never in the way of others."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from pgtask.database import partitions, statements
from pgtask.database.partitions import Maintained
from tests.support import eventually

TODAY = "date_trunc('day', now(), 'UTC')"


@pytest.fixture
def bare(connection: psycopg.Connection) -> psycopg.Connection:
    """A database whose runs have no partition but the default one."""
    for name in _partitions(connection):
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("pgtask", name)))
    return connection


def _one(connection: psycopg.Connection, query: str, *parameters: Any) -> Any:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row[0]


def _bounds(connection: psycopg.Connection) -> list[tuple[float, float]]:
    """What each partition holds, as days from midnight (UTC) today."""
    return connection.execute(f"""
        SELECT extract(epoch FROM (substring(bounds FROM 'FROM \\(''([^'']+)')::timestamptz - {TODAY}))
                   ::float / 86400,
               extract(epoch FROM (substring(bounds FROM 'TO \\(''([^'']+)')::timestamptz - {TODAY}))
                   ::float / 86400
          FROM pg_inherits
          JOIN pg_class ON oid = inhrelid
         CROSS JOIN pg_get_expr(relpartbound, oid) AS bounds
         WHERE inhparent = 'pgtask.runs'::regclass AND bounds <> 'DEFAULT'
         ORDER BY 1
    """).fetchall()


def _partitions(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute("""
        SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid
         WHERE inhparent = 'pgtask.runs'::regclass AND relname <> 'runs_default' ORDER BY 1
    """)
    return [name for (name,) in rows]


def _add_partition(connection: psycopg.Connection, name: str, begins: float, ends: float) -> None:
    """Adds the partition of a range given in days from today."""
    bounds = [sql.SQL(f"{TODAY} + {{}} * interval '1 day'").format(sql.Literal(day)) for day in (begins, ends)]
    connection.execute(
        sql.SQL("CREATE TABLE {} PARTITION OF pgtask.runs FOR VALUES FROM ({}) TO ({})").format(
            sql.Identifier("pgtask", name), *bounds
        )
    )


def _add_run(connection: psycopg.Connection, days_ago: float) -> str:
    """Adds a run that finished so many days ago; the partition it went into."""
    return str(
        _one(
            connection,
            """
            INSERT INTO pgtask.runs (job_id, finished_at, outcome, priority, final, queue, task)
            VALUES (1, now() - %s * interval '1 day', 'completed', 1, true, 'default', 'echo')
            RETURNING tableoid::regclass::text
            """,
            days_ago,
        )
    )


def _add_worker(connection: psycopg.Connection, died_days_ago: float | None) -> int:
    """Adds a worker that is dead for so many days, or alive."""
    return int(
        _one(
            connection,
            """
            INSERT INTO pgtask.workers (name, host, pid, version, executors, slots, lease, expires_at,
                                        dead_at)
            VALUES ('w', 'h', 1, '0', 1, 1, 30, now(), now() - %s::float * interval '1 day')
            RETURNING id
            """,
            died_days_ago,
        )
    )


def _set(connection: psycopg.Connection, name: str, value: str) -> None:
    connection.execute("UPDATE pgtask.settings SET value = %s::jsonb WHERE name = %s", [value, name])


@contextmanager
def _in_use(database: str, statement: str) -> Iterator[None]:
    """Somebody's open transaction has just run the statement."""
    with psycopg.connect(database) as other:
        other.execute(statement)
        yield
        other.rollback()


def test_today_and_the_next_three_days_get_a_partition_each(bare: psycopg.Connection) -> None:
    done = partitions.maintain(bare)

    assert _bounds(bare) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert done == Maintained(created=_partitions(bare))
    assert done.created[0] == _one(bare, f"SELECT to_char({TODAY}, '\"runs_\"YYYYMMDD')")
    assert [_add_run(bare, -day) for day in range(4)] == [f"pgtask.{name}" for name in done.created]


def test_a_second_call_finds_nothing_to_do(bare: psycopg.Connection) -> None:
    partitions.maintain(bare)

    assert partitions.maintain(bare) == Maintained()


def test_a_partition_is_like_one_made_by_postgresql(bare: psycopg.Connection) -> None:
    partitions.maintain(bare)
    _add_partition(bare, "reference", 50, 51)

    def described(name: str) -> list[tuple[Any, ...]]:
        return bare.execute(
            """
            SELECT attname::text, format_type(atttypid, atttypmod), attnotnull::text, attislocal::text
              FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attnum > 0
            UNION ALL
            SELECT contype::text, pg_get_constraintdef(oid), conislocal::text, coninhcount::text
              FROM pg_constraint WHERE conrelid = %(table)s::regclass
            UNION ALL
            SELECT 'index', regexp_replace(pg_get_indexdef(indexrelid), 'INDEX .* USING', ''), indisvalid::text,
                   (SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = indexrelid)
              FROM pg_index WHERE indrelid = %(table)s::regclass
             ORDER BY 1, 2
            """,
            {"table": f"pgtask.{name}", "name": name},
        ).fetchall()

    assert described(_partitions(bare)[-1]) == described("reference")


def test_long_retention_makes_weeks(bare: psycopg.Connection) -> None:
    _set(bare, "retention_days", "31")

    partitions.maintain(bare)

    assert _bounds(bare) == [(0, 7), (7, 14)]


def test_kept_for_ever_makes_weeks_and_drops_nothing(bare: psycopg.Connection) -> None:
    bare.execute("DELETE FROM pgtask.settings WHERE name LIKE '%retention_days'")
    _add_partition(bare, "runs_old", -3000, -2999)
    _add_run(bare, 4000)
    _add_worker(bare, 4000)

    done = partitions.maintain(bare)

    assert done == Maintained(created=done.created)
    assert _bounds(bare) == [(-3000, -2999), (0, 7), (7, 14)]


def test_changed_retention_goes_on_where_the_last_partition_ends(bare: psycopg.Connection) -> None:
    partitions.maintain(bare)
    _set(bare, "retention_days", "60")
    partitions.maintain(bare)
    assert _bounds(bare) == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 11)]

    _set(bare, "retention_days", "14")
    assert partitions.maintain(bare) == Maintained()


def test_after_a_long_stop_partitions_begin_today(bare: psycopg.Connection) -> None:
    _add_partition(bare, "runs_last_week", -8, -7)

    partitions.maintain(bare)

    assert _bounds(bare) == [(-8, -7), (0, 1), (1, 2), (2, 3), (3, 4)]


def test_days_are_those_of_utc_whatever_the_session_says(bare: psycopg.Connection) -> None:
    bare.execute("SET timezone = 'Asia/Kolkata'")
    bare.execute("SET datestyle = 'SQL, DMY'")

    partitions.maintain(bare)

    bare.execute("RESET timezone")
    bare.execute("RESET datestyle")
    assert _bounds(bare) == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_rows_of_the_connection_may_be_of_any_kind(database: str) -> None:
    with psycopg.connect(database, row_factory=dict_row) as connection:
        assert partitions.maintain(connection) == Maintained()


def test_partitions_wholly_past_retention_are_dropped(connection: psycopg.Connection) -> None:
    _add_partition(connection, "runs_a", -16, -15)
    _add_partition(connection, "runs_b", -15, -14)
    _add_partition(connection, "runs_c", -14, -13)
    _set(connection, "retention_days", "14")

    done = partitions.maintain(connection)

    assert done == Maintained(dropped=["runs_a", "runs_b"])
    assert "runs_c" in _partitions(connection)


@pytest.mark.parametrize("days", ["0", "-5"])
def test_no_retention_spares_today(connection: psycopg.Connection, days: str) -> None:
    _set(connection, "retention_days", days)
    kept = _partitions(connection)

    assert partitions.maintain(connection).dropped == []
    assert _partitions(connection) == kept


def test_retention_beyond_the_calendar_is_a_long_one(connection: psycopg.Connection) -> None:
    _add_partition(connection, "runs_old", -3000, -2999)
    _set(connection, "retention_days", "1e12")

    assert partitions.maintain(connection).dropped == []


def test_a_day_that_has_runs_in_the_default_partition_is_left_there(
    bare: psycopg.Connection,
) -> None:
    assert _add_run(bare, 0) == "pgtask.runs_default"

    partitions.maintain(bare)

    assert _bounds(bare) == [(1, 2), (2, 3), (3, 4)]
    assert _one(bare, "SELECT count(*) FROM pgtask.runs") == 1


def test_a_week_begins_after_the_runs_in_the_default_partition(bare: psycopg.Connection) -> None:
    _set(bare, "retention_days", "60")
    _add_run(bare, 0)

    partitions.maintain(bare)

    assert _bounds(bare) == [(1, 8)]


def test_old_runs_leave_the_default_partition_in_batches(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "BATCH", 2)
    for days_ago in (13, 15, 16, 17, 18, 19):
        _add_run(connection, days_ago)

    assert partitions.maintain(connection) == Maintained(deleted_runs=5)
    assert _one(connection, "SELECT count(*) FROM pgtask.runs") == 1


def test_old_log_lines_and_statistics_are_deleted(connection: psycopg.Connection) -> None:
    connection.execute("""
        INSERT INTO pgtask.job_logs (job_id, logged_at, attempt, line, level, message)
        SELECT 1, now() - days * interval '1 day', 1, days, 'info', 'x' FROM generate_series(12, 16) days
    """)
    connection.execute("""
        INSERT INTO pgtask.stats_minute (minute, queue, task)
        SELECT now() - days * interval '1 day', 'default', 'echo' FROM generate_series(87, 91) days
    """)

    # What is exactly as old as its retention has been kept for it.
    assert partitions.maintain(connection) == Maintained(deleted_logs=3, deleted_stats=2)
    assert _one(connection, "SELECT count(*) FROM pgtask.job_logs") == 2
    assert _one(connection, "SELECT count(*) FROM pgtask.stats_minute") == 3


def test_ticks_are_kept_as_long_as_runs(connection: psycopg.Connection) -> None:
    connection.execute("""
        INSERT INTO pgtask.schedule_ticks (schedule_id, tick_at, fired_at, outcome)
        SELECT 1, at, at, 'fired'
          FROM generate_series(now() - interval '16 days', now() - interval '12 days', interval '1 day') at
    """)
    assert partitions.maintain(connection) == Maintained(deleted_ticks=3)
    assert _one(connection, "SELECT count(*) FROM pgtask.schedule_ticks") == 2


def test_a_pruned_worker_takes_its_declarations_along(connection: psycopg.Connection) -> None:
    connection.execute("INSERT INTO pgtask.declarations VALUES (%s, 'a:b', '{}')", [_add_worker(connection, 8)])
    assert partitions.maintain(connection) == Maintained(deleted_workers=1)
    assert _one(connection, "SELECT count(*) FROM pgtask.declarations") == 0


def test_workers_go_when_they_are_long_dead_and_run_nothing(connection: psycopg.Connection) -> None:
    long_dead, owner = _add_worker(connection, 8), _add_worker(connection, 8)
    alive, lately_dead = _add_worker(connection, None), _add_worker(connection, 6)
    connection.execute("INSERT INTO pgtask.jobs (task, status, worker_id) VALUES ('a', 'running', %s)", [owner])
    connection.execute("INSERT INTO pgtask.jobs (task, status, worker_id) VALUES ('b', 'pending', %s)", [long_dead])

    assert partitions.maintain(connection) == Maintained(deleted_workers=1)
    rest = connection.execute("SELECT id FROM pgtask.workers ORDER BY id").fetchall()
    assert rest == [(owner,), (alive,), (lately_dead,)]


def test_deleting_stops_when_time_is_up_and_goes_on_at_the_next_call(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "BATCH", 2)
    monkeypatch.setattr(partitions, "SECONDS", 0)
    for days_ago in (15, 16, 17):
        _add_run(connection, days_ago)

    assert partitions.maintain(connection) == Maintained(deleted_runs=2, complete=False)
    assert partitions.maintain(connection) == Maintained(deleted_runs=1)


def test_completions_under_way_do_not_hinder_a_new_partition(database: str, bare: psycopg.Connection) -> None:
    with _in_use(database, "LOCK TABLE ONLY pgtask.runs IN ROW EXCLUSIVE MODE"):
        assert len(partitions.maintain(bare).created) == 4


def test_a_long_query_puts_new_partitions_off_but_not_the_rest(database: str, bare: psycopg.Connection) -> None:
    _add_run(bare, 15)
    with _in_use(database, "SELECT FROM pgtask.runs"):
        assert partitions.maintain(bare) == Maintained(deleted_runs=1, complete=False)
        assert _partitions(bare) == []
    assert len(partitions.maintain(bare).created) == 4


def test_a_long_query_puts_dropping_off(database: str, connection: psycopg.Connection) -> None:
    _add_partition(connection, "runs_old", -20, -19)
    with _in_use(database, "SELECT FROM pgtask.runs"):
        assert partitions.maintain(connection) == Maintained(complete=False)
    assert partitions.maintain(connection) == Maintained(dropped=["runs_old"])


def test_a_run_that_comes_just_before_its_partition_stays_in_the_default_one(
    database: str, bare: psycopg.Connection
) -> None:
    waiting = "SELECT FROM pg_locks WHERE relation = 'pgtask.runs_default'::regclass AND NOT granted"
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(database) as other,
        psycopg.connect(database, autocommit=True) as watcher,
    ):
        _add_run(other, 0)
        first = pool.submit(partitions.maintain, bare)
        eventually(lambda: first.done() or watcher.execute(waiting).rowcount)
        other.commit()
        first.result(timeout=30)

    partitions.maintain(bare)
    assert _bounds(bare) == [(1, 2), (2, 3), (3, 4)]


def test_only_one_worker_is_at_it(database: str, bare: psycopg.Connection) -> None:
    with _in_use(database, statements.load("begin_maintenance").decode()):
        assert partitions.maintain(bare) == Maintained(complete=False)
    assert partitions.maintain(bare).complete


def test_many_workers_at_once_do_it_once(database: str, bare: psycopg.Connection) -> None:
    _add_partition(bare, "runs_old", -20, -19)

    def maintain(_: int) -> Maintained:
        with psycopg.connect(database, autocommit=True) as connection:
            return partitions.maintain(connection)

    with ThreadPoolExecutor(6) as pool:
        rounds = list(pool.map(maintain, range(6)))
    # On a busy machine they may have run out of patience with each other.
    rounds.append(partitions.maintain(bare))

    assert sorted(name for done in rounds for name in done.created) == _partitions(bare)
    assert [name for done in rounds for name in done.dropped] == ["runs_old"]
    assert _bounds(bare) == [(0, 1), (1, 2), (2, 3), (3, 4)]
