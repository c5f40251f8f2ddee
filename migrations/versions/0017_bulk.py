"""Actions on many jobs, worked off a chunk at a time."""

from pgtask.migrations.scripts import run

revision = "0017"
down_revision = "0014"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
