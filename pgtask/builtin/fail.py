"""fail: fails, to see what happens then."""

from __future__ import annotations

from typing import Any

from pgtask.engine.context import JobContext


class RequestedError(Exception):
    """What the task fail raises."""


def fail(ctx: JobContext, message: str = "failed as asked", times: int | None = None) -> dict[str, Any]:
    """Fails with `message`: always, or the first `times` attempts only."""
    if times is None or ctx.retry_count < times:
        raise RequestedError(message)
    return {"failures": ctx.retry_count}
