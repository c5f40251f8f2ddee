"""API servers started as an operator starts them, with `pgtask server`, and clients for them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import urllib3

from pgtask.database import tokens
from pgtask.model.token import Scope
from tests.support import eventually

PATIENCE = 30.0
_PLACE = re.compile(r"listening at (\S+),")


class Server:
    """A `pgtask server` with its processes, its log and a client that holds a token for everything."""

    def __init__(self, url: str, folder: Path, number: int, *flags: str, **environment: str) -> None:
        self.log = folder / f"server-{number}.log"
        variables = {name: value for name, value in os.environ.items() if "PGTASK" not in name}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pgtask", "server", "--bind", "127.0.0.1:0", "--log-level", "debug", *flags],
                env=variables | {"PGTASK_DATABASE_URL": url, "HOME": str(folder)} | environment,
                cwd=folder,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.place: str = eventually(self._find_place, PATIENCE)
        self.pool = urllib3.PoolManager(maxsize=32, retries=False, timeout=PATIENCE)
        self.token: str | None = None

    def said(self) -> str:
        """What it has logged."""
        return self.log.read_text()

    def _find_place(self) -> str:
        found = _PLACE.search(self.said())
        assert self.process.poll() is None, f"the server ended with {self.process.returncode}:\n{self.said()}"
        return found[1] if found else ""

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> urllib3.BaseHTTPResponse:
        """One request, with the token where there is one; underscores in names of headers are dashes."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token is not None:
            given.setdefault("Authorization", f"Bearer {self.token}")
        return self.pool.request(method, self.place + path, json=body, headers=given)

    def processes(self) -> list[psutil.Process]:
        """The processes that answer now."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children()
            return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
        return []

    def terminate(self) -> int:
        """Asks it to stop and returns its exit code."""
        # It leaves connections that are kept open some time for one more request.
        self.pool.clear()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        """Ends whatever is left of it."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self.pool.clear()


class Servers:
    """The servers of one test, which all end with it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.made: list[Server] = []

    def start(self, *flags: str, url: str | None = None, token: bool = True, **environment: str) -> Server:
        """Starts a server and waits until it listens."""
        server = Server(url or self.url, self.folder, len(self.made) + 1, *flags, **environment)
        self.made.append(server)
        if token:
            with psycopg.connect(self.url, autocommit=True) as connection:
                name = f"test {len(self.made)}"
                server.token = tokens.create_token(connection, name, {Scope.ADMIN}, rate_limit=100_000).text
        return server


@contextlib.contextmanager
def servers_of(url: str, folder: Path) -> Iterator[Servers]:
    """Servers for the block; their logs are shown when the test fails."""
    made = Servers(url, folder)
    try:
        yield made
    finally:
        for server in made.made:
            server.end()
            sys.stdout.write(f"--- end of {server.log.name}\n{server.said()[-5000:]}")
