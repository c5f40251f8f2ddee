"""Dead letters: resolving them, putting many back at once, and copies in a queue of their own."""

from pgtask.migrations.scripts import run

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
