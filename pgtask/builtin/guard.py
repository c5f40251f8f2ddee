"""What stands between an executor and a command: it starts the command and lets nothing of it survive.

Run by path, as `python -I -S guard.py SOCKET GRACE PROGRAM…`, it imports nothing but the standard library. The command
is ended when the other end of the socket is closed, which happens at the latest when the executor dies, in whatever
way. On Linux all that the command has started is this process's to inherit, so that not even a daemon gets away.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_EVERY = 0.05


def _control(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def _die_with_parent() -> None:
    _control(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _offspring() -> set[int]:
    """The children of this process, those that it inherited included."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, parent = status.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid() and state != "Z":
                found.add(int(status.parent.name))
    return found


def _signal(command: subprocess.Popen[bytes], number: int, spared: set[int]) -> None:
    """Sends a signal to the command's group and to what has left it; those that may not be signalled are spared."""
    with contextlib.suppress(OSError):
        os.killpg(command.pid, number)
    for pid in _offspring() - spared:
        try:
            os.kill(pid, number)
        except PermissionError:
            spared.add(pid)
        except OSError:
            continue


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _end(command: subprocess.Popen[bytes], grace: float) -> int:
    """Ends the command and all that it has started: those that still run after `grace` seconds are killed."""
    spared: set[int] = set()
    if command.poll() is None:
        _signal(command, signal.SIGTERM, spared)
        deadline = time.monotonic() + grace
        while command.poll() is None and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY)
    _signal(command, signal.SIGKILL, spared)
    # Each that is killed may leave children, which come here in their turn.
    while command.poll() is None or _offspring() - spared:
        _signal(command, signal.SIGKILL, spared)
        time.sleep(_LOOK_EVERY / 10)
        if command.poll() is not None:
            _reap()
        elif command.pid in spared:
            break
    return command.wait()


def main(control: socket.socket, grace: float, program: list[str]) -> None:
    """Runs the program and tells its id, then its exit status, negative for a signal; or why it cannot be started."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    ended: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, _: ended.append(n))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _control(_PR_SET_CHILD_SUBREAPER, 1)
    _control(_PR_SET_PDEATHSIG, signal.SIGTERM)
    try:
        # Safe here, where there are no threads: should this process be killed, the command at least goes with it.
        command = subprocess.Popen(program, start_new_session=True, preexec_fn=_die_with_parent)  # noqa: PLW1509
    except (OSError, ValueError) as error:
        control.sendall(f"failed {error}\n".encode())
        return
    with contextlib.suppress(OSError):
        control.sendall(f"started {command.pid}\n".encode())
    while command.poll() is None and not ended:
        readable, _, _ = select.select([control.fileno(), read], [], [])
        if read in readable:
            os.read(read, 4096)
        if control.fileno() in readable:
            break
    status = _end(command, grace)
    with contextlib.suppress(OSError):
        control.sendall(f"ended {status}\n".encode())


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), float(sys.argv[2]), sys.argv[3:])
