"""Calling the built-in tasks without a worker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgtask.builtin import request
from pgtask.builtin.settings import settings
from pgtask.engine.attempt import Attempt
from pgtask.engine.context import JobContext


def configure(monkeypatch: pytest.MonkeyPatch, directory: Path, **values: object) -> None:
    """Has the tasks run in this directory, with these settings alone."""
    for name in list(os.environ):
        if name.startswith("PGTASK_"):
            monkeypatch.delenv(name)
    for name, value in values.items():
        monkeypatch.setenv(f"PGTASK_{name.upper()}", str(value))
    monkeypatch.chdir(directory)
    settings.cache_clear()
    request._trust.cache_clear()


class Context(JobContext):
    """The context of an attempt that no worker knows; it keeps what is logged."""

    def __init__(self, id: int = 42, attempt: int = 1) -> None:
        self.lines: list[tuple[str, str]] = []
        super().__init__(
            Attempt(id, attempt, "task", "default", 1, {}, None, 0, 0.0),
            lambda *_: None,
            lambda _attempt, _at, _line, level, message: self.lines.append((level, message)),
        )
