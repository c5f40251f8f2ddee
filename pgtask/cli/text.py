"""Text for terminals and pipes: nothing in it can steer either; times are said as people say them.

What jobs carry (payloads, errors, names, log lines) comes from anyone, so control characters and
those that reorder text are shown as escapes.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from pgtask.model.serialise import instant_as_text
from pgtask.model.wording import DASH, duration

# C0, DEL and C1; soft hyphen; marks, overrides and isolates of direction; separators; other
# invisible format characters; lone surrogates; tags. Joiners (U+200C, U+200D) stay: scripts need them.
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064"
    r"\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def clean(text: str) -> str:
    r"""One line of text with unsafe characters as escapes such as \n, \x1b and \u202e."""
    return _UNSAFE.sub(_escape, text)


def clean_lines(text: str) -> list[str]:
    """Lines of text, each clean; tabs become four spaces."""
    return [clean(line) for line in text.expandtabs(4).splitlines()]


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def as_json(value: Any, indent: int | None = 2) -> str:
    """JSON with umlauts as they are and unsafe characters escaped."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    # They can only stand inside strings: layout is made of line feeds and spaces.
    return "\n".join(_UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1], line) for line in text.split("\n"))


def first_line(text: str | None) -> str:
    """The first line that is not empty, clean."""
    return next((line for line in clean_lines(text or "") if line.strip()), "")


def error_text(error_type: str | None, error: str | None) -> str:
    """An error on one line, with its type unless the text begins with it."""
    text = first_line(error)
    if not error_type or text.startswith(error_type):
        return text
    return f"{clean(error_type)}: {text}" if text else clean(error_type)


def shortened(text: str, width: int) -> str:
    """Text in so many columns of a terminal, of which some letters take two; cut with an ellipsis."""
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def seconds_since(instant: datetime) -> float:
    """Seconds from an instant to now."""
    return (datetime.now(UTC) - instant).total_seconds()


def relative(instant: datetime | None) -> str:
    """How long ago or ahead an instant is: "3 m ago", "in 2 h", "now"."""
    if instant is None:
        return DASH
    seconds = seconds_since(instant)
    if abs(seconds) < 1:
        return "now"
    if seconds < 0:
        return f"in {brief(-seconds)}"
    return f"{brief(seconds)} ago"


def brief(seconds: float) -> str:
    """A length of time in whole seconds or one larger unit: "3 m", "0 s"."""
    return duration(max(0, int(seconds)), parts=1)


def instant(value: datetime | None) -> str:
    """An instant as RFC 3339, empty for none."""
    return "" if value is None else instant_as_text(value)


def with_relative(value: datetime | None) -> str:
    """An instant in local time, to the second, with how long ago it is."""
    if value is None:
        return DASH
    return f"{value.astimezone():%Y-%m-%d %H:%M:%S %Z} ({relative(value)})"
