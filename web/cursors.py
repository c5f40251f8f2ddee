"""Where a list goes on, as text that clients only hand back."""

from __future__ import annotations

import base64
import binascii
import json

from .problems import Problem

_LARGEST = 2**63 - 1


def write_cursor(*numbers: int) -> str:
    """Numbers as a cursor."""
    return base64.urlsafe_b64encode(json.dumps(numbers, separators=(",", ":")).encode()).decode().rstrip("=")


def read_cursor(text: str, count: int) -> list[int]:
    """So many numbers from a cursor. Raises Problem 422 for what is none."""
    try:
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        found = None
    if (
        isinstance(found, list)
        and len(found) == count
        and all(type(number) is int and 0 <= number <= _LARGEST for number in found)
    ):
        return found
    raise Problem(422, "invalid-cursor", "This is no cursor of this list: take next_cursor of the page before.")
