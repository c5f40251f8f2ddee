"""Finding a PostgreSQL that tests may make databases on."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from pgtask.database import embedded, migrations, scratch
from pgtask.database.connection import connect
from pgtask.model.errors import DatabaseUnavailableError

VARIABLE = "PGTASK_TEST_DATABASE_URL"
IMAGE = "postgres:18"
PORT = 5432
START_TIMEOUT = 60.0

# A crash of the server loses nothing that a test would miss, and its log need not go far back.
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "128MB"}

# A file system in memory copies a database in a fifth of the time. Containers often have a small one.
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of the server's own is made in it
MEMORY_NEEDED = 2 << 30  # bytes free


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The URL of a server while the block runs: the one named by PGTASK_TEST_DATABASE_URL, in Docker, or embedded.

    Docker is used when testcontainers is installed and an engine answers. Raises EmbeddedServerError.
    """
    with contextlib.ExitStack() as stack:
        yield os.environ.get(VARIABLE) or _container(stack) or _embedded(stack)


@contextlib.contextmanager
def template(url: str) -> Iterator[str]:
    """The name of a migrated database on the server of `url` that nobody may connect to, to be copied."""
    name = _new_name()
    with scratch.database(url, name) as made:
        migrations.migrate(made)
        scratch.close_to_all(url, name)
        yield name


@contextlib.contextmanager
def database(url: str, copied: str = "template1") -> Iterator[str]:
    """The URL of a database of the block's own on the server of `url`, a copy of the one named `copied`."""
    with scratch.database(url, _new_name(), template=copied) as made:
        yield made


def folder() -> str | None:
    """Where the server's files go: in memory where there is plenty, unless TMPDIR says where; None for the default."""
    if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK):
        return str(MEMORY) if shutil.disk_usage(MEMORY).free >= MEMORY_NEEDED else None
    return None


def _new_name() -> str:
    return f"pgtask_test_{uuid4().hex[:16]}"


def _container(stack: contextlib.ExitStack) -> str | None:
    if importlib.util.find_spec("testcontainers") is None or not _engine_answers():
        return None
    from docker.errors import DockerException
    from testcontainers.core.container import DockerContainer

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
    _await_answer(url)
    return url


def _engine_answers() -> bool:
    import docker
    from docker.errors import DockerException

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


def _await_answer(url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            connect(url, application_name="pgtask test").close()
            return
        except DatabaseUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _embedded(stack: contextlib.ExitStack) -> str:
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgtask-test-", dir=folder())))
    stack.callback(embedded.stop, home)
    return stack.enter_context(embedded.start(home, SETTINGS)).url
