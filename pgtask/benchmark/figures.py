"""Figures: samples beside those of a floor, and what they should be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """A bound that a figure should keep, of its ratio to the floor unless `absolute`."""

    bound: float
    at_most: bool = False
    absolute: bool = False

    def __str__(self) -> str:
        amount = f"{self.bound:,g}" if self.absolute else f"{self.bound:.2f}"
        return f"{'≤' if self.at_most else '≥'} {amount}{'' if self.absolute else ' of floor'}"

    def keeps(self, amount: float) -> bool:
        """Whether an amount is on the right side of it."""
        return amount <= self.bound if self.at_most else amount >= self.bound


@dataclass(frozen=True, slots=True)
class Floor:
    """What a figure is compared with: the same work without what is measured, in the same run."""

    title: str
    samples: list[float]

    @property
    def value(self) -> float:
        """The median."""
        return median(self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the report: a sample of each run, the n-th of the floor beside the n-th here."""

    name: str
    title: str
    unit: str
    samples: list[float]
    floor: Floor | None = None
    targets: tuple[Target, ...] = ()

    @property
    def value(self) -> float:
        """The median."""
        return median(self.samples)

    @property
    def ratio(self) -> float | None:
        """The median of the ratios to the floor, run by run."""
        if self.floor is None:
            return None
        return median(ours / theirs for ours, theirs in zip(self.samples, self.floor.samples, strict=True))

    def met(self, target: Target) -> bool | None:
        """Whether a target is met; None when it is of a ratio and there is no floor."""
        amount = self.value if target.absolute else self.ratio
        return None if amount is None else target.keeps(amount)

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "value": self.value,
            "samples": self.samples,
            "floor": self.floor and asdict(self.floor) | {"value": self.floor.value},
            "ratio": self.ratio,
            "targets": [asdict(target) | {"text": str(target), "met": self.met(target)} for target in self.targets],
        }
