"""The supervisor's ear: passes notifications on to the executors. Only a hint: polling stands behind it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pgtask.database.notifications import Message, listen
from pgtask.engine.persistence import persist

log = logging.getLogger("pgtask.listener")


class Listener:
    """Listens until stopped; reconnects for ever, and wakes everyone after each reconnection."""

    def __init__(self, url: str, owner: int | str, on_message: Callable[[Message], None]) -> None:
        """`owner`, a worker's id or "server", shows in the connection's name."""
        self._url = url
        self._name = f"pgtask listener {owner}"
        self._on_message = on_message
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begins to listen."""
        threading.Thread(target=self._run, name="listener", daemon=True).start()

    def stop(self) -> None:
        """Listens no more."""
        self._stopped.set()

    def _run(self) -> None:
        persist(self._serve, self._stopped, log, "not listening, polling goes on")

    def _serve(self) -> None:
        listen(self._url, self._name, lambda: self._on_message({"wake": True}), self._pass_on)

    def _pass_on(self, message: Message) -> bool:
        if message and not self._stopped.is_set():
            self._on_message(message)
        return not self._stopped.is_set()
