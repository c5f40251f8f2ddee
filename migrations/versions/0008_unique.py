"""Unique jobs: keys of every scope, keys from payloads, and what becomes of a job whose key is held."""

from pgtask.migrations.scripts import run

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run(__file__, "up")


def downgrade() -> None:
    run(__file__, "down")
