"""Bringing the schema of a database to the version that this release works with.

Alembic does the bookkeeping, in a table of its own in schema pgtask, so that the Alembic of a host
application is not disturbed. It and SQLAlchemy are imported only where they work: a worker, which
just calls `check`, does without.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors
from psycopg.rows import tuple_row

from pgtask.database import partitions, statements
from pgtask.database.connection import connect, lost, one_line, unreachable
from pgtask.model.errors import DatabaseUnavailableError, SchemaError

if TYPE_CHECKING:
    import sqlalchemy
    from alembic.config import Config
    from alembic.runtime.migration import MigrationInfo

SCHEMA = "pgtask"
VERSION_TABLE = "schema_version"
OLDEST_SERVER = 15

# Seconds that a migration waits for a table before it lets the claims behind it pass.
TABLE_LOCK_TIMEOUT = 3.0

_CREATE_SCHEMA = statements.load("create_schema")
_LIMIT_WAITING = statements.load("limit_waiting")
_LOCK = statements.load("lock_migrations")
_VERSION = statements.load("schema_version")
_LIMIT_READING = statements.load("limit_reading")

_STATUS_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """Where a schema is (None: it is missing), where this release is, and the way between."""

    current: str | None
    head: str
    pending: list[str]
    up_to_date: bool


def migrate(url: str, *, lock_timeout: float = 60.0, target: str = "head") -> list[str]:
    """Upgrades the schema to `target` and returns the revisions applied, oldest first.

    Any number of processes may call it at once: one works, the others wait and find it done. All of
    it happens in one transaction, or nothing does. `lock_timeout` is how many seconds to wait for
    another migration, and for transactions that hold the tables.
    Raises SchemaError when that is not enough, when the schema is newer than this release, or when
    the server refuses; DatabaseUnavailableError when it does not answer.
    """
    _known(target, "head")

    def upgrade(config: Config) -> None:
        from alembic import command

        command.upgrade(config, target)

    with _translated(url), lock(url, lock_timeout):
        applied = _change(url, lock_timeout, upgrade)
        # Still under the lock, so that whoever waited for it finds today's partition as well.
        with contextlib.closing(_connect(url)) as connection:
            if _current(connection) == revisions()[-1]:
                partitions.maintain(connection)
    return applied


def downgrade(url: str, target: str, *, lock_timeout: float = 60.0) -> list[str]:
    """Takes the schema back to `target`, a revision or "base", and returns the revisions reverted.

    What later revisions added is dropped with its data. Waits and raises as `migrate` does.
    """
    _known(target, "base")

    def revert(config: Config) -> None:
        from alembic import command

        command.downgrade(config, target)

    with _translated(url), lock(url, lock_timeout):
        return _change(url, lock_timeout, revert)


def status(url: str) -> MigrationStatus:
    """Compares a database's schema with this release. Raises DatabaseUnavailableError."""
    with (
        _translated(url),
        contextlib.closing(_connect(url)) as connection,
        connection.transaction(),
    ):
        connection.execute(_LIMIT_READING, {"milliseconds": f"{_STATUS_TIMEOUT * 1000:.0f}"})
        current = _current(connection)
    known = revisions()
    pending = [revision for revision in known if current is None or revision > current]
    return MigrationStatus(current, known[-1], pending, current == known[-1])


def check(connection: psycopg.Connection[Any]) -> None:
    """Raises SchemaError unless the schema is exactly the one that this release works with."""
    current, head = _current(connection), revisions()[-1]
    if current is None:
        raise SchemaError("This database has no pgtask schema: run pgtask db migrate.")
    if current < head:
        raise SchemaError(
            f"The pgtask schema is at revision {current} and this release needs {head}: run pgtask db migrate."
        )
    if current > head:
        raise _newer(current)


def revisions() -> list[str]:
    """The revisions that this release knows, oldest first."""
    names = (file.name for file in files("pgtask.migrations.versions").iterdir())
    return sorted(name.partition("_")[0] for name in names if name.endswith(".up.sql"))


