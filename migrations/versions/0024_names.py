"""Finding ended jobs by what is rare."""

from pgtask.migrations.scripts import run

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
