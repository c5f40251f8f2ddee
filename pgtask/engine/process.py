"""An executor process as its supervisor sees it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

from pgtask.engine.bell import NEWS, Bell
from pgtask.engine.control import Channel, Message
from pgtask.engine.marks import Mark, Marks
from pgtask.engine.options import ExecutorOptions


class ExecutorProcess:
    """A started executor: its process, the channel to it and the table of its jobs."""

    def __init__(self, options: ExecutorOptions) -> None:
        """Starts the process: a fresh interpreter, so that it runs the code as it is on disk now."""
        self.number = options.executor
        self.tasks: list[str] = []
        self.ready = False
        self.stopping = False
        self.started_at = time.monotonic()
        ours, theirs = socket.socketpair()
        descriptor, self._marks = Marks.create(options.capacity)
        self._bell = Bell.create()
        inherited = (theirs.fileno(), descriptor, self._bell.read, self._bell.write)
        options = replace(options, channel=inherited[0], marks=descriptor, bell=inherited[2:], parent=os.getpid())
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pgtask.engine.executor"],
                pass_fds=inherited,
                env=os.environ | {"PGTASK_EXECUTOR": options.encode()},
            )
        finally:
            theirs.close()
            os.close(descriptor)
        self.channel = Channel(ours)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self.process.pid

    def held(self) -> list[Mark]:
        """The jobs in hand; readable after the process has died, too."""
        return self._marks.read()

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

    def kill(self) -> None:
        """Ends it at once."""
        self.process.kill()

    def close(self) -> None:
        """Releases what is left of a process that has been reaped."""
        self.channel.close()
        self._marks.close()
        self._bell.close()
