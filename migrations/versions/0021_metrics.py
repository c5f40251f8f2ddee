"""How long attempts took, in buckets; totals that only grow; what workers do, minute by minute."""

from pgtask.migrations.scripts import run

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
