"""A database of its own for each test, copied from one that was migrated once."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import docker
import psycopg
import pytest
from docker.errors import DockerException
from psycopg import sql
from psycopg.conninfo import make_conninfo
from testcontainers.core.container import DockerContainer

from pgtask.database import embedded, migrations, roles
from tests.logins import Logins, made_logins
from tests.support import eventually

IMAGE = "postgres:18"
PORT = 5432

# A crash of the server loses nothing that a test would miss.
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


# A job in a shell's background ignores INT and passes that on; the programs that the tests start must not.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A server that tests may make databases on: one given, in Docker, or the embedded one."""
    given = os.environ.get("PGTASK_TEST_DATABASE_URL")
    with contextlib.ExitStack() as stack:
        yield given or _container(stack) or _embedded(stack)


def _container(stack: contextlib.ExitStack) -> str | None:
    if not _engine_answers():
        return None
    flags = [flag for name, value in SETTINGS.items() for flag in ("-c", f"{name}={value}")]
    try:
        container = stack.enter_context(
            DockerContainer(IMAGE)
            .with_env("POSTGRES_HOST_AUTH_METHOD", "trust")
            .with_exposed_ports(PORT)
            .with_command(["postgres", *flags])
        )
    except DockerException:
        return None
    host, port = container.get_container_host_ip(), container.get_exposed_port(PORT)
    url = f"postgresql://postgres@{host}:{port}/postgres"
    eventually(lambda: _answers(url), timeout=60)
    return url


def _engine_answers() -> bool:
    with warnings.catch_warnings():
        # The client does not close the socket on which nobody answered.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            with contextlib.closing(docker.from_env(timeout=3)) as client:
                return bool(client.ping())
        except DockerException:
            return False
        finally:
            gc.collect()


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def _embedded(stack: contextlib.ExitStack) -> str:
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgtask-test-")))
    stack.callback(embedded.stop, home)
    return stack.enter_context(embedded.start(home, SETTINGS)).url


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database that nobody may connect to, to be copied."""
    with _new_database(server_url) as name:
        migrations.migrate(make_conninfo(server_url, dbname=name))
        _execute(server_url, "ALTER DATABASE {} ALLOW_CONNECTIONS false", name)
        yield name


@pytest.fixture
def database(server_url: str, template: str) -> Iterator[str]:
    """The connection string of a migrated database that is the test's own."""
    with _new_database(server_url, template) as name:
        yield make_conninfo(server_url, dbname=name)


@pytest.fixture
def empty_database(server_url: str) -> Iterator[str]:
    """The connection string of a database that is the test's own, without the schema."""
    with _new_database(server_url) as name:
        yield make_conninfo(server_url, dbname=name)


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    """A connection to the test's database, in autocommit mode."""
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def reader(server_url: str, template: str) -> Iterator[psycopg.Connection]:
    """A connection for tests that only look; they share its database, and it refuses changes."""
    with _new_database(server_url, template) as name:
        url = make_conninfo(server_url, dbname=name, options="-c default_transaction_read_only=on")
        with psycopg.connect(url, autocommit=True) as opened:
            yield opened


@pytest.fixture
def logins(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Logins]:
    """Logins of the test's database; what the roles are called is the test's own as long as it runs."""
    with made_logins(database) as made:
        monkeypatch.setattr(roles, "PREFIX", made.prefix)
        yield made


@pytest.fixture(scope="session")
def members(server_url: str, template: str) -> Iterator[dict[str, str]]:
    """A database as a login of each role sees it, and as a stranger does; for tests that leave nothing behind."""
    with _new_database(server_url, template) as name, made_logins(make_conninfo(server_url, dbname=name)) as made:
        yield {"stranger": made.make(None)} | {role.value: made.make(role) for role in roles.Role}


@contextlib.contextmanager
def _new_database(server_url: str, template: str = "template1") -> Iterator[str]:
    name = f"pgtask_test_{uuid4().hex[:16]}"
    _execute(server_url, "CREATE DATABASE {} TEMPLATE {}", name, template)
    try:
        yield name
    finally:
        _execute(server_url, "DROP DATABASE {} WITH (FORCE)", name)


def _execute(server_url: str, statement: str, *names: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
