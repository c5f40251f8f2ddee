"""A PgBouncer of the test's own, in transaction mode."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.acceptance.proxy import proxy
from tests.support import eventually

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
MISSING = "left out: PgBouncer is not installed here (Debian: apt-get install pgbouncer)"
_PATIENCE = 30.0


class Pooler:
    """A running PgBouncer before one database."""

    def __init__(self, server: str, folder: Path, **settings: Any) -> None:
        """`server` is a connection string by TCP; `settings` are PgBouncer's own."""
        given = conninfo_to_dict(server)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        target = " ".join(f"{name}={given[name]}" for name in ("host", "port", "user", "password") if given.get(name))
        values = {
            "pool_mode": "transaction",
            "default_pool_size": 3,
            "listen_addr": "127.0.0.1",
            "listen_port": port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "admin_users": "admin",
            "server_login_retry": 0.2,
            **settings,
        }
        lines = [
            "[databases]",
            f"* = {target}",
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in values.items()),
        ]
        self._folder = folder
        (folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        self.url = make_conninfo(
            server, host="127.0.0.1", port=port, user="anyone", sslmode="disable", gssencmode="disable"
        )
        self.start()

    def start(self) -> None:
        """Starts it, again after it has ended."""
        command = [str(PROGRAM), str(self._folder / "pgbouncer.ini")]
        if os.getuid() == 0:
            # It refuses to be run by root.
            command = ["setpriv", "--reuid=nobody", f"--regid={_nobody().pw_gid}", "--clear-groups", *command]
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(self._answers, _PATIENCE)

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"PgBouncer has ended: {self.log()}"
        with contextlib.suppress(psycopg.OperationalError):
            self.tell("SHOW VERSION")
            return True
        return False

    def log(self) -> str:
        """What it has said."""
        return (self._folder / "log").read_text()

    def tell(self, command: str) -> list[dict[str, Any]]:
        """Gives its console a command and returns the rows that it answers."""
        url = make_conninfo(self.url, dbname="pgbouncer", user="admin")
        with psycopg.connect(url, autocommit=True, row_factory=psycopg.rows.dict_row) as console:
            cursor = console.execute(command.encode())
            return cursor.fetchall() if cursor.description else []

    def kill(self) -> None:
        """Ends it at once, with all that goes through it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def _nobody() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")


@contextlib.contextmanager
def pooler(url: str, **settings: Any) -> Iterator[Pooler]:
    """A PgBouncer before this database for the block.

    It reaches the server through a relay in this process, as its user may not enter every folder that a socket lies in.
    """
    folder = Path(tempfile.mkdtemp(prefix="pgtask-pooler-"))
    try:
        if os.getuid() == 0:
            os.chown(folder, _nobody().pw_uid, _nobody().pw_gid)
        with proxy(url) as relay:
            made = Pooler(relay.url, folder, **settings)
            try:
                yield made
            finally:
                made.kill()
    finally:
        shutil.rmtree(folder)
