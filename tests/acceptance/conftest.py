"""Workers for the acceptance tests, cleared away at the end of each."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgtask.database import embedded
from pgtask.testing import servers
from tests.acceptance.fleet import Make, Worker
from tests.acceptance.operated import Fleet, fleet
from tests.acceptance.serving import Servers, servers_of
from tests.scene import Scene

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.acceptance)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """The ledger and gates of the test."""
    return Scene(tmp_path)


@pytest.fixture
def home() -> Iterator[Path]:
    """The home of a server that a test starts, to crash it; ended with the test."""
    with tempfile.TemporaryDirectory(prefix="pgtask-test-", dir=servers.folder()) as folder:
        home = Path(folder) / "home"
        yield home
        embedded.stop(home)


@pytest.fixture
def make_worker(database: str, scene: Scene, tmp_path: Path) -> Iterator[Make]:
    """Starts workers on the test's database. Their logs are shown when the test fails."""
    made: list[Worker] = []

    def make(*, url: str = database, wait: bool = True, **options: object) -> Worker:
        worker = Worker(url, scene, tmp_path / f"worker-{len(made)}.log", **options)
        made.append(worker)
        if wait:
            worker.ready()
        return worker

    yield make
    for worker in made:
        worker.clear_away()
        sys.stdout.write(f"--- {worker.log.name}\n{worker.log.read_text()}")


@pytest.fixture
def workers(database: str, tmp_path: Path) -> Iterator[Fleet]:
    """Workers on the test's own database, started from the command line, all ended with the test."""
    with fleet(database, tmp_path) as made:
        yield made


@pytest.fixture
def api_servers(database: str, tmp_path: Path) -> Iterator[Servers]:
    """API servers on the test's own database, started from the command line, all ended with the test."""
    with servers_of(database, tmp_path) as made:
        yield made
