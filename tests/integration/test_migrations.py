"""Upgrading and downgrading a database, alone and in a crowd, and what goes wrong on the way."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from pgtask.database import migrations
from pgtask.model.errors import ConfigurationError, DatabaseUnavailableError, SchemaError
from tests.support import eventually

# Migrations that wait for another's transaction; read outside of one, which would see them frozen.
BLOCKED = """
    SELECT pid FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = 'pgtask migrate'
       AND wait_event_type = 'Lock' AND wait_event = 'transactionid'
"""


@contextmanager
def _last_object_locked(url: str) -> Iterator[psycopg.Connection]:
    """Someone is about to create what a migration creates last, so that it waits near its end."""
    with psycopg.connect(url, autocommit=True) as watcher, psycopg.connect(url) as other:
        watcher.execute("CREATE SCHEMA IF NOT EXISTS pgtask")
        other.execute("CREATE VIEW pgtask.all_jobs AS SELECT 1")
        yield watcher
        other.rollback()


@contextmanager
def _role(url: str) -> Iterator[str]:
    """A role without rights."""
    name = f"pgtask_test_{uuid4().hex[:16]}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
        try:
            yield name
        finally:
            admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(name)))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def _exists(url: str, relation: str) -> bool:
    with psycopg.connect(url) as reader:
        return reader.execute("SELECT to_regclass(%s)", [relation]).fetchone() != (None,)


def test_a_new_database_gets_every_revision_once(empty_database: str) -> None:
    known = migrations.revisions()

    assert migrations.status(empty_database) == migrations.MigrationStatus(
        current=None, head=known[-1], pending=known, up_to_date=False
    )
    assert migrations.migrate(empty_database) == known
    assert migrations.status(empty_database) == migrations.MigrationStatus(
        current=known[-1], head=known[-1], pending=[], up_to_date=True
    )
    assert migrations.migrate(empty_database) == []


def test_a_migrated_database_has_a_partition_for_the_runs_of_today(database: str) -> None:
    with psycopg.connect(database) as connection:
        row = connection.execute("""
            INSERT INTO pgtask.runs (job_id, outcome, priority, final, queue, task)
            VALUES (1, 'completed', 1, true, 'default', 'echo') RETURNING tableoid::regclass::text
        """).fetchone()

    assert row is not None
    assert row[0] != "pgtask.runs_default"


def test_downgrading_takes_everything_away_and_upgrading_brings_it_back(database: str) -> None:
    assert migrations.downgrade(database, "base") == migrations.revisions()[::-1]
    assert not _exists(database, "pgtask.jobs")
    assert migrations.status(database).current is None

    assert migrations.migrate(database) == migrations.revisions()
    assert _exists(database, "pgtask.jobs")


@pytest.mark.parametrize("form", ["keywords", "url"])
def test_any_connection_string_of_libpq_will_do(empty_database: str, form: str) -> None:
    given = {key: str(value) for key, value in conninfo_to_dict(empty_database).items()}
    host, name = given.pop("host", ""), given.pop("dbname")
    with tempfile.TemporaryDirectory(prefix="two words 100% ") as folder:
        if host.startswith("/"):
            link = Path(folder, "socket")
            link.symlink_to(host)
            host = str(link)
        if form == "keywords":
            url = make_conninfo(host=host, dbname=name, **given)
        else:
            rest = "&".join(f"{key}={quote(value)}" for key, value in given.items())
            url = f"postgresql:///{name}?host={quote(host, safe='')}&{rest}"

        assert migrations.migrate(url) == migrations.revisions()
        assert migrations.status(url).up_to_date


def test_the_bookkeeping_of_a_host_application_is_left_alone(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as host:
        host.execute("CREATE TABLE public.alembic_version (version_num text)")
        host.execute("INSERT INTO public.alembic_version VALUES ('theirs')")

        migrations.migrate(empty_database)
        migrations.downgrade(empty_database, "base")

        assert host.execute("TABLE public.alembic_version").fetchall() == [("theirs",)]


def test_an_unknown_target_is_refused_by_name(database: str) -> None:
    with pytest.raises(SchemaError, match=r"no revision 'tomorrow': use head or one of 0001"):
        migrations.migrate(database, target="tomorrow")
    with pytest.raises(SchemaError, match=r"no revision 'head': use base or one of 0001"):
        migrations.downgrade(database, "head")


def test_check_accepts_the_schema_of_this_release(connection: psycopg.Connection) -> None:
    migrations.check(connection)


def test_check_works_with_the_rows_of_any_connection(database: str) -> None:
    with psycopg.connect(database, row_factory=dict_row) as connection:
        migrations.check(connection)


def test_check_says_what_to_do_without_a_schema(empty_database: str) -> None:
    with psycopg.connect(empty_database) as connection:
        with pytest.raises(SchemaError, match="no pgtask schema: run pgtask db migrate"):
            migrations.check(connection)
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_check_says_what_to_do_with_an_older_schema(connection: psycopg.Connection) -> None:
    connection.execute("UPDATE pgtask.schema_version SET version_num = '0000'")

    with pytest.raises(SchemaError, match=r"at revision 0000 .* run pgtask db migrate"):
        migrations.check(connection)


def test_check_says_what_to_do_with_a_newer_schema(connection: psycopg.Connection) -> None:
    connection.execute("UPDATE pgtask.schema_version SET version_num = '9999'")

    with pytest.raises(SchemaError, match=r"at revision 9999, newer .* upgrade pgtask"):
        migrations.check(connection)


def test_check_says_what_to_do_for_a_role_without_rights(database: str) -> None:
    with (
        _role(database) as name,
        psycopg.connect(database, options=f"-c role={name}") as connection,
        pytest.raises(SchemaError, match=r"may not read .* run pgtask db grant"),
    ):
        migrations.check(connection)


def test_a_newer_schema_is_not_touched(
    database: str,
    connection: psycopg.Connection,
) -> None:
    connection.execute("UPDATE pgtask.schema_version SET version_num = '9999'")

    with pytest.raises(SchemaError, match="upgrade pgtask"):
        migrations.migrate(database)
    with pytest.raises(SchemaError, match="upgrade pgtask"):
        migrations.downgrade(database, "base")
    status = migrations.status(database)
    assert (status.current, status.pending, status.up_to_date) == ("9999", [], False)


def test_a_server_that_does_not_answer_is_named_in_one_line() -> None:
    with pytest.raises(DatabaseUnavailableError, match=r"127\.0\.0\.1:1\b") as caught:
        migrations.migrate("postgresql://postgres@127.0.0.1:1/postgres")
    assert len(str(caught.value).splitlines()) == 1


def test_a_malformed_url_is_the_callers_mistake() -> None:
    with pytest.raises(ConfigurationError):
        migrations.migrate("not a connection string")


def test_a_server_that_is_too_old_is_refused(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "OLDEST_SERVER", 99)

    with pytest.raises(SchemaError, match="pgtask needs 99 or newer"):
        migrations.migrate(empty_database)


def test_a_role_without_rights_is_told_so(empty_database: str) -> None:
    with _role(empty_database) as name:
        url = make_conninfo(empty_database, options=f"-c role={name}")
        with pytest.raises(SchemaError, match=r"server refused .*permission denied"):
            migrations.migrate(url)


def test_a_role_that_owns_the_schema_needs_no_rights_in_the_database(empty_database: str) -> None:
    with _role(empty_database) as name, psycopg.connect(empty_database) as admin:
        admin.execute(sql.SQL("CREATE SCHEMA pgtask AUTHORIZATION {}").format(sql.Identifier(name)))
        admin.commit()
        url = make_conninfo(empty_database, options=f"-c role={name}")

        assert migrations.migrate(url) == migrations.revisions()


def test_the_limits_of_a_role_do_not_cut_a_migration_short(empty_database: str) -> None:
    limits = "-c statement_timeout=5s -c idle_in_transaction_session_timeout=5s -c lock_timeout=0"
    url = make_conninfo(empty_database, options=limits)

    with migrations.transaction(url) as connection:
        shown = {
            name: connection.exec_driver_sql(f"SHOW {name}").scalar()
            for name in ("statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout")
        }

    assert shown == {
        "statement_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "lock_timeout": "3s",
    }


def test_tables_in_use_are_tried_again_until_they_are_free(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = 0
    attempt = migrations._attempt

    def counted(*arguments: Any) -> list[str]:
        nonlocal attempts
        attempts += 1
        return attempt(*arguments)

    monkeypatch.setattr(migrations, "TABLE_LOCK_TIMEOUT", 0.02)
    monkeypatch.setattr(migrations, "_attempt", counted)
    with ThreadPoolExecutor(1) as pool:
        with _last_object_locked(empty_database):
            migrated = pool.submit(migrations.migrate, empty_database)
            eventually(lambda: attempts > 1)
        assert migrated.result(timeout=30) == migrations.revisions()


def test_tables_in_use_for_too_long_leave_everything_as_it_was(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "TABLE_LOCK_TIMEOUT", 0.02)
    with (
        _last_object_locked(empty_database),
        pytest.raises(SchemaError, match=r"stayed locked by other transactions for 0\.1 s"),
    ):
        migrations.migrate(empty_database, lock_timeout=0.1)
    assert not _exists(empty_database, "pgtask.jobs")
    assert not _exists(empty_database, "pgtask.schema_version")


def test_another_migration_is_waited_for_only_so_long(empty_database: str) -> None:
    with (
        migrations.lock(empty_database),
        pytest.raises(SchemaError, match=r"Another migration .* within 0\.05 s"),
    ):
        migrations.migrate(empty_database, lock_timeout=0.05)


def test_a_killed_migration_leaves_nothing_behind(empty_database: str) -> None:
    code = "import sys; from pgtask.database import migrations; migrations.migrate(sys.argv[1])"
    with _last_object_locked(empty_database) as watcher:
        process = subprocess.Popen([sys.executable, "-c", code, empty_database])
        try:
            eventually(lambda: watcher.execute(BLOCKED).fetchone())
        finally:
            process.kill()
            process.wait()

    assert migrations.migrate(empty_database) == migrations.revisions()
    assert _exists(empty_database, "pgtask.all_jobs")


def test_a_server_lost_on_the_way_is_reported_and_nothing_is_left(empty_database: str) -> None:
    with ThreadPoolExecutor(1) as pool, _last_object_locked(empty_database) as watcher:
        migrated = pool.submit(migrations.migrate, empty_database)
        eventually(lambda: watcher.execute(BLOCKED).fetchone())
        watcher.execute(f"SELECT pg_terminate_backend(pid) FROM ({BLOCKED}) AS blocked")

        with pytest.raises(DatabaseUnavailableError):
            migrated.result(timeout=30)
    assert not _exists(empty_database, "pgtask.jobs")
