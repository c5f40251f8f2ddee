"""A way to the database that loses an answer on demand: the server has committed, and the client never learns it."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Proxy:
    """Passes bytes between clients and the server until it is told which to lose."""

    def __init__(self, url: str) -> None:
        given = conninfo_to_dict(url)
        self._target = (str(given["host"]), int(given.get("port") or 5432))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._answer: bytes | None = None
        self._question: bytes | None = None
        self.cuts = 0
        port = self._listening.getsockname()[1]
        self.url = make_conninfo(url, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable")
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_answer_with(self, text: bytes) -> None:
        """Cuts the connection on which the server next sends this, in place of passing it on."""
        with self._lock:
            self._answer = text

    def lose_answer_to(self, text: bytes) -> None:
        """Passes on what next has this in it, and cuts the connection in place of passing on the answer."""
        with self._lock:
            self._question = text

    def close(self) -> None:
        """Takes no more clients."""
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, self._connect() as server, selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
            selector.register(client, selectors.EVENT_READ)
            selector.register(server, selectors.EVENT_READ)
            doomed = False
            while True:
                for key, _ in selector.select():
                    from_client = key.fileobj is client
                    data = (client if from_client else server).recv(1 << 20)
                    if not data:
                        return
                    if from_client:
                        doomed = doomed or self._matches("_question", data)
                        server.sendall(data)
                    elif doomed or self._matches("_answer", data):
                        self.cuts += 1
                        return
                    else:
                        client.sendall(data)

    def _connect(self) -> socket.socket:
        host, port = self._target
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(Path(host) / f".s.PGSQL.{port}"))
        return server

    def _matches(self, name: str, data: bytes) -> bool:
        with self._lock:
            wanted: bytes | None = getattr(self, name)
            if wanted is None or wanted not in data:
                return False
            setattr(self, name, None)
            return True


@contextlib.contextmanager
def proxy(url: str) -> Iterator[Proxy]:
    """A proxy for the block."""
    made = Proxy(url)
    try:
        yield made
    finally:
        made.close()
