"""Circuits that open by themselves, rates set by hand, retry budgets."""

from pgtask.migrations.scripts import run

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
