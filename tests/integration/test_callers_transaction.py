"""Enqueueing in transactions that SQLAlchemy or Django manage: the job exists if they commit, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import django
import psycopg
import pytest
import sqlalchemy
from django.conf import settings
from django.db import connections, transaction
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

from pgtask import PgTask, PgTaskError
from pgtask.engine.task import Task
from tests.rows import number

Connection = psycopg.Connection[Any]
DRIVER = "postgresql+psycopg://"


@pytest.fixture
def plain(database: str) -> Iterator[Task[Any]]:
    """A task that takes anything."""
    with PgTask(database) as app:
        yield app.task(name="t")(take)


def take(**values: Any) -> None:
    """Takes anything."""


def jobs(connection: Connection) -> int:
    return number(connection, "SELECT count(*) FROM pgtask.jobs")


# SQLAlchemy


@pytest.fixture
def engine(database: str) -> Iterator[sqlalchemy.Engine]:
    made = sqlalchemy.create_engine(DRIVER, creator=lambda: psycopg.connect(database), poolclass=NullPool)
    yield made
    made.dispose()


@pytest.mark.parametrize("before", [False, True], ids=["first", "after-a-statement"])
@pytest.mark.parametrize("commit", [False, True], ids=["rollback", "commit"])
def test_a_session_takes_its_jobs_along(
    engine: sqlalchemy.Engine, plain: Task[Any], connection: Connection, before: bool, commit: bool
) -> None:
    with Session(engine) as session:
        if before:
            session.execute(sqlalchemy.text("SELECT 1"))
        plain.options(connection=session).enqueue(a=1)
        plain.options(connection=session).enqueue_many([{}, {}])
        assert jobs(connection) == 0
        if commit:
            session.commit()
        else:
            session.rollback()

    assert jobs(connection) == (3 if commit else 0)


def test_a_session_that_is_closed_without_a_commit_leaves_no_job(
    engine: sqlalchemy.Engine, plain: Task[Any], connection: Connection
) -> None:
    with Session(engine) as session:
        plain.options(connection=session).enqueue()

    assert jobs(connection) == 0


def test_savepoints_of_a_session_take_their_jobs_along(
    engine: sqlalchemy.Engine, plain: Task[Any], connection: Connection
) -> None:
    with Session(engine) as session, session.begin():
        kept = plain.options(connection=session).enqueue()
        with session.begin_nested() as nested:
            plain.options(connection=session).enqueue()
            nested.rollback()
        with session.begin_nested():
            also = plain.options(connection=session).enqueue()

    assert connection.execute("SELECT id FROM pgtask.jobs ORDER BY id").fetchall() == [(kept.id,), (also.id,)]


def test_a_scoped_session_and_a_subclass_are_sessions_too(
    engine: sqlalchemy.Engine, plain: Task[Any], connection: Connection
) -> None:
    class Mine(Session): ...

    scoped = scoped_session(sessionmaker(engine))
    plain.options(connection=scoped).enqueue()
    scoped.commit()
    scoped.remove()
    with Mine(engine) as session, session.begin():
        plain.options(connection=session).enqueue()

    assert jobs(connection) == 2


@pytest.mark.parametrize("commit", [False, True], ids=["rollback", "commit"])
def test_a_connection_takes_its_jobs_along(
    engine: sqlalchemy.Engine, plain: Task[Any], connection: Connection, commit: bool
) -> None:
    with engine.connect() as own:
        plain.options(connection=own).enqueue()
        assert jobs(connection) == 0
        if commit:
            own.commit()

    assert jobs(connection) == commit


def test_a_savepoint_of_a_connection_takes_its_jobs_along(
    engine: sqlalchemy.Engine, plain: Task[Any], connection: Connection
) -> None:
    with engine.begin() as own:
        kept = plain.options(connection=own).enqueue()
        nested = own.begin_nested()
        plain.options(connection=own).enqueue()
        nested.rollback()

    assert connection.execute("SELECT id FROM pgtask.jobs").fetchall() == [(kept.id,)]


@asynccontextmanager
async def async_session(database: str) -> AsyncIterator[AsyncSession]:
    async def connect() -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(database)

    engine = create_async_engine(DRIVER, async_creator=connect, poolclass=NullPool)
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


@pytest.mark.parametrize("commit", [False, True], ids=["rollback", "commit"])
@pytest.mark.parametrize("kind", ["session", "connection"])
def test_their_asyncio_twins_take_their_jobs_along(
    database: str, plain: Task[Any], connection: Connection, commit: bool, kind: str
) -> None:
    async def work() -> None:
        async with async_session(database) as session:
            own: AsyncSession | AsyncConnection = session
            if kind == "connection":
                assert isinstance(session.bind, AsyncEngine)
                own = await session.bind.connect()
            await plain.options(connection=own).enqueue_async()
            nested = await own.begin_nested()
            await plain.options(connection=own).enqueue_async()
            await nested.rollback()
            assert jobs(connection) == 0
            if commit:
                await own.commit()
            await own.close()

    asyncio.run(work())

    assert jobs(connection) == commit


# Django


@pytest.fixture(scope="session")
def configured() -> None:
    backend = {"ENGINE": "django.db.backends.postgresql", "NAME": "replaced by each test"}
    settings.configure(DATABASES={"default": backend}, USE_TZ=True)
    django.setup()


@pytest.fixture
def own(configured: None, database: str) -> Iterator[Any]:
    """django.db.connection, on the test's database."""
    given = conninfo_to_dict(database)
    own = connections["default"]
    own.settings_dict.update(
        NAME=given["dbname"], USER=given.get("user", ""), HOST=given.get("host", ""), PORT=str(given.get("port") or "")
    )
    own.settings_dict["PASSWORD"] = given.get("password", "")
    yield django.db.connection
    own.close()


