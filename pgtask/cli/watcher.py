"""Looking at the database again and again beside a screen, which never waits for it."""

from __future__ import annotations

import os
import queue
import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pgtask.config import mask_secrets
from pgtask.model.errors import PgTaskError

if TYPE_CHECKING:
    from pgtask.model.operations import Operations
    from pgtask.model.overview import Overview

Action = Callable[["Operations"], str]
"""Something to do; says what came of it."""

Open = Callable[[], AbstractContextManager["Operations"]]
"""A new way to the database or its server, to be closed again."""

LONGEST_PAUSE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is known now: the latest overview, since when the database has been away and why, what came of the latest
    action when. Instants are seconds since 1970."""

    overview: Overview | None = None
    away_since: float | None = None
    trouble: str = ""
    message: str = ""
    message_at: float = 0.0


class Watcher:
    """A thread with a connection of its own, opened anew after an outage."""

    def __init__(self, way: Open, interval: float) -> None:
        """Looks every `interval` seconds, and at once after an action."""
        self._open, self._interval = way, interval
        self._actions: queue.SimpleQueue[Action | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self.sight = Sight()
        self.bell, self._rope = os.pipe()
        os.set_blocking(self.bell, False)
        os.set_blocking(self._rope, False)
        # Nobody waits for it at the end: it may be in the middle of connecting to a host that does not answer.
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def act(self, action: Action) -> None:
        """Has something done; what came of it is in the next sight. Refused while the database is away."""
        self._actions.put(action)

    def stop(self) -> None:
        """Ends it, waiting a moment for what is being done."""
        self._stopped.set()
        self._actions.put(None)
        self._thread.join(0.5)

    def ring(self) -> None:
        """Wakes who waits for `bell`; from any thread and from signal handlers."""
        # A full pipe has been ringing for long.
        with suppress(BlockingIOError):
            os.write(self._rope, b"!")

    def hush(self) -> None:
        """Silences the bell."""
        with suppress(BlockingIOError):
            while os.read(self.bell, 1024):
                pass

    def _show(self, **changes: object) -> None:
        self.sight = replace(self.sight, **changes)  # type: ignore[arg-type]
        self.ring()

    def _run(self) -> None:
        pause = 0.1
        # What came of an action is shown together with what it changed, so that a key never acts on what it was before.
        news: dict[str, object] = {}
        while not self._stopped.is_set():
            try:
                with self._open() as doing:
                    while not self._stopped.is_set():
                        self._show(overview=doing.read_overview(), away_since=None, trouble="", **news)
                        pause = 0.1
                        news = self._wait(doing)
            except Exception as error:  # noqa: BLE001  whatever it is, the screen says so and this goes on
                text = (
                    mask_secrets(str(error)) if isinstance(error, PgTaskError) else f"{type(error).__name__}: {error}"
                )
                self._show(away_since=self.sight.away_since or time.time(), trouble=text, **news)
                news = {}
                self._refuse_actions()
            self._stopped.wait(random.uniform(pause / 2, pause))
            pause = min(pause * 2, LONGEST_PAUSE)

    def _wait(self, doing: Operations) -> dict[str, object]:
        """Waits for the next look or does what is asked before; what came of it."""
        try:
            action = self._actions.get(timeout=self._interval)
        except queue.Empty:
            return {}
        if action is None:
            return {}
        try:
            message = action(doing)
        except PgTaskError as error:
            message = mask_secrets(str(error))
        return {"message": message, "message_at": time.time()}

    def _refuse_actions(self) -> None:
        while not self._actions.empty():
            self._actions.get()
            self._show(message="The database is away, so nothing was changed.", message_at=time.time())
