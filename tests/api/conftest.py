"""The API on a database that is the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pgtask.testing import servers
from tests.api_client import Api, made_api


@pytest.fixture
def make_api() -> Iterator[Callable[..., Api]]:
    """Makes the API on a database, with settings; each with a token that may do everything."""
    made: list[Api] = []

    def make(url: str, **settings: Any) -> Api:
        made.append(made_api(url, **settings))
        return made[-1]

    yield make
    for api in made:
        api.app.extensions["pgtask.counter"].close()
        api.app.extensions["pgtask"].close()


@pytest.fixture
def api(make_api: Callable[..., Api], database: str) -> Api:
    """The API, with a token that may do everything."""
    return make_api(database)


@pytest.fixture(scope="module")
def refusing_api(pgtask_server: str, pgtask_template: str) -> Iterator[Api]:
    """The API on a database that tests share, for requests that are refused and so leave nothing behind."""
    with servers.database(pgtask_server, pgtask_template) as url:
        made = made_api(url)
        yield made
        made.app.extensions["pgtask.counter"].close()
        made.app.extensions["pgtask"].close()
