"""Structured logs: text on a terminal, one JSON object a line otherwise.

Records carry the job they belong to, worked out only for records that are really written.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO

FIELDS = (
    "worker",
    "executor",
    "job_id",
    "attempt",
    "task",
    "queue",
    *("request_id", "status", "ms", "caller", "address"),
)
FORMATS = ("auto", "text", "json")


class RunningAttempt(Protocol):
    """What a log record tells of the attempt it was written in."""

    id: int
    attempt: int
    task: str
    queue: str


class RunningSlot(Protocol):
    """A thread's place and the attempt in it."""

    @property
    def attempt(self) -> RunningAttempt | None:
        """The attempt that runs there now."""


class _Current(threading.local):
    slot: RunningSlot | None = None


current = _Current()
current_attempt: ContextVar[RunningAttempt | None] = ContextVar("current_attempt", default=None)


def running_attempt() -> RunningAttempt | None:
    """The attempt that the calling thread or asyncio task runs, if any."""
    slot = current.slot
    return slot.attempt if slot is not None else current_attempt.get()


class _JobFields(logging.Filter):
    """Adds to each record the worker and the job it was written by."""

    def __init__(self, fields: dict[str, object]) -> None:
        super().__init__()
        self._fields = fields

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in self._fields.items():
            record.__dict__.setdefault(name, value)
        attempt = running_attempt()
        if attempt is not None:
            for name, value in (
                ("job_id", attempt.id),
                ("attempt", attempt.attempt),
                ("task", attempt.task),
                ("queue", attempt.queue),
            ):
                record.__dict__.setdefault(name, value)
        return True


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: record.__dict__[name] for name in FIELDS if name in record.__dict__}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        instant = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        fields = " ".join(f"{name}={record.__dict__[name]}" for name in FIELDS if name in record.__dict__)
        line = f"{instant} {record.levelname:<7} {record.getMessage()}"
        if fields:
            line += f"  [{fields}]"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure(
    level: str = "info",
    style: str = "auto",
    stream: TextIO | None = None,
    **fields: object,
) -> None:
    """Sends all log records from `level` on to `stream` (standard error). `style` is auto, text or json; `fields`
    go with every record. Raises ValueError for an unknown level."""
    out = stream or sys.stderr
    handler = logging.StreamHandler(out)
    text = style == "text" or (style == "auto" and out.isatty())
    handler.setFormatter(_TextFormatter() if text else _JsonFormatter())
    handler.addFilter(_JobFields(fields))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # The pool's and the driver's own notes repeat what is logged here with its consequences.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
