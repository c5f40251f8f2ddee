"""What became of jobs that something was done to."""

from __future__ import annotations

from typing import NamedTuple


class Answer(NamedTuple):
    """What became of one job of many; `answer` is None when there is no such job."""

    id: int
    answer: str | None
    detail: str | None = None
