"""echo: gives back what it was given."""

from __future__ import annotations

from typing import Any


def echo(**payload: Any) -> dict[str, Any]:
    """Returns its payload."""
    return payload
