"""The files of a demonstration: finding them, and reading one independently of the task that does so."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SKIPPED = frozenset({"__pycache__", "site-packages", "dist-packages"})
"""Directories below the path that are left out: what is in them is not the user's own."""


@dataclass(slots=True)
class Found:
    """Absolute paths of regular files, and how many others were left out."""

    paths: list[str] = field(default_factory=list)
    undecodable: int = 0
    """Names that are no text, which JSON cannot hold."""
    unreadable: int = 0


def find_files(path: Path) -> Found:
    """The regular files under a directory, in its order, or the one that `path` is itself; links are not followed."""
    found = Found()
    if not path.is_dir():
        _add(found, str(path.resolve()))
        return found
    for directory, names, files in os.walk(path.resolve()):
        names[:] = sorted(name for name in names if name not in SKIPPED)
        for name in sorted(files):
            _add(found, os.path.join(directory, name))  # noqa: PTH118 - a Path for each of 50,000 files takes seconds
    return found


def _add(found: Found, file: str) -> None:
    if not os.path.isfile(file) or os.path.islink(file):  # noqa: PTH113, PTH114 - likewise
        return
    try:
        file.encode()
    except UnicodeEncodeError:
        found.undecodable += 1
        return
    if os.access(file, os.R_OK):
        found.paths.append(file)
    else:
        found.unreadable += 1


def read_file(path: str) -> dict[str, Any]:
    """What a job of operation "all" must say of the file, but for its time. Raises OSError."""
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        file.seek(0)
        return {"path": path, "size": size, "sha256": digest, "lines": sum(1 for _ in file)}