@pytest.mark.parametrize("commit", [False, True], ids=["rollback", "commit"])
def test_an_atomic_block_takes_its_jobs_along(own: Any, plain: Task[Any], connection: Connection, commit: bool) -> None:
    class UndoError(Exception): ...

    def work() -> None:
        with transaction.atomic():
            plain.options(connection=own).enqueue(a=1)
            plain.options(connection=own).enqueue_many([{}, {}])
            assert jobs(connection) == 0
            if not commit:
                raise UndoError

    if commit:
        work()
    else:
        with pytest.raises(UndoError):
            work()

    assert jobs(connection) == (3 if commit else 0)


def test_an_inner_atomic_block_takes_its_jobs_along(own: Any, plain: Task[Any], connection: Connection) -> None:
    with transaction.atomic():
        kept = plain.options(connection=own).enqueue()
        point = transaction.savepoint()
        plain.options(connection=own).enqueue()
        transaction.savepoint_rollback(point)
        with transaction.atomic():
            also = plain.options(connection=own).enqueue()

    assert connection.execute("SELECT id FROM pgtask.jobs ORDER BY id").fetchall() == [(kept.id,), (also.id,)]


def test_without_a_block_django_commits_at_once(own: Any, plain: Task[Any], connection: Connection) -> None:
    plain.options(connection=own).enqueue()

    assert jobs(connection) == 1


def test_a_block_that_is_to_be_rolled_back_takes_no_more_jobs(own: Any, plain: Task[Any]) -> None:
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(transaction.TransactionManagementError):
            plain.options(connection=own).enqueue()


# What is refused


def fake(module: str, name: str = "connection") -> Any:
    """An object of a class that another library might have defined."""
    return type(name, (), {"__module__": module})()


@pytest.mark.parametrize("module", ["psycopg2.extensions", "asyncpg.connection", "builtins"])
def test_other_drivers_are_refused_by_name(plain: Task[Any], module: str) -> None:
    with pytest.raises(PgTaskError, match=f"{module.partition('.')[0]}.*psycopg 3"):
        plain.options(connection=fake(module)).enqueue()
    with pytest.raises(PgTaskError, match=f"{module.partition('.')[0]}.*psycopg 3"):
        asyncio.run(plain.options(connection=fake(module)).enqueue_async())


def test_other_databases_of_sqlalchemy_are_refused_by_name(plain: Task[Any]) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with Session(engine) as session, pytest.raises(PgTaskError, match=r"sqlite3.*postgresql\+psycopg"):
        plain.options(connection=session).enqueue()
    with pytest.raises(PgTaskError, match="a Session or Connection"):
        plain.options(connection=engine).enqueue()
    engine.dispose()


def test_the_wrong_kind_of_enqueue_is_named(plain: Task[Any], engine: sqlalchemy.Engine) -> None:
    async def wrong(own: Any) -> None:
        await plain.options(connection=own).enqueue_async()

    with Session(engine) as session, pytest.raises(PgTaskError, match="enqueue takes an ordinary one"):
        asyncio.run(wrong(session))
    with pytest.raises(PgTaskError, match="use enqueue_async"):
        plain.options(connection=AsyncSession()).enqueue()
