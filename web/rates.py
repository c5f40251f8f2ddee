"""Rates: how often each caller may ask. A process takes permits from the database a few at a time, and spends them."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pgtask.database import request_rates
from pgtask.database.pool import Pool
from pgtask.database.reading import in_words_of

from .problems import Problem

SHARE = 0.05
"""Seconds of a caller's rate that a process takes at once."""

_LARGEST = 100
_STALE = 1.0
"""Seconds after which permits that were not spent are worth nothing: the caller has new ones by then."""

_MOST = 10_000
FAILURE_SECONDS = 10
"""Refused requests that an address may make at once: as many as in so many seconds."""


@dataclass(slots=True)
class _Purse:
    """What a process knows of one caller."""

    permits: int
    left: int
    until: float
    """Until when the permits are good or, if it was refused, until when there are none."""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How a caller stands: whether this request is within the rate, and what is left."""

    allowed: bool
    burst: int
    left: int
    wait: float

    def headers(self) -> dict[str, str]:
        """As the draft of RateLimit headers has it; `left` is what this process knows."""
        return {
            "RateLimit-Policy": f'"requests";q={self.burst};w=1',
            "RateLimit": f'"requests";r={self.left};t={math.ceil(self.wait)}',
        }


class Rates:
    """The permits of one process."""

    def __init__(self, pool: Pool, clock: Callable[[], float] = time.monotonic) -> None:
        """`pool` leads to the database that counts."""
        self._pool = pool
        self._clock = clock
        self._lock = threading.Lock()
        self._purses: dict[str, _Purse] = {}

    def take(self, caller: str, rate: float, burst: float | None = None) -> Standing:
        """Spends a permit of a caller with so many requests a second, if there is one.

        `burst` is how many may come at once, what comes in a second unless given. Raises DatabaseUnavailableError.
        """
        room = max(1, int(rate if burst is None else burst))
        standing = self._spend(caller, room)
        if standing is not None:
            return standing
        wanted = max(1, min(int(rate * SHARE), room, _LARGEST))
        with self._pool.connection() as connection, in_words_of(self._pool.url):
            got = request_rates.take(connection, caller, rate=rate, burst=room, wanted=wanted)
        now = self._clock()
        with self._lock:
            if len(self._purses) >= _MOST:
                self._purses.clear()
            purse = self._purses.get(caller)
            if got.granted and purse is not None and purse.permits and purse.until > now:
                # Another thread has been for permits at the same time.
                purse.permits += got.granted - 1
                purse.left = got.left
            elif got.granted:
                self._purses[caller] = purse = _Purse(got.granted - 1, got.left, now + _STALE)
            else:
                self._purses[caller] = purse = _Purse(0, 0, now + min(got.wait, _STALE), refused=True)
        return Standing(bool(got.granted), room, purse.permits + purse.left, got.wait)

    def _spend(self, caller: str, room: int) -> Standing | None:
        now = self._clock()
        with self._lock:
            purse = self._purses.get(caller)
            if purse is None or purse.until <= now:
                return None
            if purse.refused:
                # A flood is answered without asking again.
                return Standing(False, room, 0, purse.until - now)
            if not purse.permits:
                return None
            purse.permits -= 1
            return Standing(True, room, purse.permits + purse.left, 0.0)


def too_many(standing: Standing, detail: str) -> Problem:
    """The answer to one request too many."""
    headers = standing.headers() | {"Retry-After": str(max(1, math.ceil(standing.wait)))}
    return Problem(429, "too-many-requests", detail, headers=headers)


def address_key(address: str | None) -> str:
    """What an address counts as: itself, and of IPv6 its network, since whoever has one has all of it."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "address unknown"
    if isinstance(found, ipaddress.IPv6Address):
        return f"address {ipaddress.ip_network((found, 64), strict=False)}"
    return f"address {found}"
