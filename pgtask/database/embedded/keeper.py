"""The keeper: a small detached process that owns one PostgreSQL server until its last client ends.

It runs by path, as ``python -I -S keeper.py keep``, and imports nothing but the standard library:
it stays small, starts fast, and does not depend on how its client finds its modules. It reads its
orders as JSON, and writes "ready", or else why not, before it closes its output.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

READY = "ready"
POLL_SECONDS = 0.5
START_POLL_SECONDS = 0.005
FAST_STOP_SECONDS = 60.0
LOG_BYTES = 8 * 1024 * 1024
"""Size at which the log is cut; the part before is kept once."""

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000


class Identity(TypedDict):
    """As whom to run: "self", "namespace" (there as `seen_as`), or "account" (`uid` and `gid`)."""

    kind: str
    uid: int
    gid: int
    seen_as: int


class Probe(TypedDict):
    """What to try: print the version of `postgres`, with access to the directory `reachable`."""

    identity: Identity
    postgres: str
    reachable: str


class Orders(TypedDict):
    """What to keep: paths, the descriptor of the inherited lock, and the server's arguments."""

    identity: Identity
    bin_dir: str
    data_dir: str
    log_file: str
    socket_dir: str
    control: str
    clients_lock: str
    server_lock: str
    server_lock_descriptor: int
    database: str
    user: str
    arguments: list[str]


class StartError(Exception):
    """The server cannot be started; the message says why."""


def assume(identity: Identity) -> None:
    """Become another user, for good: by a user namespace of one uid, or by giving up root."""
    if identity["kind"] == "namespace":
        uid, gid = os.geteuid(), os.getegid()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWUSER) != 0:
            raise StartError(f"user namespaces are refused ({os.strerror(ctypes.get_errno())})")
        inside = identity["seen_as"]
        maps = {"uid_map": f"{inside} {uid} 1", "gid_map": f"{inside} {gid} 1"}
        for name, text in {"setgroups": "deny", **maps}.items():
            Path("/proc/self", name).write_text(text)
    elif identity["kind"] == "account":
        os.setgroups([])
        os.setgid(identity["gid"])
        os.setuid(identity["uid"])


def probe(order: Probe) -> None:
    """Become what `order` says and run ``postgres -V`` in place of this process."""
    assume(order["identity"])
    if not os.access(order["reachable"], os.X_OK):
        raise StartError(f"no access to {order['reachable']}")
    try:
        os.execv(order["postgres"], [order["postgres"], "-V"])
    except OSError as error:
        raise StartError(f"cannot run {order['postgres']} ({error.strerror})") from error


def detach() -> None:
    """Leave the client: continue in a child that init adopts, so that nobody need wait for it."""
    if os.fork() != 0:
        os._exit(0)
    os.umask(0o077)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)


