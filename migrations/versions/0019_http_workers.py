"""Workers over HTTP: whose they are, and what they may hold."""

from pgtask.migrations.scripts import run

revision = "0019"
down_revision = "0017"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
