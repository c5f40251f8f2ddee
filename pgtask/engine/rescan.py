"""A full look at what lies behind the watermarks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence

from pgtask.database.claims import START, ClaimedRow, Position
from pgtask.database.work import WorkConnection
from pgtask.engine.lane import EXAMINE, Lane

# So many times as long as a rescan took, and so many seconds, it rests before the next.
_SHARE = 40
_MIN_PAUSE, _MAX_PAUSE = 0.25, 5.0


class Rescan:
    """A look at everything behind the watermarks, a stretch at a time, for what became claimable there unnoticed."""

    def __init__(self) -> None:
        self.due_at = 0.0
        self._lane: Lane | None = None
        self._todo: deque[Lane] = deque()
        self._position: Position = START
        self._spent = 0.0

    @property
    def running(self) -> bool:
        """Whether one has begun and not ended."""
        return self._lane is not None

    def keep_to(self, lanes: Iterable[Lane]) -> None:
        """Leaves out what is not in `lanes`."""
        kept = set(lanes)
        while self._lane is not None and self._lane not in kept:
            self._next_lane()

    def begin(self, lanes: Sequence[Lane]) -> None:
        """Starts over all lanes."""
        self._todo = deque(lanes)
        self._spent = 0.0
        self._next_lane()

    def _next_lane(self) -> None:
        self._position = START
        self._lane = self._todo.popleft() if self._todo else None
        if self._lane is None:
            pause = min(max(_SHARE * self._spent, _MIN_PAUSE), _MAX_PAUSE)
            self.due_at = time.monotonic() + pause

    def step(self, connection: WorkConnection, limit: int, tasks: list[str]) -> list[ClaimedRow]:
        """Looks at the next stretch and claims what it finds."""
        lane = self._lane
        assert lane is not None
        begun = time.monotonic()
        rows, position, more = connection.advance(lane.key[0], lane.key[1], self._position, EXAMINE, limit, tasks)
        self._spent += time.monotonic() - begun
        if position is None and more:
            # More is claimable here than may be taken at once: the ordinary claim goes on from this place.
            lane.watermark = min(lane.watermark, self._position)
            lane.giving = True
            self._next_lane()
        elif position is None or not more or position >= lane.watermark:
            self._next_lane()
        else:
            self._position = position
        return rows
