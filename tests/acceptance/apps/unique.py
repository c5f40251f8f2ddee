"""A task that works on what others have written before they asked for it."""

from __future__ import annotations

import os

import psycopg

from pgtask import PgTask, Unique

tasks = PgTask()


@tasks.task(name="rebuild", unique=Unique(by=["shop"], scope="waiting"))
def rebuild(shop: int) -> int:
    """Returns the version of the shop that it has seen."""
    with psycopg.connect(os.environ["PGTASK_DATABASE_URL"]) as connection:
        row = connection.execute("SELECT version FROM shops WHERE id = %s", [shop]).fetchone()
    assert row is not None
    return int(row[0])
