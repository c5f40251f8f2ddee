"""Telling systemd how a worker fares, as sd_notify(3) says: Type=notify or notify-reload, and the watchdog."""

from __future__ import annotations

import contextlib
import os
import socket
import time


class Systemd:
    """The notification socket that the service manager has named, if any; without one nothing is said."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET")
        period = int(os.environ.get("WATCHDOG_USEC") or 0) / 1e6
        meant = os.environ.get("WATCHDOG_PID") in (None, str(os.getpid()))
        # The manual asks for twice as often as the watchdog looks; three times leaves room for a busy machine.
        self._every = period / 3 if period and meant else float("inf")
        self._fed_at = 0.0

    def say(self, **values: str) -> None:
        """Sends an assignment for each keyword, such as READY="1"; failures are of no consequence here."""
        if not self._address:
            return
        text = "\n".join(f"{name}={value}" for name, value in values.items())
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(text.encode(), address)

    def reloading(self) -> None:
        """A reload has begun; READY says that it has ended."""
        self.say(RELOADING="1", MONOTONIC_USEC=str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000))

    def feed(self) -> None:
        """Keeps the watchdog quiet; to be called as often as one likes."""
        now = time.monotonic()
        if now - self._fed_at >= self._every:
            self._fed_at = now
            self.say(WATCHDOG="1")
