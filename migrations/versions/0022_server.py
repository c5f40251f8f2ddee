"""Pruning what the API keeps."""

from pgtask.migrations.scripts import run

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
