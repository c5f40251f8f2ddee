"""A number that a worker finds by itself between two bounds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pgtask.model.wording import plural


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the most it may be."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"auto:{self.least}-{self.most}"

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to find."""
        return self.least == self.most

    def of(self, word: str) -> str:
        """With what it counts: "1 executor", "1 to 100 slots"."""
        return plural(self.most, word) if self.fixed else f"{self.least} to {plural(self.most, word)}"

    def nearest(self, number: int) -> int:
        """The number within the bounds that is nearest to this one."""
        return min(max(number, self.least), self.most)


def bounds_of(number: int | Bounds) -> Bounds:
    """The bounds of what may be a plain number."""
    return number if isinstance(number, Bounds) else Bounds(number, number)


def parse_bounds(text: str, most: int) -> Bounds | None:
    """`auto`, which is from 1 to `most`, or `auto:MIN-MAX`; None when it is neither.

    Raises ValueError for bounds the wrong way round.
    """
    if text == "auto":
        return Bounds(1, most)
    match = re.fullmatch(r"auto:(\d{1,6})-(\d{1,6})", text)
    if match is None:
        return None
    bounds = Bounds(int(match[1]), int(match[2]))
    if not 1 <= bounds.least <= bounds.most:
        raise ValueError(f"{text!r} must go from a number of at least 1 up to another")
    return bounds
