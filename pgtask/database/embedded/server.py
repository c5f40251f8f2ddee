"""Start, stop and status of the embedded server, as callers see them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from pgtask.database.embedded import control, locks, postmaster
from pgtask.database.embedded.home import Home
from pgtask.database.embedded.launcher import DATABASE, USER, launch, log_tail
from pgtask.database.embedded.postmaster import Postmaster
from pgtask.model.errors import EmbeddedServerError

START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 90.0


class EmbeddedServer:
    """One client's hold on a running server, which lasts until `close` or the process's end.

    A process forked from this one has its own hold.
    """

    def __init__(self, home: Home, found: Postmaster, clients_lock: int) -> None:
        self.url = _url(found.socket_dir)
        self.socket_dir = found.socket_dir
        self.data_dir = home.data_dir
        self.log_file = home.log_file
        self.postmaster_pid = found.pid
        self._clients_lock: int | None = clients_lock

    def close(self) -> None:
        """Let go of the server; it stops soon after its last client did. May be repeated."""
        descriptor, self._clients_lock = self._clients_lock, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Status:
    """What is known of the server of a home; `pid` and `url` are None unless it is running."""

    running: bool
    pid: int | None
    url: str | None
    data_dir: Path
    version: int | None
    """Major version of PostgreSQL that made the data; None when there is none yet."""


def start(home: Path | None = None, settings: Mapping[str, str] | None = None) -> EmbeddedServer:
    """Start the server of `home`, or join it if it runs; it stays up while any client does.

    `home` defaults to $PGTASK_HOME, else ./.pgtask, and is made if missing. `settings` are
    PostgreSQL's own, such as ``{"shared_buffers": "1GB"}``; they count only when the server was
    not running. Raises EmbeddedServerError when no server is up within 60 seconds.
    """
    place = Home.locate(home)
    place.prepare()
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    try:
        with locks.held(place.start_lock, deadline):
            clients_lock = locks.acquire(place.clients_lock, deadline, shared=True)
            try:
                found = _find_or_launch(place, settings or {}, deadline)
            except BaseException:
                os.close(clients_lock)
                raise
    except OSError as error:
        raise place.unwritable(error) from error
    return EmbeddedServer(place, found, clients_lock)


def stop(home: Path | None = None) -> bool:
    """Stop the server of `home` now, even under its clients; False when none was running.

    Returns when it is down. Raises EmbeddedServerError when it is not within 90 seconds.
    """
    place = Home.locate(home)
    if not place.server_lock.exists():
        return False
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    was_running = False
    try:
        with locks.held(place.start_lock, deadline):
            while (server_lock := locks.try_acquire(place.server_lock)) is None:
                was_running = True
                if not control.ask_to_stop(place.control):
                    postmaster.end_orphan(place.data_dir)
                if time.monotonic() > deadline:
                    raise EmbeddedServerError(
                        f"The embedded PostgreSQL in {place.path} does not stop. Look into {place.log_file}."
                    )
                time.sleep(locks.POLL_SECONDS)
            os.close(server_lock)
    except OSError as error:
        raise place.unwritable(error) from error
    return was_running


def status(home: Path | None = None) -> Status:
    """Whether the server of `home` runs, and where; changes nothing."""
    place = Home.locate(home)
    found = _running(place)
    return Status(
        running=found is not None,
        pid=found.pid if found else None,
        url=_url(found.socket_dir) if found else None,
        data_dir=place.data_dir,
        version=place.data_version(),
    )


def _find_or_launch(home: Home, settings: Mapping[str, str], deadline: float) -> Postmaster:
    """The running server of `home`, launched if need be; under the lock for starting."""
    log_start = home.log_file.stat().st_size if home.log_file.exists() else 0
    launched = False
    while time.monotonic() < deadline:
        server_lock = locks.try_acquire(home.server_lock)
        if server_lock is not None:
            try:
                if launched:
                    raise EmbeddedServerError(
                        f"The embedded PostgreSQL in {home.path} stopped as soon as it was up."
                        + log_tail(home.log_file, log_start)
                    )
                launch(home, settings, server_lock, deadline)
                launched = True
            finally:
                os.close(server_lock)
        found = _running(home)
        if found is not None:
            if postmaster.answers(found.socket_dir):
                return found
            if control.keeper_listens(home.control):
                raise EmbeddedServerError(
                    f"The embedded PostgreSQL in {home.path} runs, but {found.socket_dir} cannot "
                    "be reached from here, as from another container. Use a server that listens "
                    "on the network for that."
                )
        elif not control.keeper_listens(home.control):
            postmaster.end_orphan(home.data_dir)
        time.sleep(locks.POLL_SECONDS)
    raise EmbeddedServerError(
        f"The embedded PostgreSQL in {home.path} is still starting or stopping after "
        f"{START_TIMEOUT_SECONDS:.0f} seconds. Try again, and look into {home.log_file}."
    )


def _running(home: Home) -> Postmaster | None:
    """The server of `home` if it is up and its keeper means to keep it."""
    if not control.keeper_listens(home.control):
        return None
    found = postmaster.read(home.data_dir)
    return found if found is not None and found.ready else None


def _url(socket_dir: Path) -> str:
    return f"postgresql://{USER}@/{DATABASE}?host={quote(str(socket_dir), safe='')}"
