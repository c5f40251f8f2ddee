"""The engine's tables, functions and view."""

from pgtask.migrations.scripts import run

revision = "0001"
down_revision = None


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
