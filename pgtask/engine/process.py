"""An executor process as its supervisor sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

from pgtask.engine.bell import NEWS, Bell
from pgtask.engine.burial import Death, Key
from pgtask.engine.control import Channel, Message
from pgtask.engine.crew import Load
from pgtask.engine.marks import Counts, Mark, Marks, memory_file
from pgtask.engine.options import ExecutorOptions, Kind
from pgtask.model.payload import clean_text

_LONGEST = 10_000
_KIB = 1024


class ExecutorProcess:
    """A started executor: its process, the channel to it and the table of its jobs.

    The process leads a session of its own, so that whatever its jobs have started can be ended with it.
    """

    def __init__(self, options: ExecutorOptions) -> None:
        """Starts the process: a fresh interpreter, so that it runs the code as it is on disk now."""
        self.number = options.executor
        self.kind = Kind(options.kind)
        self.tasks: list[str] = []
        self.ready = False
        self.stopping = False
        self.killed = False
        # It takes nothing more and is to end; another one has taken its place.
        self.retired = False
        # What it said last.
        self.load = Load(saturated=False, in_hand=0, slots=0, busy=0.0)
        self.kill_at = float("inf")
        self.sentences: dict[Key, str] = {}
        self.started_at = time.monotonic()
        self._peak_rss_bytes: int | None = None
        ours, theirs = socket.socketpair()
        descriptor, self._marks = Marks.create(options.capacity)
        self._faults = memory_file("pgtask-faults")
        self._output = memory_file("pgtask-output")
        self._bell = Bell.create()
        inherited = (theirs.fileno(), descriptor, self._faults, self._output, self._bell.read, self._bell.write)
        options = replace(
            options,
            channel=inherited[0],
            marks=descriptor,
            faults=self._faults,
            output=self._output,
            bell=inherited[4:],
            parent=os.getpid(),
        )
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pgtask.engine.executor"],
                pass_fds=inherited,
                env=os.environ | {"PGTASK_EXECUTOR": options.encode()},
                start_new_session=True,
            )
        finally:
            theirs.close()
            os.close(descriptor)
        self.channel = Channel(ours)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self.process.pid

    @property
    def alone(self) -> bool:
        """Whether it runs one job at a time, so that ending it harms no other."""
        return self.kind != Kind.SHARED

    def held(self) -> list[Mark]:
        """The jobs in hand; readable after the process has died, too."""
        return self._marks.read()

    def counts(self) -> Counts:
        """Attempts that have ended there; likewise."""
        return self._marks.counts

    def send(self, message: Message) -> None:
        """Tells the executor something; a mere wake-up goes straight to the thread that it is meant for."""
        if "wake" in message:
            self._bell.ring(NEWS)
        else:
            self.channel.send(message)

    def stop(self, grace: float) -> None:
        """Tells it to finish what runs within `grace` seconds and to end."""
        self.stopping = True
        self.send({"stop": grace})

    def condemn(self, sentences: dict[Key, str], grace: float) -> None:
        """Has it killed in `grace` seconds on account of these attempts; asks what its jobs have started to end now."""
        self.sentences |= sentences
        self.kill_at = min(self.kill_at, time.monotonic() + grace)
        if self.alone:
            self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to it and all that its jobs have started, save what left its process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """Ends it at once, on the supervisor's decision."""
        self.killed = True
        self.signal(signal.SIGKILL)
        self.put_down()

    def put_down(self) -> None:
        """Ends it at once because it is of no more use."""
        # Popen.kill would reap it without what it has used.
        if self.process.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def poll(self) -> int | None:
        """Its exit code, negative for a signal, or None while it lives."""
        return self._reap(os.WNOHANG)

    def wait(self) -> int:
        """Waits for its end and returns the exit code."""
        code = self._reap(0)
        assert code is not None
        return code

    def _reap(self, flags: int) -> int | None:
        # Popen would reap it without what it has used.
        if self.process.returncode is None:
            pid, status, usage = os.wait4(self.process.pid, flags)
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                self._peak_rss_bytes = usage.ru_maxrss * (_KIB if sys.platform == "linux" else 1)
        return self.process.returncode

    def death(self) -> Death:
        """How it ended, once it has."""
        code = self.wait()
        planned = (self.stopping or self.retired) and (code == 0 or self.killed)
        return Death(
            executor=self.number,
            cause=cause(code),
            planned=planned,
            evidence=self._evidence(),
            peak_rss_bytes=self._peak_rss_bytes,
            sentences=self.sentences,
        )

    def _evidence(self) -> str | None:
        parts = [_text(self._faults, 0)]
        size = os.fstat(self._output).st_size if self.alone else 0
        if size:
            parts.append(f"Its last output:\n{_text(self._output, max(0, size - _LONGEST))}")
        return "\n".join(part for part in parts if part) or None

    def close(self) -> None:
        """Releases what is left of a process that has been reaped, and ends what its jobs have left behind."""
        self.signal(signal.SIGKILL)
        self.channel.close()
        self._marks.close()
        self._bell.close()
        os.close(self._faults)
        os.close(self._output)


def _text(descriptor: int, start: int) -> str:
    return clean_text(os.pread(descriptor, _LONGEST, start).decode("utf-8", "replace"), 2 * _LONGEST)


def cause(code: int) -> str:
    """What an exit code says, in words."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"
