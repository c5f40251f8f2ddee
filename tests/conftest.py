"""The fixtures of pgtask.testing under the names that our own tests know them by, and connections."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgtask.database import roles
from pgtask.testing import servers
from tests.logins import Logins, made_logins

# A job in a shell's background ignores INT and passes that on; the programs that the tests start must not.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def database(pgtask_database: str) -> str:
    """The connection string of a migrated database that is the test's own."""
    return pgtask_database


@pytest.fixture
def empty_database(pgtask_server: str) -> Iterator[str]:
    """The connection string of a database that is the test's own, without the schema."""
    with servers.database(pgtask_server) as url:
        yield url


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    """A connection to the test's database, in autocommit mode."""
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def reader(pgtask_server: str, pgtask_template: str) -> Iterator[psycopg.Connection]:
    """A connection for tests that only look; they share its database, and it refuses changes."""
    with servers.database(pgtask_server, pgtask_template) as made:
        url = make_conninfo(made, options="-c default_transaction_read_only=on")
        with psycopg.connect(url, autocommit=True) as opened:
            yield opened


@pytest.fixture
def logins(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Logins]:
    """Logins of the test's database; what the roles are called is the test's own as long as it runs."""
    with made_logins(database) as made:
        monkeypatch.setattr(roles, "PREFIX", made.prefix)
        yield made


@pytest.fixture(scope="session")
def members(pgtask_server: str, pgtask_template: str) -> Iterator[dict[str, str]]:
    """A database as a login of each role sees it, and as a stranger does; for tests that leave nothing behind."""
    with servers.database(pgtask_server, pgtask_template) as url, made_logins(url) as made:
        yield {"stranger": made.make(None)} | {role.value: made.make(role) for role in roles.Role}
