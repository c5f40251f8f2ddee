"""file: looks at a file on the worker's machine. It reads and tells sizes and digests, never contents."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import Any, Literal

from pgtask.model.verdict import Discard

_CHUNK = 1024 * 1024
_OPERATIONS = ("stat", "sha256", "lines", "all")


def file(path: str, operation: Literal["stat", "sha256", "lines", "all"] = "all") -> dict[str, Any]:
    """A regular file's size and time (stat), its SHA-256, its number of lines, or all of these."""
    if operation not in _OPERATIONS:
        raise Discard(f"unknown operation {operation!r}: use {', '.join(_OPERATIONS)}")
    facts = Path(path).stat()
    if not stat.S_ISREG(facts.st_mode):
        raise Discard(f"{path} is no regular file")
    result: dict[str, Any] = {"path": path}
    if operation in ("stat", "all"):
        result |= {"size": facts.st_size, "modified": facts.st_mtime}
    if operation in ("sha256", "lines", "all"):
        digest, lines = _read(Path(path))
        result |= {"sha256": digest} if operation != "lines" else {}
        result |= {"lines": lines} if operation != "sha256" else {}
    return result


def _read(path: Path) -> tuple[str, int]:
    digest, lines, last = hashlib.sha256(), 0, b"\n"
    with path.open("rb") as source:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    return digest.hexdigest(), lines + (last != b"\n")
