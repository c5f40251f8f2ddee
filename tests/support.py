"""What tests of several kinds share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")

INTERVAL = 0.02


def eventually(condition: Callable[[], Answer], timeout: float = 10) -> Answer:
    """Asks `condition` until its answer is true, at most `timeout` seconds; returns the answer.

    It may also fail assertions on the way. None counts as not yet, so that a query without a row
    never passes for success.
    """
    deadline = time.monotonic() + timeout
    while True:
        overdue = time.monotonic() >= deadline
        try:
            answer = condition()
        except AssertionError:
            if overdue:
                raise
        else:
            if answer:
                return answer
            assert not overdue, f"the answer is still {answer!r} after {timeout:g} s"
        time.sleep(INTERVAL)
