"""What `pgtask demo` enqueues by SQL, and what came of its jobs: those with its tag within a stretch of ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from psycopg.rows import class_row, scalar_row

from pgtask.database import statements
from pgtask.database.connection import Connection
from pgtask.database.reading import in_words

_INSERT = statements.load("insert_file_job")
_COUNT = statements.load("count_tagged_jobs")
_SUM = statements.load("sum_file_jobs")
_LARGEST = statements.load("largest_file_jobs")

BATCH = 1000


class Span(NamedTuple):
    """The jobs with a tag among those from one id to another."""

    tag: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Live:
    """Jobs that have not ended, those of them that run, and the first of them."""

    live: int
    running: int
    first: int | None


@dataclass(frozen=True, slots=True)
class FileTotals:
    """What came of the file jobs, and the seconds from the first start to the last end."""

    completed: int
    failed: int
    seconds: float
    bytes: int
    lines: int


@dataclass(frozen=True, slots=True)
class FileResult:
    """What a job found out about a file."""

    id: int
    path: str
    size: int
    lines: int
    sha256: str


def insert_file_jobs(connection: Connection, payloads: Sequence[str], queue: str, tag: str) -> list[int]:
    """Enqueues a job for each payload, the text of a JSON object, with an INSERT of its own; returns their ids."""
    ids: list[int] = []
    for start in range(0, len(payloads), BATCH):
        rows = [{"payload": text, "queue": queue, "tags": [tag]} for text in payloads[start : start + BATCH]]
        with connection.transaction(), connection.cursor(row_factory=scalar_row) as cursor:
            cursor.executemany(_INSERT, rows, returning=True)
            more: bool | None = True
            while more:
                ids += cursor.fetchall()
                more = cursor.nextset()
    return ids


def count_live(connection: Connection, span: Span) -> Live:
    """How many have not ended."""
    with in_words(connection), connection.cursor(row_factory=class_row(Live)) as cursor:
        found = cursor.execute(_COUNT, span._asdict()).fetchone()
    assert found is not None
    return found


def sum_results(connection: Connection, span: Span) -> FileTotals:
    """What came of the file jobs that have ended."""
    with in_words(connection), connection.cursor(row_factory=class_row(FileTotals)) as cursor:
        found = cursor.execute(_SUM, span._asdict()).fetchone()
    assert found is not None
    return found


def largest_files(connection: Connection, span: Span, limit: int) -> list[FileResult]:
    """The largest files, as the jobs found them."""
    with in_words(connection), connection.cursor(row_factory=class_row(FileResult)) as cursor:
        return cursor.execute(_LARGEST, {**span._asdict(), "limit": limit}).fetchall()
