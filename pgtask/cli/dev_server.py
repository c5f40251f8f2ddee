"""The API server of `pgtask dev`: a process beside the worker, with a token that ends with it."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from pgtask.cli.context import note
from pgtask.config import Settings
from pgtask.model.errors import ConfigurationError, PgTaskError
from pgtask.model.token import Scope

_LIFETIME = 24 * 3600.0
"""Seconds for which the token is good where nobody is left to revoke it."""

_PATIENCE = 5.0


class Served(NamedTuple):
    """Where the server is, and what it takes to use it."""

    url: str
    token: str


@contextlib.contextmanager
def serving(given: Settings, url: str) -> Iterator[Served | None]:
    """A server for the block, which logs to this terminal; None, with a note, where its packages are missing.

    Raises ConfigurationError when it cannot listen where it was told to.
    """
    try:
        from pgtask.web.listening import Place, url_of
    except ModuleNotFoundError:
        note("There is no API here, as its packages are missing: pip install 'pgtask[server]'.")
        yield None
        return
    place = Place.parse(given.bind)
    try:
        listener = place.listen()
    except ConfigurationError:
        if given.origin("bind") != "default":
            raise
        listener = Place(place.host).listen()
    with closing(listener), _token(given, url) as token:
        process = _start(given, url, listener.fileno())
        address = url_of(listener)
        listener.close()
        try:
            yield Served(address, token)
        finally:
            _end(process)


@contextlib.contextmanager
def _token(given: Settings, url: str) -> Iterator[str]:
    from pgtask.database import connection, tokens

    name = f"dev {secrets.token_hex(3)}"
    with closing(connection.connect(url, application_name="pgtask dev", pooled=given.pooled)) as opened:
        secret = tokens.create_token(opened, name, {Scope.ADMIN}, lifetime=_LIFETIME, created_by="pgtask dev")
    try:
        yield secret.text
    finally:
        with (
            contextlib.suppress(PgTaskError),
            closing(connection.connect(url, application_name="pgtask dev", pooled=given.pooled)) as opened,
        ):
            tokens.revoke_token(opened, name, revoked_by="pgtask dev")


def _start(given: Settings, url: str, listener: int) -> subprocess.Popen[bytes]:
    from pgtask.engine import child

    command = [sys.executable, "-m", "pgtask", "server", "--fd", str(listener), "--processes", "1"]
    command += ["--log-level", given.log_level, "--log-format", given.log_format, *["--pooled"] * given.pooled]
    return subprocess.Popen(
        # It ends with this process, however that ends; a Ctrl-C reaches this one alone, which then decides.
        [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), *command],
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PGTASK_DATABASE_URL": url},
        pass_fds=[listener],
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
