"""Tasks that kill, freeze and litter, beside one that behaves."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pgtask import JobContext, PgTask

tasks = PgTask()
_FOLDER = Path(os.environ["FAULTS_FOLDER"])
_VERSION = (_FOLDER / "version").read_text() if (_FOLDER / "version").exists() else "none"


def _wait(name: str) -> None:
    while not (_FOLDER / name).exists():
        time.sleep(0.005)


@tasks.task(name="good")
def good(gate: str | None = None) -> int:
    """Ends at once, or when its gate opens; returns its process's id."""
    if gate:
        _wait(gate)
    return os.getpid()


@tasks.task(name="version")
def version() -> str:
    """What stood in the file when the code was loaded."""
    return _VERSION


@tasks.task(name="segfault")
def segfault() -> None:
    """Reads address 0."""
    print("last words", flush=True)  # noqa: T201 - it is to be kept
    ctypes.string_at(0)


@tasks.task(name="leave")
def leave() -> None:
    """Ends the process as if all were well."""
    os._exit(0)


@tasks.task(name="killed")
def killed() -> None:
    """Is killed as the kernel kills what takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


@tasks.task(name="deaf")
def deaf() -> None:
    """Heeds nothing: neither exceptions nor signals."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    (_FOLDER / "deaf").touch()
    while True:
        try:
            time.sleep(0.01)
        except BaseException:  # noqa: BLE001 - that is the point
            continue


@tasks.task(name="frozen")
def frozen() -> None:
    """Never returns, nor lets any other thread of the process run."""
    (_FOLDER / "frozen").touch()
    ctypes.PyDLL(None).sleep(3600)


@tasks.task(name="litter")
def litter(then: str = "return") -> int:
    """Leaves a daemon behind that has its own session and all descriptors; returns its process's id."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        daemon = os.fork()
        if daemon == 0:
            time.sleep(3600)
            os._exit(0)
        os.write(write, str(daemon).encode())
        os._exit(0)
    os.wait()
    daemon = int(os.read(read, 20))
    (_FOLDER / "daemon").write_text(str(daemon))
    if then == "die":
        os.abort()
    return daemon


@tasks.task(name="employ")
def employ() -> None:
    """Waits for a program that needs a moment to end when it is asked to."""
    trap = "trap 'sleep 0.1; touch heeded; exit' TERM; touch employed; while :; do sleep 0.01; done"
    subprocess.run(["sh", "-c", trap], cwd=_FOLDER, check=True)


@tasks.task(name="flood")
def flood() -> None:
    """Writes to standard output until what it wrote is thrown away."""
    written = 0
    while os.fstat(1).st_size >= written:
        written = os.fstat(1).st_size
        if written > 256_000_000:
            raise MemoryError("nobody throws it away")
        os.write(1, b"x" * 65_535 + b"\n")
        time.sleep(0.001)


@tasks.task(name="toil")
def toil() -> None:
    """Uses a second of the processor and 40 MB of memory."""
    block = b"x" * 40_000_000
    until = time.process_time() + 1
    while time.process_time() < until:
        len(block)


@tasks.task(name="chatter")
def chatter(lines: int, width: int = 0) -> None:
    """Writes lines to standard output, and has another program write one."""
    for number in range(lines):
        print(f"line {number}" + width * "x")  # noqa: T201 - it is to be kept
    subprocess.run([sys.executable, "-c", "print('from below')"], check=True)


@tasks.task(name="hog", isolation="process", memory_limit=50_000_000)
def hog(ctx: JobContext, size: int, gate: str | None = None) -> int:
    """Takes so many bytes of memory in an executor of its own, until its gate opens if it has one."""
    block = b"x" * size
    if gate:
        _wait(gate)
    ctx.log(f"{len(block)} bytes")
    return os.getpid()
