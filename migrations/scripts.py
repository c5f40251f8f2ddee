"""Running a revision's SQL, as PostgreSQL or as Alembic's `--sql` wants it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from alembic import context, op


def run(revision: str, direction: Literal["up", "down"]) -> None:
    """Runs `NNNN_name.up.sql` or `NNNN_name.down.sql` beside the revision file given.

    The text goes to the driver as it is, and without parameters: SQLAlchemy would trip over `:word`
    in it, and the driver over `%`.
    """
    script = Path(revision).with_suffix(f".{direction}.sql").read_text("utf-8")
    if context.is_offline_mode():
        op.get_context().impl.static_output(script)
        return
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(script.encode())
