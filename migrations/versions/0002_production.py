"""What workers need in production: suspects, what an attempt used, lanes, a lighter wake-up."""

from pgtask.migrations.scripts import run

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
