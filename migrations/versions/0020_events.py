"""Events: every ended attempt in an order that skips none, read by consumers and sent to webhooks."""

from pgtask.migrations.scripts import run

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
