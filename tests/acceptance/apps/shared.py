"""The tasks of examples/http_worker.py, for a native worker beside those that come over HTTP."""

from __future__ import annotations

import time

from pgtask import JobContext, PgTask

app = PgTask()


@app.task(name="add")
def add(a: float, b: float) -> float:
    """The sum of two numbers."""
    return a + b


@app.task(name="count")
def count(ctx: JobContext, to: int, pause: float = 0.1) -> int:
    """Counts, slowly."""
    for number in range(to):
        ctx.progress(100 * number / to, f"{number} of {to}")
        time.sleep(pause)
    return to