@contextlib.contextmanager
def lock(url: str, timeout: float = 60.0) -> Iterator[None]:
    """Keeps all other migrations of the database out, from a session of its own.

    Raises SchemaError when another one holds it for longer than `timeout` seconds.
    """
    with contextlib.closing(_session(url)) as session:
        _limit_waiting(session, timeout)
        try:
            session.execute(_LOCK)
        except errors.LockNotAvailable as error:
            raise SchemaError(
                f"Another migration of this database has not ended within {timeout:g} s: "
                "wait for it or end it, then run pgtask db migrate again."
            ) from error
        yield


@contextlib.contextmanager
def transaction(url: str) -> Iterator[sqlalchemy.Connection]:
    """A transaction for Alembic in a session of its own; schema pgtask exists, waits are short."""
    import sqlalchemy

    # SQLAlchemy is given the connection, not the URL: it reads URLs by rules of its own.
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: _session(url),
        poolclass=sqlalchemy.NullPool,
    )
    try:
        with engine.begin() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            _limit_waiting(driver, TABLE_LOCK_TIMEOUT)
            driver.execute(_CREATE_SCHEMA)
            current = _current(driver)
            if current is not None and current > revisions()[-1]:
                raise _newer(current)
            yield connection
    except sqlalchemy.exc.DBAPIError as error:
        raise error.orig or error from error


def _change(url: str, patience: float, command: Callable[[Config], None]) -> list[str]:
    """Runs an Alembic command, again while tables are locked; the revisions it went through."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return _attempt(url, command)
        except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
            if time.monotonic() >= deadline:
                raise SchemaError(
                    f"The tables of pgtask stayed locked by other transactions for {patience:g} s: "
                    "nothing was changed. End those or wait, then run pgtask db migrate again."
                ) from error
        # Long enough for the claims that queued up behind us.
        time.sleep(random.uniform(0.2, 1.0))


def _attempt(url: str, command: Callable[[Config], None]) -> list[str]:
    from alembic.config import Config

    config = Config()
    location = str(files("pgtask.migrations"))
    config.set_main_option("script_location", location.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    steps: list[MigrationInfo] = []
    with transaction(url) as connection:
        config.attributes.update(connection=connection, steps=steps)
        command(config)
    return [str(step.up_revision_id) for step in steps]


def _connect(url: str) -> psycopg.Connection:
    # Whatever lies in between: nothing here needs more of its session than a transaction pooler keeps.
    return connect(url, application_name="pgtask migrate", statement_timeout=None, pooled=True)


def _session(url: str) -> psycopg.Connection:
    session = _connect(url)
    version = session.info.server_version // 10000
    if version < OLDEST_SERVER:
        session.close()
        raise SchemaError(f"This server is PostgreSQL {version}: pgtask needs {OLDEST_SERVER} or newer.")
    session.autocommit = False
    return session


def _limit_waiting(session: psycopg.Connection, seconds: float) -> None:
    session.execute(_LIMIT_WAITING, {"lock_timeout": f"{seconds * 1000:.0f}"})


def _current(connection: psycopg.Connection[Any]) -> str | None:
    """The revision that the schema is at; None when there is none."""
    try:
        with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
            row = cursor.execute(_VERSION).fetchone()
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        return None
    except errors.InsufficientPrivilege as error:
        raise SchemaError(
            f"This role may not read the pgtask schema ({one_line(error)}): run pgtask db grant for it."
        ) from error
    return None if row is None else str(row[0])


def _known(target: str, symbol: str) -> None:
    if target not in (symbol, *revisions()):
        raise SchemaError(f"There is no revision {target!r}: use {symbol} or one of {', '.join(revisions())}.")


def _newer(current: str) -> SchemaError:
    return SchemaError(f"The pgtask schema is at revision {current}, newer than this release: upgrade pgtask.")


@contextlib.contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise SchemaError(
            f"The server refused the migration ({one_line(error)}): "
            "run it as a role that may create or owns schema pgtask."
        ) from error
    except psycopg.Error as error:
        if lost(error):
            raise DatabaseUnavailableError(unreachable(url, error)) from error
        raise
