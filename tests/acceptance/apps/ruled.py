"""Tasks whose code says which errors are retried, and when."""

from __future__ import annotations

from psycopg.errors import UniqueViolation

from pgtask import JobContext, PgTask

tasks = PgTask()
ERRORS = {"connection": ConnectionResetError, "value": ValueError, "key": KeyError}


@tasks.task(name="plain", retry_on=ConnectionError, retry_delays=[0, 0])
def plain(error: str) -> None:
    """Raises what it is told."""
    raise ERRORS[error]("as told")


@tasks.task(name="coroutine", stop_on=(ValueError, KeyError), retry_delays=[0])
async def coroutine(error: str) -> None:
    """The same as a coroutine."""
    raise ERRORS[error]("as told")


@tasks.task(name="transactional", transactional=True, retry_delays=[3600], max_retries=1)
def transactional(ctx: JobContext) -> None:
    """Has its commit refused, by a constraint that is looked at only then."""
    repeat(ctx)


@tasks.task(name="stopped", transactional=True, stop_on=UniqueViolation)
def stopped(ctx: JobContext) -> None:
    """The same, and knows that it would be so again."""
    repeat(ctx)


def repeat(ctx: JobContext) -> None:
    """Writes twice what may be there once."""
    ctx.connection.execute("CREATE TABLE IF NOT EXISTS ruled (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    ctx.connection.execute("INSERT INTO ruled VALUES (1), (1)")
