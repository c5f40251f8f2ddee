"""How many jobs may wait in a queue, and by when a job must start."""

from pgtask.migrations.scripts import run

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
