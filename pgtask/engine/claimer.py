"""What to claim next, and when there is nothing to claim.

The claimer decides; the exchange carries it out. It is hungry while a claim may bring jobs, and rests when sweep,
claims and rescan have found nothing, until a notification, the next due time or the poll.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from pgtask.database.claims import START, ClaimedRow, ClaimRequest
from pgtask.database.work import WorkConnection
from pgtask.engine.lane import EXAMINE, KEYS, Kind, Lane, LimitedLane
from pgtask.engine.lanes import Lanes
from pgtask.engine.rescan import Rescan

# A claim that takes this long and finds little has stepped over rows that others hold back; see advance_lane.sql.
_SLOW_CLAIM = 0.02
_SWEEP_SHARE = 40
_SWEEP_MIN, _SWEEP_MAX = 0.25, 1.0
_SWEEP_OVERDUE = 1.0
_BUSY_RATE = 300
_BUSY_POLL, _BUSY_PATIENCE = 0.003, 0.2
# The gate stays open longer than a rest lasts, so that it never closes on a sleeper.
_GATE_MARGIN = 1.0


class Claimer:
    """Decides which lanes to claim from and how long to rest."""

    # Whether all that it claims may count against limits.
    within_limits = False

    def __init__(
        self, queues: Sequence[str] | None, tasks: list[str], poll: float, listen: bool, *, strict: bool = False
    ) -> None:
        """`queues` None serves all; with `strict`, those of equal priority in this order. `poll` is the longest rest in
        seconds.

        Without `listen` no notification is asked for.
        """
        self._queues = queues
        self._poll = poll
        self._listen = listen
        self._all_tasks = tasks
        # Those that may be claimed without a look at limits.
        self.tasks = tasks
        self._gated: list[str] = []
        self.lanes = Lanes(queues if strict else None)
        self.rescan = Rescan()
        self.hungry = True
        self._woken = True
        self._sweep_wanted = False
        self._rescan_wanted = False
        self._sweep_at = 0.0
        self._sweep_earliest = 0.0
        self._due_at = float("inf")
        self._gate_until = 0.0
        self._rest_since = 0.0
        self._rate = Rate()

    def wake(self) -> None:
        """Something may have been enqueued, perhaps in a lane not known yet."""
        self.hungry = True
        self._woken = True
        self.lanes.refresh()
        self.lanes.rouse(full=False)

    def freed(self) -> None:
        """An attempt has ended that counted against limits."""
        self.hungry = True
        self.lanes.rouse(full=True)

    def try_again(self) -> None:
        """A rest is over without news: what is known is looked at once more."""
        self.hungry = True
        self.lanes.refresh()

    def queues_changed(self) -> None:
        """A queue was paused, resumed or re-ranked."""
        self._sweep_at = 0.0
        self.lanes.rouse(full=True)
        self.wake()

    def rewind(self, queue: str, priority: int, instant: datetime) -> None:
        """Rows from `instant` on became claimable in a lane."""
        self.lanes.rewind(queue, priority, instant)
        self.wake()

    def request(self, limit: int, within: int) -> tuple[ClaimRequest, list[Lane]] | None:
        """What to claim now: lanes without limits, or some with limits for at most `within` jobs. None, and no longer
        hungry, when no lane is left to try."""
        claim = self.lanes.next_claim(limit, within)
        if claim is None:
            self._come_short()
        return claim

    def claim_limited(
        self, connection: WorkConnection, request: ClaimRequest, lanes: Sequence[LimitedLane]
    ) -> list[ClaimedRow]:
        """Claims within limits."""
        if lanes[0].kind is Kind.KEYED:
            (lane,) = lanes
            queue, priority = lane.key
            rows, served = connection.claim_keyed(queue, priority, lane.after_key, KEYS, request.limit, self._all_tasks)
            self.lanes.served(lane, rows, served, request.limit)
        else:
            rows, looked = connection.claim_lanes(
                request,
                [lane.kind is Kind.GATED for lane in lanes],
                self._gated,
                self._all_tasks,
                max(lane.examine for lane in lanes),
            )
            self.lanes.looked(lanes, rows, looked, request.limit)
        self._rate.count(len(rows))
        return rows

    def took(self, rows: Sequence[ClaimedRow], asked: int, lanes: Sequence[Lane], seconds: float) -> None:
        """Learns what a claim over `lanes` brought, and how long it took."""
        self._rate.count(len(rows))
        self.lanes.advance(rows)
        if len(rows) == asked:
            self.lanes.refresh()
            return
        if seconds > _SLOW_CLAIM:
            for lane in lanes:
                lane.settled = False
        if not self.lanes.came_short(lanes):
            self._come_short()

    def _come_short(self) -> None:
        self.hungry = False
        if self._woken:
            # What woke us may lie in a lane that only a sweep shows, or behind a watermark where only a rescan looks.
            self._woken = False
            self._sweep_wanted = self._rescan_wanted = True
            self._sweep_at = min(self._sweep_at, self._sweep_earliest)

    def look_due(self) -> bool:
        """Whether `look` has something to do.

        What woke us comes first: it is most likely in a lane that is known. But not after a long time without a
        sweep, as when all slots were busy: there may be a better lane by now.
        """
        now = time.monotonic()
        if self.hungry and self._woken and now < self._sweep_at + _SWEEP_OVERDUE:
            return False
        if now >= self._sweep_at or self.rescan.running or self.lanes.unsettled() is not None:
            return True
        return now >= self.rescan.due_at and len(self.lanes) > 0

    def look(self, connection: WorkConnection, limit: int) -> list[ClaimedRow]:
        """Sweeps, settles a lane or rescans a stretch, whichever is due; returns jobs claimed on the way."""
        now = time.monotonic()
        if now >= self._sweep_at:
            self._sweep(connection)
        lane = self.lanes.unsettled()
        rows: list[ClaimedRow] = []
        if lane is not None:
            rows = self._settle(connection, lane, limit)
        elif self.rescan.running:
            self.rescan.keep_to(self.lanes.foremost())
            if self.rescan.running:
                rows = self.rescan.step(connection, limit, self.tasks)
            if rows:
                self.wake()
        elif now >= self.rescan.due_at:
            self._rescan_wanted = False
            self.rescan.begin([lane for lane in self.lanes.plain() if lane.watermark > START])
        self._rate.count(len(rows))
        return rows

    def _sweep(self, connection: WorkConnection) -> None:
        self._sweep_wanted = False
        begun = time.monotonic()
        rows, gated = connection.survey(self._queues, self._all_tasks)
        ended = time.monotonic()
        pause = _SWEEP_SHARE * (ended - begun)
        self._sweep_earliest = ended + pause
        self._sweep_at = ended + min(max(pause, _SWEEP_MIN), _SWEEP_MAX)
        dues = [row.due_in for row in rows if row.due_in is not None]
        self._due_at = ended + min(dues) if dues else float("inf")
        self._gate(gated)
        if self.lanes.update(rows, gated=bool(self._gated)):
            self.hungry = True

    def _gate(self, names: Sequence[str] | None) -> None:
        """Learns which tasks, of all that there are, have limits."""
        gated = sorted(set(names).intersection(self._all_tasks)) if names else []
        if gated != self._gated:
            self._gated = gated
            self.tasks = [task for task in self._all_tasks if task not in gated]
            self.lanes.start_over()
            self.hungry = True

    def _settle(self, connection: WorkConnection, lane: Lane, limit: int) -> list[ClaimedRow]:
        rows, position, more = connection.advance(lane.key[0], lane.key[1], lane.watermark, EXAMINE, limit, self.tasks)
        if position is not None:
            self.lanes.reach(lane, position)
        if self.lanes.settle(lane, settled=position is None or not more, giving=position is None and more):
            self.hungry = True
        return rows

    def rest(self, connection: WorkConnection) -> float:
        """How many seconds to wait for news, having found nothing; asks for notifications first.

        0.0 means: claim once more, as jobs inserted before the gate was opened notified nobody.
        """
        now = time.monotonic()
        if self._rate.per_second() > _BUSY_RATE:
            # Steady traffic must not pay for notifications: look again shortly before asking for them.
            if not self._rest_since:
                self._rest_since = now
            if now - self._rest_since < _BUSY_PATIENCE:
                return _BUSY_POLL
        self._rest_since = 0.0
        if self._listen and self._gate_until - now < self._poll + _GATE_MARGIN / 2:
            connection.open_gate(self._poll + _GATE_MARGIN)
            self._gate_until = now + self._poll + _GATE_MARGIN
            self.wake()
            return 0.0
        if self._due_at <= now:
            self._due_at = float("inf")
            self.wake()
            return 0.0
        wanted = [self._due_at, self.lanes.roused_at()]
        if self._sweep_wanted:
            wanted.append(self._sweep_at)
        if self._rescan_wanted and len(self.lanes):
            wanted.append(self.rescan.due_at)
        return min(self._poll, max(0.0, min(wanted) - now))


class Rate:
    """Jobs per second of late, fading over about a second."""

    def __init__(self) -> None:
        self._recent = 0.0
        self._at = time.monotonic()

    def count(self, jobs: int) -> None:
        """Adds jobs that were claimed just now."""
        self._recent = self.per_second() + jobs
        self._at = time.monotonic()

    def per_second(self) -> float:
        """The rate now."""
        return self._recent * max(0.0, 1.0 - (time.monotonic() - self._at))
