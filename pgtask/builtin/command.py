"""command: runs a command that the operator of the worker's machine has named and allowed."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
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


class CommandFailedError(Exception):
    """The command could not be started, ended with another status than 0, or took too long."""


class Output:
    """The end of what a stream carried, however much it was."""

    def __init__(self) -> None:
        self._kept = b""
        self.truncated = False

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Reads to the end, so that the command never waits for a reader."""
        while chunk := await stream.read(65536):
            self._kept += chunk
            if len(self._kept) > MAX_OUTPUT:
                self._kept = self._kept[-MAX_OUTPUT:]
                self.truncated = True

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
    if said != "0":
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
    """Runs the guard with the command; returns what it has to say about its end."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(Path(guard.__file__)), str(theirs.fileno()), str(GRACE), *line),
                pass_fds=[theirs.fileno()],
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=PIPE,
                env=variables,
                cwd=chosen.directory,
                start_new_session=True,
            )
        assert process.stdout is not None
        assert process.stderr is not None
        ended = asyncio.gather(out.read(process.stdout), err.read(process.stderr), process.wait())
        try:
            await asyncio.shield(ended)
            return (await asyncio.get_running_loop().sock_recv(ours, 4096)).decode().strip()
        finally:
            await _stop(ours, process, ended)


async def _stop(control: socket.socket, process: Process, ended: asyncio.Future[Any]) -> None:
    # The guard sees it and ends the command; the slot is free only when nothing of it is left.
    if process.returncode is None:
        control.shutdown(socket.SHUT_WR)
    await ended


def _keep(ctx: JobContext, out: Output, err: Output) -> None:
    """A failed attempt has no result: what the command wrote goes to the job's log."""
    for stream, level in ((out, "info"), (err, "error")):
        if text := stream.text.strip():
            ctx.log(text[-_TAIL * 4 :], level)


def _failure(name: str, said: str, stderr: str) -> str:
    try:
        status = int(said)
    except ValueError:
        return f"{name} could not be run: {said or 'its guard was killed'}"
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"exited with code {status}"
    tail = stderr.strip()[-_TAIL:]
    return f"{name} {how}" + (f": {tail}" if tail else "")
