"""The commands that the task command may run, from a local file that no job and no database can change.

```toml
[backup]
program = ["/usr/local/bin/backup", "--quick"]
arguments = ["[a-z]{1,20}", "[0-9]+"]    # a pattern for each that a job must give; or how many; none unless said
timeout = "10m"                          # 1 min unless said
directory = "/var/backups"               # the file's own unless said
environment = ["BACKUP_KEY"]             # variables of the worker that it is to see; all others it does not
```
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgtask.model.duration import parse_duration
from pgtask.model.errors import ConfigurationError
from pgtask.model.verdict import Discard

_KEYS = ("program", "arguments", "timeout", "directory", "environment")
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_MAX_ARGUMENT = 4_000
_BASE = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Command:
    """A command that the operator of this machine allows."""

    name: str
    program: tuple[str, ...]
    directory: Path
    patterns: tuple[re.Pattern[str] | None, ...] = ()
    """One for each argument; None takes any text."""
    timeout: float = 60.0
    environment: tuple[str, ...] = ()

    def line(self, arguments: Any) -> list[str]:
        """The program with arguments from a job. Raises Discard for those that do not fit."""
        if not isinstance(arguments, list) or not all(isinstance(argument, str) for argument in arguments):
            raise Discard("args must be a list of texts")
        if len(arguments) != len(self.patterns):
            raise Discard(f"the command {self.name} takes {len(self.patterns)} arguments, not {len(arguments)}")
        for argument, pattern in zip(arguments, self.patterns, strict=True):
            if argument.startswith("-"):
                raise Discard(f"the argument {argument!r} begins with a dash and could be taken for an option")
            if len(argument) > _MAX_ARGUMENT or any(not char.isprintable() for char in argument):
                raise Discard(f"the argument {argument[:100]!r} is too long or holds a control character")
            if pattern is not None and not pattern.fullmatch(argument):
                raise Discard(f"the argument {argument!r} of the command {self.name} does not match {pattern.pattern}")
        return [*self.program, *arguments]

    def variables(self, job_id: int, attempt: int) -> dict[str, str]:
        """The environment to run in: what the file lets through of the worker's, and which attempt it is."""
        passed = {name: os.environ[name] for name in self.environment if name in os.environ}
        return _BASE | passed | {"PGTASK_JOB_ID": str(job_id), "PGTASK_ATTEMPT": str(attempt)}


def find(path: Path, name: Any) -> Command:
    """The command of this name. Raises ConfigurationError for a bad file, Discard for a name that is not in it."""
    try:
        table = tomllib.loads(read_trusted(path))
    except ValueError as error:
        raise ConfigurationError(f"commands_file {path} cannot be read: {error}") from None
    if not isinstance(name, str) or name not in table:
        raise Discard(f"There is no command {name!r} in the worker's commands_file.")
    try:
        return _command(name, table[name], path.resolve().parent)
    except (TypeError, ValueError, re.error) as error:
        raise ConfigurationError(f"commands_file {path}, [{name}]: {error}") from None


def read_trusted(path: Path) -> str:
    """The text of a file that nobody but root and this user can change or replace. Raises ConfigurationError."""
    try:
        real = path.resolve(strict=True)
        # Not to wait for a writer, should it be a pipe.
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK)
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise ConfigurationError(f"commands_file {path} is no file")
            _check(real, facts, _OTHERS)
            for folder in real.parents:
                # In a sticky folder, as /tmp is, others can add files but not replace this one.
                facts = folder.stat()
                _check(folder, facts, 0 if facts.st_mode & stat.S_ISVTX else _OTHERS)
            with open(descriptor, encoding="utf-8", closefd=False) as file:
                return file.read()
        finally:
            os.close(descriptor)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"commands_file {path} cannot be read: {error}") from None


def _check(path: Path, facts: os.stat_result, forbidden: int) -> None:
    if facts.st_uid not in (0, os.geteuid()):
        raise ConfigurationError(f"commands_file: {path} belongs to another user: give it to root or the worker's user")
    if facts.st_mode & forbidden:
        raise ConfigurationError(f"commands_file: {path} can be changed by other users: run chmod go-w on it")


def _command(name: str, table: Any, home: Path) -> Command:
    if not isinstance(table, Mapping):
        raise TypeError("it must be a table with a program")
    if unknown := set(table) - set(_KEYS):
        raise ValueError(f"unknown key {min(unknown)!r}; known: {', '.join(_KEYS)}")
    program = _texts("program", table.get("program"))
    if not program or not program[0].startswith("/"):
        raise ValueError('program must be a list that begins with an absolute path, as in ["/usr/bin/rsync", "-a"]')
    directory = table.get("directory", str(home))
    if not isinstance(directory, str) or not directory.startswith("/"):
        raise ValueError("directory must be an absolute path")
    timeout = parse_duration(table.get("timeout", 60))
    if timeout <= 0:
        raise ValueError("timeout must be longer than nothing")
    return Command(
        name,
        program,
        Path(directory),
        _patterns(table.get("arguments", 0)),
        timeout,
        _texts("environment", table.get("environment", [])),
    )


def _patterns(value: Any) -> tuple[re.Pattern[str] | None, ...]:
    if type(value) is int and 0 <= value <= 100:
        return (None,) * value
    return tuple(re.compile(text) for text in _texts("arguments", value))


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{key} must be a list of texts")
    return tuple(value)