class Keeper:
    """One server and what decides over its life."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.data_dir = Path(orders["data_dir"])
        self.log_file = Path(orders["log_file"])
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        self.log = os.open(self.log_file, flags, 0o600)
        self.clients = os.open(orders["clients_lock"], os.O_RDWR)
        self.wakeup, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self.told_to_stop = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake the select
        Path(orders["control"]).unlink(missing_ok=True)
        os.mkfifo(orders["control"], 0o600)
        self.control = os.open(orders["control"], os.O_RDWR | os.O_NONBLOCK)

    def keep(self) -> None:
        """Start the server, report, and stay until it has ended or it is time to stop it."""
        if not (self.data_dir / "PG_VERSION").exists():
            self._make_data_dir()
        server = self._run(["postgres", "-D", str(self.data_dir), *self.orders["arguments"]])
        try:
            while not self._is_ready(server.pid):
                if server.poll() is not None:
                    raise StartError("PostgreSQL did not start")
                if self._stop_requested(START_POLL_SECONDS):
                    raise StartError("it was stopped while it started")
            self._report_ready()
            while server.poll() is None:
                if self._stop_requested(POLL_SECONDS) or self._home_is_gone() or self._is_alone():
                    break
                self._bound_log()
        finally:
            self._stop(server)

    def clean(self) -> None:
        """Remove what only a running server needs; to call last, under ``server.lock`` still."""
        if not self._home_is_gone():
            Path(self.orders["control"]).unlink(missing_ok=True)
            shutil.rmtree(self.orders["socket_dir"], ignore_errors=True)

    def _make_data_dir(self) -> None:
        """Make the data directory under another name, so that only a complete one bears its own."""
        fresh = self.data_dir.with_name("data.new")
        shutil.rmtree(fresh, ignore_errors=True)
        options = ["-U", self.orders["user"], "--auth=trust", "--no-instructions"]
        # By the C library: not every build has ICU.
        locale = ["-E", "UTF8", "--locale=C.UTF-8"]
        initdb = self._run(["initdb", "-D", str(fresh), *options, *locale])
        if initdb.wait() != 0:
            raise StartError("initdb failed")
        # Without a server, so that it is part of the making; exit_on_error makes failure visible.
        single = self._run(
            ["postgres", "--single", "-D", str(fresh), "-c", "exit_on_error=on", "postgres"],
            stdin=subprocess.PIPE,
        )
        name = self.orders["database"]
        single.communicate(f'CREATE DATABASE "{name}"\n'.encode())
        if single.returncode != 0:
            raise StartError(f"the database {name} could not be created")
        fresh.rename(self.data_dir)
        parent = os.open(self.data_dir.parent, os.O_RDONLY)
        os.fsync(parent)
        os.close(parent)

    def _run(self, command: list[str], stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Run one of PostgreSQL's programs; it shares ``server.lock`` and ends if we die."""
        program, *arguments = command
        return subprocess.Popen(
            [str(Path(self.orders["bin_dir"], program)), *arguments],
            stdin=stdin,
            stdout=self.log,
            stderr=self.log,
            pass_fds=(self.orders["server_lock_descriptor"],),
            start_new_session=True,
            preexec_fn=_bind_to_parent(),  # noqa: PLW1509 (this process has one thread)
        )

    def _is_ready(self, pid: int) -> bool:
        """Whether ``postmaster.pid`` says that the server we started accepts connections."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _report_ready(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # the client is gone: the lock will tell
            os.write(1, READY.encode())
        os.dup2(self.log, 1)
        os.dup2(self.log, 2)

    def _on_stop_signal(self, *_: object) -> None:
        self.told_to_stop = True

    def _stop_requested(self, seconds: float) -> bool:
        """Wait up to `seconds`, or until something happens; whether we are told to stop."""
        readable, _, _ = select.select([self.wakeup, self.control], [], [], seconds)
        if self.wakeup in readable:
            os.read(self.wakeup, 4096)
        return self.told_to_stop or self.control in readable

    def _is_alone(self) -> bool:
        """Whether no client is left; then none can come until this process ends."""
        try:
            fcntl.flock(self.clients, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _home_is_gone(self) -> bool:
        """Whether the home was removed or moved: new clients would never find us."""
        try:
            found = Path(self.orders["server_lock"]).stat()
        except OSError:
            return True
        return not os.path.samestat(found, os.fstat(self.orders["server_lock_descriptor"]))

    def _stop(self, server: subprocess.Popen[bytes]) -> None:
        """Stop the server, if it still runs; cleanly, if it manages to."""
        os.close(self.control)  # first, so that no client takes it for a server to use
        server.send_signal(signal.SIGINT)
        try:
            server.wait(FAST_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.send_signal(signal.SIGQUIT)
            server.wait()

    def _bound_log(self) -> None:
        # Emptied in place, for PostgreSQL writes to it by itself, even after we die.
        if os.fstat(self.log).st_size > LOG_BYTES:
            with contextlib.suppress(OSError):  # as when the disk is full: then space comes first
                shutil.copyfile(self.log_file, self.log_file.with_name("server.log.1"))
            os.ftruncate(self.log, 0)


def _bind_to_parent() -> Callable[[], None]:
    """What a child does first, so that the kernel shuts it down cleanly if this process dies."""
    keeper = os.getpid()
    libc = ctypes.CDLL(None)

    def bind() -> None:
        if sys.platform == "linux":
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT)
            if os.getppid() != keeper:  # it died before that took effect
                os._exit(1)

    return bind


def main() -> None:
    """Do what the verb on the command line says."""
    orders = json.load(sys.stdin)
    try:
        if sys.argv[1] == "probe":
            probe(orders)
            return
        detach()
        assume(orders["identity"])
        keeper = Keeper(orders)
        try:
            keeper.keep()
        finally:
            keeper.clean()
    except (StartError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
