"""Opening connections, and what PostgreSQL's errors mean to pgtask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import conninfo

from pgtask.database import statements
from pgtask.database.pooled import PooledConnection, PooledCursor
from pgtask.model.errors import ConfigurationError, DatabaseUnavailableError, NotAllowedError, SchemaError

Connection = psycopg.Connection[Any]

# The hot statements are planned once and without statistics: the numbers of a table that turns over in
# seconds are always wrong, and each other plan for them is two to six times slower.
HOT_SETTINGS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}

# A lease renewed just before the server crashed may be lost: it is renewed again long before it would have run out.
LEASE_SETTINGS = HOT_SETTINGS | {"synchronous_commit": "off"}

# A claim that a dead worker sent just before it was declared dead ends by then; rescue counts on it.
STATEMENT_TIMEOUT = 10.0

_READ_TIMEOUT = statements.load("read_statement_timeout")

SET_POOLED = "Set PGTASK_POOLED=true (worker: --pooled), or connect to PostgreSQL directly."

_KEEPALIVE = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}


def connect(
    url: str,
    *,
    application_name: str,
    settings: dict[str, str] | None = None,
    statement_timeout: float | None = STATEMENT_TIMEOUT,
    pooled: bool = False,
) -> Connection:
    """Opens a connection in autocommit mode.

    `url` is any libpq URL or connection string; `settings` are PostgreSQL settings for the session;
    `statement_timeout` is in seconds; `pooled` asks nothing of the session that a transaction pooler would not keep.
    Raises DatabaseUnavailableError when PostgreSQL does not answer or refuses, ConfigurationError for a malformed URL
    and when a pooler does not take what it is asked for.
    """
    values = dict(settings or {})
    if statement_timeout is not None:
        values["statement_timeout"] = f"{statement_timeout * 1000:.0f}"
    parameters = session_arguments(url, {} if pooled else values)
    parameters |= {"application_name": application_name, "autocommit": True}
    try:
        if pooled:
            opened = PooledConnection.connect(**parameters, prepare_threshold=None, cursor_factory=PooledCursor)
            opened.settings = values
            return opened
        return psycopg.connect(**parameters)
    except psycopg.OperationalError as error:
        if "unsupported startup parameter" in str(error):
            raise ConfigurationError(_refused_by_pooler(error, pooled=pooled)) from error
        raise DatabaseUnavailableError(unreachable(url, error)) from error


def session_arguments(url: str, settings: Mapping[str, str]) -> dict[str, Any]:
    """What libpq is told to open a session: the URL, PostgreSQL settings, and to notice soon that the network is gone.

    Raises ConfigurationError for a malformed URL.
    """
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(f"The database URL cannot be read: {one_line(error)}") from None
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    if options:
        given["options"] = f"{given.get('options') or ''} {options}".strip()
    return _KEEPALIVE | given


def check_session(connection: Connection) -> None:
    """Raises ConfigurationError when the settings that `connect` asked for have not reached the server.

    Poolers may be told to swallow what they cannot keep (PgBouncer: ignore_startup_parameters).
    """
    row = connection.execute(_READ_TIMEOUT).fetchone()
    if row is not None and row[0] != f"{STATEMENT_TIMEOUT * 1000:.0f}":
        raise ConfigurationError(f"A pooler drops the settings of pgtask's sessions. {SET_POOLED}")


def _refused_by_pooler(error: BaseException, *, pooled: bool) -> str:
    reason = _reason(error).removeprefix("FATAL:").strip()
    cure = "Take that parameter out of the database URL." if pooled else SET_POOLED
    return f"This is a pooler, and it refuses what a session is to be told ({reason}). {cure}"


def unreachable(url: str, error: BaseException) -> str:
    """One line that says which server did not answer, why, and what to do."""
    given = conninfo.conninfo_to_dict(url)
    place = f"{given.get('host') or 'the local socket'}"
    if given.get("port"):
        place += f":{given['port']}"
    return f"Cannot reach PostgreSQL at {place} ({_reason(error)}). Start it, or set PGTASK_DATABASE_URL."


def _reason(error: BaseException) -> str:
    # libpq says first what it tried, in words that the sentence around this has already said.
    return one_line(error).rpartition(" failed: ")[2]


def one_line(error: BaseException) -> str:
    """The first telling line of an error's text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def lost(error: BaseException) -> bool:
    """Whether the error says that this connection is of no more use and another should be tried.

    Class 08 and 57P01 to 57P05 (connection ended, server going down or starting), 25P03 and 25P04 (ended, as its
    transaction was idle or open for too long), 25006 (a demoted server, read-only), 53300 (no free connection), and any
    failure without a code, which is one of the connection itself.
    """
    if isinstance(error, (DatabaseUnavailableError, psycopg.InterfaceError)):
        return True
    if not isinstance(error, psycopg.Error):
        return isinstance(error, OSError)
    code = error.sqlstate
    if code is None:
        return isinstance(error, psycopg.OperationalError)
    return code[:2] == "08" or code[:4] == "57P0" or code in ("25006", "25P03", "25P04", "53300")


def refusal(error: BaseException) -> str | None:
    """Why PostgreSQL refused the data it was sent, or None when the error is of another kind."""
    kinds = (psycopg.errors.DataError, psycopg.errors.IntegrityError, psycopg.errors.ProgramLimitExceeded)
    if isinstance(error, kinds) and not lost(error):
        return error.diag.message_primary or one_line(error)
    return None


@contextmanager
def translate_errors(url: str = "") -> Iterator[None]:
    """Turns psycopg's errors about a lost server, a missing schema or missing rights into pgtask's own."""
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
        raise SchemaError(
            f"The pgtask schema is missing or incomplete ({one_line(error)}). Run: pgtask db migrate"
        ) from error
    except psycopg.errors.UndefinedFunction as error:
        raise SchemaError(
            f"The pgtask schema is older than this version ({one_line(error)}). Run: pgtask db migrate"
        ) from error
    except (psycopg.errors.DuplicatePreparedStatement, psycopg.errors.InvalidSqlStatementName) as error:
        raise ConfigurationError(
            f"A pooler swaps sessions between transactions ({one_line(error)}). {SET_POOLED}"
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise NotAllowedError(
            f"This database role may not do that ({one_line(error)}). See: pgtask db grant --help"
        ) from error
    except psycopg.Error as error:
        if lost(error):
            raise DatabaseUnavailableError(unreachable(url, error)) from error
        raise
