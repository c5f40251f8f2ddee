"""A server of the API of the measurement's own, and a client that costs next to nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pgtask.benchmark.bench import PATIENCE, Bench, BenchError, NotHereError
from pgtask.database.tokens import create_token
from pgtask.model.token import Scope

PROCESSES, THREADS = 2, 8
_GRACE = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens, and a token for it."""

    address: tuple[str, int]
    token: str

    def connect(self) -> Client:
        """A connection of its own."""
        return Client(self)


class Client:
    """One connection that is kept open: a socket, and no more of HTTP than this server speaks."""

    def __init__(self, server: Server) -> None:
        self._socket = socket.create_connection(server.address, timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = f"Host: localhost\r\nAuthorization: Bearer {server.token}\r\nContent-Type: application/json\r\n"
        self._rest = b""

    def send(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The content of the answer. Raises BenchError unless that is a success."""
        head = f"{method} /api/v1{path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)
        while b"\r\n\r\n" not in self._rest:
            self._receive()
        head_bytes, _, content = self._rest.partition(b"\r\n\r\n")
        lines = head_bytes.decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        size = int(headers.get("content-length", "0"))
        self._rest = content
        while len(self._rest) < size:
            self._receive()
        content, self._rest = self._rest[:size], self._rest[size:]
        if lines[0].split(" ")[1][0] != "2":
            raise BenchError(f"{method} {path} was answered with {lines[0]}: {content[:200].decode()}")
        return content

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()

    def _receive(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise BenchError("The server has closed a connection.")
        self._rest += data


@contextmanager
def server(bench: Bench) -> Iterator[Server]:
    """A server on the measurements' database while the block runs. Raises NotHereError without gunicorn."""
    if importlib.util.find_spec("gunicorn") is None:
        raise NotHereError("there is no gunicorn: pip install 'pgtask[server]'")
    secret = create_token(bench.connection, f"bench {os.urandom(4).hex()}", {Scope.ADMIN}, rate_limit=1e9)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PGTASK_")}
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "pgtask.web:create_app()", "--bind", f"fd://{listener.fileno()}"),
                *("--workers", str(PROCESSES), "--worker-class", "gthread", "--threads", str(THREADS)),
                *("--keep-alive", "120", "--log-level", "warning"),
            ],
            env=kept | {"PGTASK_DATABASE_URL": bench.url},
            cwd=bench.directory,
            pass_fds=[listener.fileno()],
        )
        try:
            yield Server(listener.getsockname(), secret.text)
        finally:
            process.terminate()
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def as_body(content: Any) -> bytes:
    """A JSON body."""
    return json.dumps(content).encode()
