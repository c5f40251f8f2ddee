"""command: runs a command that the operator of the worker's machine has named and allowed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from pgtask.builtin import commands, guard
from pgtask.builtin.settings import settings
from pgtask.engine.context import JobContext
from pgtask.model.payload import clean_text
from pgtask.model.verdict import Discard

GRACE = 5.0
"""Seconds between TERM and KILL."""
MAX_OUTPUT = 64 * 1024
"""The last bytes of each stream that are kept: as JSON, where a byte may take six, both fit into a result."""
_TAIL = 1_000
_LAST_WORDS = 1.0


class CommandFailedError(Exception):
    """The command could not be started, ended with another status than 0, or took too long."""


class Output(asyncio.Protocol):
    """The end of what a stream carried, however much it was."""

    def __init__(self) -> None:
        self._kept = b""
        self.truncated = False
        self.closed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """Takes all that comes, so that the command never waits for a reader."""
        self._kept += data
        if len(self._kept) > MAX_OUTPUT:
            self._kept = self._kept[-MAX_OUTPUT:]
            self.truncated = True

    def connection_lost(self, _: Exception | None) -> None:
        """Nobody can write any more."""
        self.closed.set()

    @property
    def text(self) -> str:
        """As text that can be stored."""
        return clean_text(self._kept.decode("utf-8", "replace"), MAX_OUTPUT)


async def command(ctx: JobContext, name: str, args: list[str] | None = None) -> dict[str, Any]:
    """Runs the command called `name` in the worker's commands_file with these arguments; no shell is involved.

    Returns its exit code and the end of what it wrote. Another code than 0 fails the attempt. When its time is up or
    the job is cancelled, it gets TERM, then KILL; whatever it has started ends with it.
    """
    path = settings().commands_file
    if path is None:
        raise Discard(
            "The task command is off. Name the commands it may run in a file, and that file in the worker's "
            'pgtask.toml, commands_file = "/etc/pgtask/commands.toml", or with PGTASK_COMMANDS_FILE.'
        )
    chosen = commands.find(path, name)
    line = chosen.line([] if args is None else args)
    began = time.monotonic()
    out, err = Output(), Output()
    try:
        async with asyncio.timeout(chosen.timeout):
            said = await _run(chosen, line, chosen.variables(ctx.id, ctx.attempt), out, err)
    except TimeoutError:
        _keep(ctx, out, err)
        raise CommandFailedError(f"{name} ran longer than its timeout of {chosen.timeout:g} s") from None
    if said != "ended 0":
        _keep(ctx, out, err)
        raise CommandFailedError(_failure(name, said, err.text))
    return {
        "exit_code": 0,
        "stdout": out.text,
        "stderr": err.text,
        "truncated": out.truncated or err.truncated,
        "seconds": round(time.monotonic() - began, 3),
    }


async def _run(chosen: commands.Command, line: list[str], variables: dict[str, str], out: Output, err: Output) -> str:
    """Runs the command under its guard; returns what the guard said last. Cancelled, it ends the command first."""
    control, theirs = socket.socketpair()
    control.setblocking(False)
    # A task of its own, which goes on to its end when this one is cancelled a second time.
    guarded = asyncio.ensure_future(_guarded(control, theirs, chosen, line, variables, out, err))
    try:
        return await asyncio.shield(guarded)
    finally:
        if not guarded.done():
            # The guard sees it and ends the command; the slot is free only when nothing of it is left.
            control.shutdown(socket.SHUT_WR)
            await asyncio.shield(guarded)


async def _guarded(
    control: socket.socket,
    theirs: socket.socket,
    chosen: commands.Command,
    line: list[str],
    variables: dict[str, str],
    out: Output,
    err: Output,
) -> str:
    with control, contextlib.ExitStack() as pipes:
        with theirs, contextlib.ExitStack() as ends:
            stdout, stderr = [await _pipe(output, pipes, ends) for output in (out, err)]
            # asyncio's own would wait for the pipes, too, and with that for whatever holds them open.
            process = subprocess.Popen(  # noqa: ASYNC220 - it does not block longer than asyncio's
                [sys.executable, "-I", "-S", guard.__file__, str(theirs.fileno()), str(GRACE), *line],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=variables,
                cwd=chosen.directory,
                start_new_session=True,
            )
        said = await _hear(control)
        if said.startswith("started "):
            # Not a word of its end: the guard itself was killed.
            with contextlib.suppress(OSError):
                os.killpg(int(said.removeprefix("started ")), signal.SIGKILL)
        # It has hung up, which is the last that it does.
        process.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(out.closed.wait(), err.closed.wait()), _LAST_WORDS)
        return said


async def _pipe(output: Output, pipes: contextlib.ExitStack, ends: contextlib.ExitStack) -> int:
    """A pipe into `output`; returns the end to write to."""
    read, write = os.pipe()
    ends.callback(os.close, write)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: output, os.fdopen(read, "rb", 0))
    pipes.callback(transport.close)
    return write


async def _hear(control: socket.socket) -> str:
    """The last line that the guard says before it hangs up."""
    said = b""
    while part := await asyncio.get_running_loop().sock_recv(control, 4096):
        said += part
    return said.decode("utf-8", "replace").rstrip("\n").rpartition("\n")[2]


def _keep(ctx: JobContext, out: Output, err: Output) -> None:
    """A failed attempt has no result: what the command wrote goes to the job's log."""
    for stream, level in ((out, "info"), (err, "error")):
        if text := stream.text.strip():
            ctx.log(text[-_TAIL * 4 :], level)


def _failure(name: str, said: str, stderr: str) -> str:
    what, _, value = said.partition(" ")
    if what != "ended":
        return f"{name} could not be run: {value if what == 'failed' else 'its guard was killed'}"
    status = int(value)
    how = f"was ended by {_signal_name(-status)}" if status < 0 else f"exited with code {status}"
    tail = stderr.strip()[-_TAIL:]
    return f"{name} {how}" + (f": {tail}" if tail else "")


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
