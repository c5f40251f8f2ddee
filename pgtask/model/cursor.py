"""Cursors: where a list goes on, bound to the list that made them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Any

from pgtask.model.errors import CursorError

_BOUND = 9
"""Bytes that tell one list from another."""

_LONGEST = 1000


def encode_cursor(binding: str, position: list[Any]) -> str:
    """The cursor for a position, which is JSON, in the list that `binding` describes."""
    text = json.dumps(position, separators=(",", ":"))
    return base64.urlsafe_b64encode(_mark(binding) + text.encode()).decode().rstrip("=")


def decode_cursor(binding: str, cursor: str) -> list[Any]:
    """The position in a cursor. Raises CursorError where another list made it, or none."""
    try:
        given = cursor[:_LONGEST]
        data = base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True)
        mark, position = data[:_BOUND], json.loads(data[_BOUND:])
    except (ValueError, binascii.Error, RecursionError):
        mark, position = b"", None
    if mark != _mark(binding) or not isinstance(position, list):
        raise refused()
    return position


def refused() -> CursorError:
    """What to raise for a cursor that holds no position of the list."""
    return CursorError(
        "This cursor is of another list: use next_cursor of a page with the same filter and sort, or leave it out."
    )


def _mark(binding: str) -> bytes:
    return hashlib.sha256(binding.encode(errors="surrogatepass")).digest()[:_BOUND]
