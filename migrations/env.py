"""What Alembic runs for each command: the bookkeeping stays in schema pgtask, in one transaction.

`pgtask.database.migrations` hands its connection over; the `alembic` command, for developers, gets
one from PGTASK_DATABASE_URL under the same lock.
"""

from __future__ import annotations

import os
from typing import Any

from alembic import context
from alembic.util import CommandError

from pgtask.database import migrations, statements


def _run(**target: Any) -> None:
    steps = context.config.attributes.get("steps", [])
    context.configure(
        version_table=migrations.VERSION_TABLE,
        version_table_schema=migrations.SCHEMA,
        on_version_apply=lambda step, **_: steps.append(step),
        **target,
    )
    with context.begin_transaction():
        if context.is_offline_mode():
            context.get_context().impl.static_output(statements.load("create_schema").decode())
        context.run_migrations()


def _run_online() -> None:
    if connection := context.config.attributes.get("connection"):
        _run(connection=connection)
        return
    url = os.environ.get("PGTASK_DATABASE_URL")
    if url is None:
        raise CommandError("Set PGTASK_DATABASE_URL to the database to work on.")
    with migrations.lock(url), migrations.transaction(url) as connection:
        _run(connection=connection)


if context.is_offline_mode():
    _run(dialect_name="postgresql")
else:
    _run_online()
