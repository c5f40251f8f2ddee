"""What goes to and fro in claiming: lanes, places in them, jobs as they are claimed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple


class Position(NamedTuple):
    """A place in a lane: jobs at or before it have been looked at."""

    time: datetime
    id: int


START = Position(datetime(1970, 1, 1, tzinfo=UTC), 0)


# A job as the claim returns it: id, attempt, task, queue, priority, payload (still text), timeout, retry_count,
# scheduled_at, tick_at.
# A plain tuple, as naming its fields would cost as much as all else that Python does with the row.
ClaimedRow = tuple[int, int, str, str, int, str, float | None, int, datetime, datetime | None]


class LaneRow(NamedTuple):
    """A lane that holds jobs, with its queue's priority, weight and timeout in seconds.

    due_in is the seconds until the next one waiting for its time, instant the database's clock; `lift` is added to its
    priority because its oldest job has waited for `waited` seconds. `limited` is its queue, `keyed` says that it has
    jobs with a concurrency key; `gated` are the tasks, anywhere, that may not be claimed without a look at limits.
    """

    queue: str
    priority: int
    queue_priority: int
    timeout: float | None
    due_in: float | None
    instant: datetime
    weight: int = 1
    lift: int = 0
    waited: float = 0.0
    limited: bool = False
    keyed: bool = False
    gated: list[str] | None = None


@dataclass(slots=True)
class ClaimRequest:
    """Which lanes to claim from, best first, each from its watermark, and how many jobs at most."""

    queues: list[str]
    priorities: list[int]
    after_times: list[datetime]
    after_ids: list[int]
    limit: int


class Looked(NamedTuple):
    """How far a claim within limits looked in a lane: rows seen and where they ended, how many of them were claimable,
    and whether limits held any back."""

    examined: int
    claimable: int
    held_back: bool
    last: Position


class Served(NamedTuple):
    """How far a claim by keys went: the key to go on after, how many were looked at, how many jobs were claimable."""

    last_key: str
    keys: int
    claimable: int
