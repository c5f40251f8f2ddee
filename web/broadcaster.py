"""What happens, told to all streams of this process by one thread, which looks once a second while there is one."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator

from pgtask.database import feed, watching
from pgtask.database.connection import one_line
from pgtask.database.pool import Pool
from pgtask.database.reading import in_words_of
from pgtask.model.change import Change, Snapshot, changes
from pgtask.model.event import FeedEvent, order_of

EVERY = 1.0
"""Seconds between two looks."""

KEPT = 5_000
"""Events that are kept for streams which have not sent them yet; those further behind read for themselves."""

_PAGE = 1000
_PAGES = 50

log = logging.getLogger("pgtask.web.events")

News = FeedEvent | Change


class Broadcaster:
    """The thread, and the events that it has found of late."""

    def __init__(self, pool: Pool, most: int) -> None:
        """`most` streams are served at a time: each holds a thread of the server."""
        self._pool = pool
        self._most = most
        self._changed = threading.Condition()
        self._streams = 0
        self._running = False
        self._ring: deque[News] = deque(maxlen=KEPT)
        self._told = 0
        self.closed = False

    def dismiss(self) -> None:
        """Has all streams end; none is taken in from now on."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def admit(self) -> bool:
        """Takes a stream in, unless there are as many as may be; `release` it in the end."""
        with self._changed:
            if self._streams >= self._most or self.closed:
                return False
            self._streams += 1
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="events", daemon=True).start()
            return True

    def release(self) -> None:
        """Says that a stream has ended."""
        with self._changed:
            self._streams -= 1
            self._changed.notify_all()

    def subscribe(self, after: str | None) -> Subscription:
        """What follows a position of the feed, None for now. Raises DatabaseUnavailableError."""
        with self._changed:
            told = self._told
        if after is None:
            with self._pool.connection() as connection, in_words_of(self._pool.url):
                after = feed.position(connection)
        return Subscription(self, after, told)

    def page(self, after: str) -> list[FeedEvent]:
        """What the database has after a position."""
        with self._pool.connection() as connection, in_words_of(self._pool.url):
            return feed.read(connection, after, _PAGE)

    def wait(self, told: int, seconds: float) -> tuple[int, list[News] | None]:
        """What was told after the so-many-th, waiting for it; None where that is kept no longer."""
        with self._changed:
            self._changed.wait_for(lambda: self._told > told or self.closed, seconds)
            missing = self._told - told
            if missing > len(self._ring):
                return self._told, None
            return self._told, [self._ring[n] for n in range(len(self._ring) - missing, len(self._ring))]

    def _run(self) -> None:
        position: str | None = None
        standing: Snapshot | None = None
        complained = False
        while True:
            begun = position is not None
            try:
                news, position, standing = self._look(position, standing)
                complained = False
            except Exception as error:  # noqa: BLE001
                # Whatever it is, those who watch are to see what comes after it.
                news = []
                if not complained:
                    log.warning("events are not looked at (%s); trying again", one_line(error))
                complained = True
            with self._changed:
                if not begun and position is not None:
                    # What happened before its first look it tells nobody. So this counts as told and kept no longer:
                    # streams that have read by then read once more.
                    self._ring.clear()
                    self._told += 1
                self._ring.extend(news)
                self._told += len(news)
                if news or not begun:
                    self._changed.notify_all()
                self._changed.wait_for(lambda: not self._streams, EVERY)
                if not self._streams:
                    self._running = False
                    return

    def _look(self, position: str | None, standing: Snapshot | None) -> tuple[list[News], str, Snapshot]:
        news: list[News] = []
        with self._pool.connection() as connection, in_words_of(self._pool.url):
            reached = feed.position(connection) if position is None else position
            seen = watching.look(connection)
            if standing is not None:
                news += changes(standing, seen)
            for _ in range(_PAGES):
                page = feed.read(connection, reached, _PAGE)
                news += page
                if page:
                    reached = page[-1].position
                if len(page) < _PAGE:
                    break
        return news, reached, seen


class Subscription:
    """One stream's view: first what the database has after its position, then what is told, each event once."""

    def __init__(self, broadcaster: Broadcaster, position: str, told: int) -> None:
        self._broadcaster = broadcaster
        self._told = told
        self._behind = True
        self.position = position

    def news(self, seconds: float) -> Iterator[News]:
        """What comes within so many seconds, or nothing. Raises DatabaseUnavailableError while it must read itself."""
        if self._behind:
            # Noted before it reads: what is told from then on is what this may not find.
            page = self._broadcaster.page(self.position)
            # A reset comes alone: what is kept after it is on the next page.
            self._behind = len(page) >= _PAGE or (bool(page) and page[-1].event is None)
            yield from self._fresh(page)
            if page:
                return
        self._told, found = self._broadcaster.wait(self._told, seconds)
        if found is None:
            self._behind = True
            return
        yield from self._fresh(found)

    def _fresh(self, found: list[News] | list[FeedEvent]) -> Iterator[News]:
        for each in found:
            if isinstance(each, FeedEvent):
                if each.event is not None and each.order <= order_of(self.position):
                    continue
                self.position = each.position
            yield each
