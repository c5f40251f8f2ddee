from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgtask.database import health
from pgtask.model.errors import NotSeenError
from pgtask.model.schema_checks import INDEXES
from tests.command_line import add_live_worker, add_run, on_terminal, run
from tests.rows import Connection, ago, insert

SERVER = {"route", "clock", "server", "durability", "autovacuum", "shared_buffers", "max_wal_size", "timeouts"}
SERVER |= {"wraparound", "horizon", "schema"}


def checks(database: str, *, problems: set[str] | None = None, code: int = 1) -> dict[str, dict[str, Any]]:
    """What the doctor says, by the name of the check; the gravest where there are several.

    `problems` are all that it must find, and `code` how it must exit when there are any. That the servers of the tests
    may lose data in a crash is none of their business.
    """
    result = run(database, "doctor", "--json")
    found = json.loads(result.stdout)["checks"]
    order = ["ok", "unknown", "warning", "problem"]
    gravest = {check["name"]: check for check in sorted(found, key=lambda check: order.index(check["status"]))}
    named = {name for name, check in gravest.items() if check["status"] == "problem"}
    assert named - {"durability"} == (problems or set())
    assert result.exit_code == (code if named else 0)
    return gravest


def test_a_healthy_database_has_no_problem(database: str, connection: Connection) -> None:
    add_live_worker(connection)
    found = checks(database)
    assert set(found) >= SERVER | {"grants", "dead rows", "bloat", "disk", "indexes", "sequences", "partitions", "feed"}
    assert set(found) >= {"default partition", "retention", "connections", "workers", "queues", "tasks"}
    assert [check for check in found.values() if check["status"] == "unknown"] == []
    for check in found.values():
        assert set(check) == {"name", "status", "found", "remedy"}
        assert (check["remedy"] is None) == (check["status"] == "ok")


def test_without_a_schema_that_is_the_problem(empty_database: str) -> None:
    found = checks(empty_database, problems={"schema"})
    assert set(found) == SERVER
    assert found["schema"]["status"] == "problem"
    assert found["schema"]["remedy"] == "Create it: pgtask db migrate"


def test_a_server_that_does_not_answer_is_one_more_finding(tmp_path: object) -> None:
    found = checks(f"postgresql://u:secret@/x?host={tmp_path}", problems={"connection"}, code=4)
    assert found["connection"]["status"] == "problem"
    assert "secret" not in str(found)


def test_people_and_pipes_are_told_what_to_do(database: str, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, paused_at) VALUES ('mail', now())")
    insert(connection, "t", queue="mail", count=2)
    result = run(database, "doctor")
    assert result.exit_code == 1
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    (queues,) = [row for row in rows if row[1] == "queues"]
    assert queues[0] == "warning"
    assert queues[3].endswith("pgtask queues resume mail")
    for columns in (80, 140):
        shown = on_terminal(database, "doctor", columns=columns)
        assert "no worker is alive and 2 jobs wait" in shown
        assert max(len(line) for line in shown.splitlines()) <= columns


def test_what_nobody_will_run_is_found(database: str, connection: Connection) -> None:
    add_live_worker(connection, queues=["default"], started_at=ago(60))
    connection.execute("INSERT INTO pgtask.tasks (name) VALUES ('known')")
    insert(connection, "known", count=3)
    insert(connection, "lonely", count=2, scheduled_at=ago(100))
    insert(connection, "known", queue="mail")
    found = checks(database, problems={"tasks", "queues"})
    assert found["tasks"]["status"] == "problem"
    assert "lonely (2 jobs, oldest 1 m 40 s)" in found["tasks"]["found"]
    assert found["queues"]["status"] == "problem"
    assert "mail (1 job)" in found["queues"]["found"]


def test_dead_and_lost_workers_are_found(database: str, connection: Connection) -> None:
    add_live_worker(connection)
    add_live_worker(connection, "gone", expires_at=ago(100), dead_at=ago(50))
    add_live_worker(connection, "silent", expires_at=ago(10))
    found = checks(database, problems={"lost workers"})
    assert "gone" in found["dead workers"]["found"]
    assert "silent" in found["lost workers"]["found"]


def test_partitions_and_what_fell_beside_them_are_found(database: str, connection: Connection) -> None:
    connection.execute("UPDATE pgtask.settings SET value = 'null' WHERE name = 'retention_days'")
    add_run(connection, 1, finished_at=ago(400 * 86400))
    found = checks(database)
    assert found["default partition"]["status"] == "warning"
    assert found["retention"]["status"] == "warning"
    assert found["partitions"]["status"] == "ok"
    names = connection.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = 'pgtask.runs'::regclass AND c.relname <> 'runs_default'"
    ).fetchall()
    for (name,) in names:
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("pgtask", name)))
    assert checks(database, problems={"partitions"})


