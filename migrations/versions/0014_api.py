"""Who may use the API, how often, and what they did."""

from pgtask.migrations.scripts import run

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
