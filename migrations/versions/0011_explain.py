"""Why a job waits, runs or has ended as it did."""

from pgtask.migrations.scripts import run

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
