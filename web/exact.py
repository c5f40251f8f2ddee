"""The texts of values in a JSON body, for what is to be stored as it was sent: Python's floats would round numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_SPACE = re.compile(r"[ \t\n\r]*")
_FRACTION = re.compile(rb"[0-9][.eE]")
_DECODER = json.JSONDecoder()


def may_round(body: bytes) -> bool:
    """Whether the body has numbers that are not whole, or texts that look as if."""
    return _FRACTION.search(body) is not None


def member(text: str, name: str, at: int = 0) -> tuple[int, int] | None:
    """Where in the text the value of a member of the object at `at` begins and ends, None when there is none.

    The last one counts, as for every reader of JSON here. The text is JSON.
    """
    found = None
    at = _skip(text, at) + 1
    while text[at := _skip(text, at)] != "}":
        key, at = _DECODER.raw_decode(text, at)
        begin = _skip(text, _skip(text, at) + 1)
        end = _DECODER.raw_decode(text, begin)[1]
        if key == name:
            found = (begin, end)
        at = _past_comma(text, end)
    return found


def member_text(text: str, name: str, at: int = 0) -> str | None:
    """The text of the value of a member of the object at `at`."""
    place = member(text, name, at)
    return None if place is None else text[place[0] : place[1]]


def items(text: str, at: int) -> Iterator[tuple[int, int]]:
    """Where each item of the array at `at` begins and ends."""
    at = _skip(text, at) + 1
    while text[at := _skip(text, at)] != "]":
        end = _DECODER.raw_decode(text, at)[1]
        yield at, end
        at = _past_comma(text, end)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def _past_comma(text: str, at: int) -> int:
    at = _skip(text, at)
    return at + 1 if text[at] == "," else at
