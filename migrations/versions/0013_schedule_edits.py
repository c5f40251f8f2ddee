"""An edit mends what was broken, a clock that was put back silences nobody, and bounds are refused in words."""

from pgtask.migrations.scripts import run

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
