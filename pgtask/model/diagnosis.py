"""What a check-up says: one verdict for each thing looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a thing is. `unknown`: it could not be seen, which is no problem by itself."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at: what was found and, unless it is well, what to do about it."""

    name: str
    status: Verdict
    found: str
    remedy: str | None = None


def ok(name: str, found: str) -> Check:
    """It is well."""
    return Check(name=name, status=Verdict.OK, found=found)


def unknown(name: str, why: str, remedy: str | None = None) -> Check:
    """It could not be seen."""
    return Check(name=name, status=Verdict.UNKNOWN, found=why, remedy=remedy)


def warning(name: str, found: str, remedy: str) -> Check:
    """It works, but not as well or as safely as it could, or will not for ever."""
    return Check(name=name, status=Verdict.WARNING, found=found, remedy=remedy)


def problem(name: str, found: str, remedy: str) -> Check:
    """Jobs are lost, late or not run because of it, or soon will be."""
    return Check(name=name, status=Verdict.PROBLEM, found=found, remedy=remedy)


def worst(checks: Iterable[Check]) -> Verdict:
    """The gravest verdict; what could not be seen counts for nothing."""
    found = {check.status for check in checks}
    return next((verdict for verdict in (Verdict.PROBLEM, Verdict.WARNING) if verdict in found), Verdict.OK)


def listing(items: Iterable[str], most: int = 3) -> str:
    """The first few of many: "a, b, c and 4 more"."""
    every = list(items)
    rest = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + rest
