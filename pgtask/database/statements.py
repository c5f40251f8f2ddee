"""The SQL of pgtask: one statement a file in `sql/`, named for what it does."""

from __future__ import annotations

from importlib.resources import files

_DIRECTORY = files("pgtask.database").joinpath("sql")


def load(name: str) -> bytes:
    """The statement kept in `sql/<name>.sql`. Raises FileNotFoundError when there is none."""
    return _DIRECTORY.joinpath(f"{name}.sql").read_bytes()
