"""Hearing what the database has to say on pgtask's one channel."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pgtask.database import statements
from pgtask.database.connection import connect

_LISTEN = statements.load("listen")
_PROBE_AFTER = 5.0
# 1 January 9999 in seconds since 1970: jobs are scheduled before it.
_LAST_INSTANT = 253_370_764_800

Message = dict[str, Any]


def listen(url: str, name: str, on_open: Callable[[], None], on_message: Callable[[Message], bool]) -> None:
    """Passes notifications on until `on_message` returns False.

    An empty message is passed at least every few seconds, after the connection was found alive: a peer that vanished
    without a word would otherwise never be missed. Raises what the loss of the connection raises.
    """
    with connect(url, application_name=name, statement_timeout=None) as connection:
        connection.execute(_LISTEN)
        on_open()
        while True:
            for notification in connection.notifies(timeout=_PROBE_AFTER, stop_after=1):
                if not on_message(parse(notification.payload)):
                    return
            if not on_message({}):
                return
            connection.execute("SELECT 1")


def parse(payload: str) -> Message:
    """What a notification says; any role may send one, so what is not understood counts as a mere wake-up."""
    if payload in ("queues", "schedules"):
        return {payload: True}
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        return {"wake": True}
    kinds: dict[str, tuple[tuple[str, type | tuple[type, ...]], ...]] = {
        "cancel": (("cancel", int), ("attempt", int), ("worker", int)),
        "rewind": (("rewind", str), ("priority", int), ("at", (int, float))),
        "stop": (("stop", int),),
    }
    if isinstance(message, dict):
        for kind, fields in kinds.items():
            if kind in message and all(isinstance(message.get(key), kinds_allowed) for key, kinds_allowed in fields):
                if kind == "rewind" and not 0 <= message["at"] < _LAST_INSTANT:
                    break
                return {key: message[key] for key, _ in fields}
    return {"wake": True}
