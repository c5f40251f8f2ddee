"""Suspects, and what an attempt used."""

from pgtask.migrations.scripts import run

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
