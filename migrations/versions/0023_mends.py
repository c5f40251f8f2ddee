"""Retries and deadlines that hold, retries by hand that count."""

from pgtask.migrations.scripts import run

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
