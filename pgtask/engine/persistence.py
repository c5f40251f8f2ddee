"""Doing what needs the database for as long as it takes: trying again for ever, with a line of log now and then."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from pgtask.database.connection import lost, one_line

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
LOG_EVERY = 10.0


def persist(
    serve: Callable[[], None],
    stopped: threading.Event,
    log: logging.Logger,
    complaint: str,
    longest_pause: float = LONGEST_PAUSE,
) -> None:
    """Calls `serve` until `stopped`, again after each failure; pauses are in seconds, with full jitter.

    Jitter keeps a fleet from coming back all at once. A lost connection is worth one line, anything else a traceback.
    """
    pause, logged = FIRST_PAUSE, float("-inf")
    while not stopped.is_set():
        begun = time.monotonic()
        try:
            serve()
        except Exception as error:
            now = time.monotonic()
            if now - begun > longest_pause:
                pause = FIRST_PAUSE
            if now - logged > LOG_EVERY:
                logged = now
                log.warning("%s (%s); trying again", complaint, one_line(error), exc_info=not lost(error))
            stopped.wait(random.uniform(0, pause))
            pause = min(pause * 2, longest_pause)
