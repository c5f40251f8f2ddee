"""The API on a database that is the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api_client import Api, made_api


@pytest.fixture
def api(database: str) -> Iterator[Api]:
    """The API, with a token that may do everything."""
    made = made_api(database)
    yield made
    made.app.extensions["pgtask.counter"].close()
    made.app.extensions["pgtask"].close()
