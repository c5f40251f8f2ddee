"""Making waiting jobs due without waiting."""

from __future__ import annotations

from datetime import timedelta

from pgtask.engine.app import PgTask
from pgtask.model.duration import parse_duration


def advance(app: PgTask, duration: float | str | timedelta) -> int:
    """Lets so much time pass for the application's waiting jobs, so that what was due within it is due now.

    Returns how many jobs wait, due or not.

    `duration` is seconds, a timedelta or text such as "1h". No clock is touched: the due times of delayed, snoozed and
    retrying jobs move, in the database. In inline mode nothing waits for a time: use `Inline.run_waiting`.
    Raises ValueError for a malformed duration.
    """
    from pgtask.database import travelling

    seconds = parse_duration(duration)
    with app.pool.connection() as connection:
        return travelling.bring_forward(connection, seconds)
