"""Whether a server can do its work: the database answers, takes changes, and has the schema of this release."""

from __future__ import annotations

from typing import NamedTuple

from psycopg.rows import scalar_row

from pgtask.database import migrations, statements
from pgtask.database.pool import Pool
from pgtask.database.reading import in_words_of
from pgtask.model.errors import PgTaskError, SchemaError

_RECOVERY = statements.load("read_recovery")


class Condition(NamedTuple):
    """Something that must hold; `detail` says what is wrong, None when nothing is."""

    name: str
    detail: str | None


def conditions(pool: Pool) -> list[Condition]:
    """What must hold for requests to be answered."""
    try:
        with (
            pool.connection() as connection,
            in_words_of(pool.url),
            connection.cursor(row_factory=scalar_row) as cursor,
        ):
            recovering = cursor.execute(_RECOVERY).fetchone()
            schema = None
            try:
                migrations.check(connection)
            except SchemaError as error:
                schema = str(error)
    except PgTaskError as error:
        return [Condition("database", str(error))]
    standby = "The database is a standby or read-only: it takes no changes." if recovering else None
    return [Condition("database", None), Condition("writable", standby), Condition("schema", schema)]
