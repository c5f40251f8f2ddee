"""Schedules, their ticks, and the doors to them."""

from pgtask.migrations.scripts import run

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