def test_indexes_that_are_missing_or_invalid_are_found(database: str, connection: Connection) -> None:
    connection.execute("DROP INDEX pgtask.job_logs_logged_at")
    connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'pgtask.jobs_unique_key'::regclass")
    result = run(database, "doctor")
    remarks = [row[2] for row in (line.split("\t") for line in result.stdout.splitlines()) if row[1] == "indexes"]
    assert remarks == ["missing: job_logs_logged_at", "jobs_unique_key on jobs is invalid, so it is not used"]


def test_the_list_of_indexes_is_that_of_the_schema(reader: Connection) -> None:
    names = reader.execute(
        "SELECT c.relname FROM pg_index i "
        "JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid "
        "JOIN pg_namespace n ON n.oid = t.relnamespace WHERE n.nspname = 'pgtask' AND NOT c.relispartition "
        "AND t.relname <> 'schema_version'"
    )
    assert {name for (name,) in names} == INDEXES


def test_who_holds_back_vacuum_is_named(database: str, connection: Connection) -> None:
    with psycopg.connect(database, application_name="forgetful") as other:
        other.execute("SELECT FROM pgtask.jobs")
        holders, hidden = health.read_horizon(connection)
        (found,) = [holder for holder in holders if holder.pid == other.info.backend_pid]
    assert (found.kind, found.name, found.state, hidden) == ("transaction", "forgetful", "idle in transaction", 0)
    assert found.age is not None


def test_a_locked_schema_is_not_waited_for(database: str, connection: Connection) -> None:
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE pgtask.jobs IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(NotSeenError, match="locked"):
            health.read_tables(connection)
        found = checks(database)
    assert "locked" in found["tables"]["found"]


def test_one_connection_for_each_is_no_pooler(database: str, connection: Connection) -> None:
    route = health.read_route(database, connection, "test")
    assert (route.pooled, route.indirect) == (False, False)
    assert 0 < route.round_trip < 60


def test_a_server_process_shared_by_two_connections_betrays_a_pooler(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As behind a transaction pooler: what a second connection asks goes to the process that the first has left.
    shared = SimpleNamespace(cursor=connection.cursor, close=lambda: None)
    monkeypatch.setattr(health, "connect", lambda *_, **__: shared)
    assert health.read_route(database, connection, "test").pooled


@pytest.fixture
def poor_role(database: str, pgtask_server: str) -> Iterator[str]:
    """The connection string of a role without any grant."""
    name = f"poor_{uuid4().hex[:8]}"
    with psycopg.connect(pgtask_server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        yield make_conninfo(database, user=name)
        with psycopg.connect(database, autocommit=True) as own:
            own.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_a_role_without_grants_is_told_so(poor_role: str) -> None:
    found = checks(poor_role, problems={"schema"})
    assert found["server"]["status"] == "ok"
    assert found["schema"]["status"] == "problem"


def test_a_role_that_sees_little_says_what_it_did_not_see(poor_role: str, connection: Connection) -> None:
    role = sql.Identifier(psycopg.conninfo.conninfo_to_dict(poor_role)["user"])  # type: ignore[arg-type]
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA pgtask TO {}").format(role))
    connection.execute(sql.SQL("GRANT SELECT ON pgtask.schema_version, pgtask.jobs TO {}").format(role))
    connection.execute(sql.SQL("GRANT INSERT ON pgtask.jobs TO {}").format(role))
    found = checks(poor_role)
    assert found["horizon"]["status"] == "unknown"
    assert found["partitions"]["status"] == "unknown"
    assert found["workers"]["status"] == "unknown"
    assert "may enqueue, not read, work, maintain" in found["grants"]["found"]


def test_looking_takes_no_lock_that_a_job_would_wait_for(database: str, connection: Connection) -> None:
    insert(connection, "t", count=10)
    modes: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        with psycopg.connect(database, autocommit=True) as other:
            while not stop.is_set():
                query = (
                    "SELECT DISTINCT l.mode FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                    "JOIN pg_class c ON c.oid = l.relation AND c.relnamespace = 'pgtask'::regnamespace "
                    "AND c.relkind <> 'S' "  # whoever reads a sequence locks it as those who draw from it
                    "WHERE a.application_name LIKE '%doctor' AND a.datname = current_database()"
                )
                modes.update(row[0] for row in other.execute(query))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        run(database, "doctor")
    finally:
        stop.set()
        watching.join()
    assert modes == {"AccessShareLock"}


def test_who_does_not_get_events_is_named(database: str, connection: Connection) -> None:
    assert checks(database)["feed"]["status"] == "ok"
    connection.execute("SELECT * FROM pgtask.read_feed('bill')")
    connection.execute("UPDATE pgtask.feed_consumers SET position = '9-1-1-1'")

    assert checks(database)["feed"]["found"] == "consumer bill has lost events"
