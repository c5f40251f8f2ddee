"""The supervisor's ear: passes notifications on to the executors. Only a hint: polling stands behind it."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from pgtask.database.connection import lost, one_line
from pgtask.database.notifications import Message, listen

_LOG_EVERY = 10.0
_LONGEST_PAUSE = 5.0

log = logging.getLogger("pgtask.listener")


class Listener:
    """Listens until stopped; reconnects for ever, and wakes everyone after each reconnection."""

    def __init__(self, url: str, worker_id: int, on_message: Callable[[Message], None]) -> None:
        self._url = url
        self._name = f"pgtask listener {worker_id}"
        self._on_message = on_message
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begins to listen."""
        threading.Thread(target=self._run, name="listener", daemon=True).start()

    def stop(self) -> None:
        """Listens no more."""
        self._stopped.set()

    def _run(self) -> None:
        pause, logged = 0.1, 0.0
        while not self._stopped.is_set():
            try:
                listen(self._url, self._name, lambda: self._on_message({"wake": True}), self._pass_on)
                pause = 0.1
            except Exception as error:
                now = time.monotonic()
                if now - logged > _LOG_EVERY:
                    logged = now
                    log.warning("not listening (%s); polling goes on", one_line(error), exc_info=not lost(error))
                self._stopped.wait(random.uniform(0, pause))
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _pass_on(self, message: Message) -> bool:
        if message and not self._stopped.is_set():
            self._on_message(message)
        return not self._stopped.is_set()
