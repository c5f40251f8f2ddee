"""sleep: takes a while and does nothing."""

from __future__ import annotations

import asyncio

from pgtask.model.duration import parse_duration


async def sleep(duration: float | str = 1) -> dict[str, float]:
    """Sleeps for `duration`: seconds, or text such as "2s" or "1m30s"."""
    seconds = parse_duration(duration)
    await asyncio.sleep(seconds)
    return {"slept": seconds}
