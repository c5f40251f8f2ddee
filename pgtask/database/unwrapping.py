"""The psycopg connection inside what callers hand over to enqueue in their transaction.

SQLAlchemy's and Django's objects are known by the modules of their classes, so that neither has to be installed.
"""

from __future__ import annotations

from typing import Any

import psycopg

from pgtask.model.errors import PgTaskError


def unwrap(given: Any) -> psycopg.Connection[Any]:
    """The connection to use in the transaction that the caller has open, or that begins with this.

    Takes a psycopg.Connection, a Session or Connection of SQLAlchemy, or a connection of Django. Raises PgTaskError for
    anything else, for asyncio's, and for other drivers than psycopg 3.
    """
    if isinstance(given, psycopg.AsyncConnection) or _names(given, "sqlalchemy") & _SQLALCHEMY_ASYNC:
        raise PgTaskError("enqueue needs an ordinary connection; for an asyncio one use enqueue_async")
    names = _names(given, "sqlalchemy")
    if names & {"Session", "scoped_session"}:
        return _psycopg(_from_sqlalchemy(given.connection()), given)
    if "Connection" in names:
        return _psycopg(_from_sqlalchemy(given), given)
    if _names(given, "django"):
        return _psycopg(_from_django(given), given)
    return _psycopg(given, given)


async def unwrap_async(given: Any) -> psycopg.AsyncConnection[Any]:
    """`unwrap` for a psycopg.AsyncConnection, or an AsyncSession or AsyncConnection of SQLAlchemy."""
    inner, names = given, _names(given, "sqlalchemy")
    if names & {"AsyncSession", "async_scoped_session"}:
        inner, names = await given.connection(), {"AsyncConnection"}
    if "AsyncConnection" in names:
        if not inner.in_transaction():
            await inner.begin()
        inner = (await inner.get_raw_connection()).driver_connection
    if isinstance(inner, psycopg.AsyncConnection):
        return inner
    if isinstance(inner, psycopg.Connection) or names or _names(given, "django"):
        if _driver(inner) == "asyncpg":
            raise _wrong_driver(inner, given)
        raise PgTaskError(
            "enqueue_async needs a psycopg.AsyncConnection, or an AsyncSession or AsyncConnection of SQLAlchemy; "
            "enqueue takes an ordinary one"
        )
    raise _wrong_driver(inner, given)


def _from_sqlalchemy(connection: Any) -> Any:
    # As its own execute does; without, its commit would have nothing to commit.
    if not connection.in_transaction():
        connection.begin()
    return connection.connection.driver_connection


def _from_django(wrapper: Any) -> Any:
    if not hasattr(wrapper, "ensure_connection"):
        return wrapper
    wrapper.ensure_connection()
    wrapper.validate_no_broken_transaction()
    return wrapper.connection


def _psycopg(inner: Any, given: Any) -> psycopg.Connection[Any]:
    if isinstance(inner, psycopg.Connection):
        return inner
    raise _wrong_driver(inner, given)


def _wrong_driver(inner: Any, given: Any) -> PgTaskError:
    needed = "a psycopg 3 connection"
    if _names(given, "sqlalchemy"):
        needed = "a Session or Connection of an engine made with postgresql+psycopg:// (psycopg 3)"
    elif _names(given, "django"):
        needed = "a connection of Django's PostgreSQL backend with psycopg 3 installed"
    return PgTaskError(f"Cannot enqueue on a connection of {_driver(inner)} ({type(inner).__name__}): give {needed}.")


_SQLALCHEMY_ASYNC = {"AsyncSession", "AsyncConnection", "async_scoped_session"}


def _names(given: Any, library: str) -> set[str]:
    """The names of the object's classes, base classes included, that this library has defined."""
    return {kind.__name__ for kind in type(given).__mro__ if kind.__module__.split(".")[0] == library}


def _driver(given: Any) -> str:
    return type(given).__module__.split(".")[0]
