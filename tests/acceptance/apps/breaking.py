"""Tasks that fail until the file `mended` is there: one with a breaker, one without, one with a rate of its own."""

from __future__ import annotations

import os
from pathlib import Path

from pgtask import Breaker, JobContext, PgTask, Retry

tasks = PgTask()
_FOLDER = Path(os.environ["FAULTS_FOLDER"])


def _try(ctx: JobContext) -> None:
    descriptor = os.open(_FOLDER / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"start {ctx.id} {ctx.attempt} {os.getpid()}\n".encode())
    finally:
        os.close(descriptor)
    if not (_FOLDER / "mended").exists():
        raise ConnectionError("it is away")


@tasks.task(
    name="call", max_retries=-1, retry=Retry.fixed(0), breaker=Breaker(failures=5, hold="300ms", max_hold="600ms")
)
def call(ctx: JobContext) -> None:
    """Fails while what it calls is away."""
    _try(ctx)


@tasks.task(name="bare", max_retries=1, retry=Retry.fixed(0))
def bare(ctx: JobContext) -> None:
    """The same, without a breaker."""
    _try(ctx)


@tasks.task(name="crash", max_retries=0, isolation="process", breaker=Breaker(failures=2, hold="1h", max_hold="1h"))
def crash() -> None:
    """Takes its process down."""
    os._exit(9)


@tasks.task(name="paced", rate_limit="2/h", rate_burst=2)
def paced() -> None:
    """Starts twice an hour."""
