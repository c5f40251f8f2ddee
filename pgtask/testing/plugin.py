"""The pytest plugin: fixtures that give tests an application in inline mode, or with a database of the test's own.

pytest loads this module in every project that has pgtask installed, so what is heavy is imported by the fixtures.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pgtask.engine.app import PgTask
    from pgtask.testing.inline_mode import Inline


@pytest.fixture(scope="session")
def pgtask_server() -> Iterator[str]:
    """The URL of a PostgreSQL for tests: PGTASK_TEST_DATABASE_URL, else one in Docker, else the embedded one."""
    from pgtask.testing import servers

    with servers.server() as url:
        yield url


@pytest.fixture(scope="session")
def pgtask_template(pgtask_server: str) -> Iterator[str]:
    """The name of a migrated database, to be copied."""
    from pgtask.testing import servers

    with servers.template(pgtask_server) as name:
        yield name


@pytest.fixture
def pgtask_database(pgtask_server: str, pgtask_template: str) -> Iterator[str]:
    """The URL of a migrated database that is the test's own."""
    from pgtask.testing import servers

    with servers.database(pgtask_server, pgtask_template) as url:
        yield url


@pytest.fixture(scope="session")
def pgtask_app(pytestconfig: pytest.Config) -> PgTask:
    """The application under test: the one that the setting `app` names. Override it to give another."""
    from pgtask.config import load_settings
    from pgtask.engine.discovery import load_app
    from pgtask.model.errors import ConfigurationError

    named = load_settings(directory=pytestconfig.rootpath).app
    if named is None:
        raise ConfigurationError(
            'Which application is under test? Write app = "module:name" under [tool.pgtask] in pyproject.toml, set '
            "PGTASK_APP, or define a fixture pgtask_app that returns it."
        )
    return load_app(named)


@pytest.fixture
def pgtask_inline(pgtask_app: PgTask) -> Iterator[Inline]:
    """Inline mode: enqueue runs the handler at once, without a database."""
    from pgtask.testing.inline_mode import inline

    with inline(pgtask_app) as mode:
        yield mode


@pytest.fixture
def pgtask_live(pgtask_app: PgTask, pgtask_database: str) -> Iterator[PgTask]:
    """The application on a database of the test's own: what is enqueued waits there, for `drain`."""
    with pgtask_app.on_database(pgtask_database):
        yield pgtask_app
