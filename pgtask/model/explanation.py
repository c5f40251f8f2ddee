"""Why a job waits, runs or has ended as it did, as the SQL function pgtask.explain tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NOT_FOUND = "not_found"
"""The code of the only reason there is for a job that nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A word for programs and a sentence for people. The one in position 1 matters most."""

    position: int
    code: str
    blocking: bool
    """Whether this alone keeps the job from being claimed now."""
    text: str
    details: dict[str, Any]
    """What the sentence says, in values; which keys there are depends on the code."""
