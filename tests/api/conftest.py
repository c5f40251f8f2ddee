"""The API on a database that is the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgtask.testing import servers
from tests.api_client import Api, made_api


@pytest.fixture
def api(database: str) -> Iterator[Api]:
    """The API, with a token that may do everything."""
    made = made_api(database)
    yield made
    made.app.extensions["pgtask"].close()


@pytest.fixture(scope="module")
def refusing_api(pgtask_server: str, pgtask_template: str) -> Iterator[Api]:
    """The API on a database that tests share, for requests that are refused and so leave nothing behind."""
    with servers.database(pgtask_server, pgtask_template) as url:
        made = made_api(url)
        yield made
        made.app.extensions["pgtask"].close()
