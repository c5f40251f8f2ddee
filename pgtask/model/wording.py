"""Numbers and lengths of time as people read them."""

from __future__ import annotations

DASH = "\N{EN DASH}"
"""Stands where there is nothing to show."""

_UNITS = ((604800, "w"), (86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def duration(seconds: float, parts: int = 2) -> str:
    """A length of time in at most `parts` units: "87 µs", "340 ms", "1.4 s", "42 s", "2 h 10 m"."""
    if seconds < 0.0000005:
        return "0 s"
    if seconds < 0.0009995:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    rest = round(seconds)
    words: list[str] = []
    for length, unit in _UNITS:
        amount, rest = divmod(rest, length)
        if amount:
            words.append(f"{amount} {unit}")
        if words:
            parts -= 1
        if parts == 0:
            break
    return " ".join(words)


def plural(number: int, noun: str, exact: bool = True) -> str:
    """A count with its noun: "1 job", "1,284 jobs", "10,000+ jobs" where it is a lower bound."""
    return f"{number:,}{'' if exact else '+'} {noun}{'' if number == 1 and exact else 's'}"


def size(count: int) -> str:
    """A number of bytes: "812 B", "45 MB"."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.1f} {unit}" if 0 < amount < 9.95 and unit != "B" else f"{amount:.0f} {unit}"


def share(part: float | None) -> str:
    """A share as per cent, a dash when there is none: "0.36 %", "12 %"."""
    if part is None:
        return DASH
    percent = part * 100
    if percent == 0 or percent >= 9.95:
        return f"{percent:.0f} %"
    if percent >= 0.995:
        return f"{percent:.1f} %"
    return "<0.01 %" if percent < 0.01 else f"{percent:.2g} %"
