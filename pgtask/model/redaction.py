"""What is kept out of records that people read: values whose names say that they are secret, and passwords in URLs."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "[hidden]"

_SECRET = re.compile(
    r"passw|passphrase|passcode|pwd|secret|token|api_?key|access_?key|private_?key|authorization|credential|cookie",
    re.IGNORECASE,
)
_PASSWORD = re.compile(r"(?<=://)([^/?#@:\s]*):[^/?#@\s]+@")


def redacted(value: Any) -> Any:
    """JSON without secrets. Numbers stay, whatever their name, such as max_tokens."""
    if isinstance(value, dict):
        return {name: _of(name, member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    if isinstance(value, str):
        return _PASSWORD.sub(rf"\1:{HIDDEN}@", value)
    return value


def _of(name: str, value: Any) -> Any:
    if value and isinstance(value, str | dict | list) and _SECRET.search(name.replace("-", "_")):
        return HIDDEN
    return redacted(value)
