"""Doors for roles that have no rights on the tables behind them."""

from pgtask.migrations.scripts import run

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
