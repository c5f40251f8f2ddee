"""What a worker and its executors are told at their start. Durations are seconds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from enum import StrEnum

from pgtask.config import Settings
from pgtask.model.bounds import Bounds, bounds_of
from pgtask.model.place import Place

FIRST_SLOTS = 10
"""Slots to begin with where an executor finds their number by itself, if the bounds allow."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What an operator chooses for a worker. `queues` None serves all; `app` None runs the built-in tasks.

    Bounds for `processes` or `concurrency` mean that it finds the number by itself.
    """

    database_url: str
    app: str | None = None
    queues: tuple[str, ...] | None = None
    processes: int | Bounds = 1
    concurrency: int | Bounds = 10
    isolation: str = "thread"
    lease: float = 30.0
    poll: float = 1.0
    grace: float = 30.0
    kill_after: float = 5.0
    max_jobs: int | None = None
    max_rss: int | None = None
    drain: bool = False
    strict: bool = False
    listen: bool = True
    pooled: bool = False
    name: str | None = None
    log_level: str = "info"
    log_format: str = "auto"
    metrics_port: Place | None = None

    @property
    def executors(self) -> Bounds:
        """Executors of a kind."""
        return bounds_of(self.processes)

    @property
    def slots(self) -> Bounds:
        """Jobs that one of its executors runs at once; those for isolated tasks and for suspects run one."""
        return bounds_of(1 if self.isolation == "process" else self.concurrency)

    @property
    def first_slots(self) -> int:
        """Slots that such an executor begins with."""
        return self.slots.nearest(FIRST_SLOTS)

    @property
    def notified(self) -> bool:
        """Whether it listens for notifications, which do not come through a transaction pooler."""
        return self.listen and not self.pooled

    @classmethod
    def chosen(cls, settings: Settings, database_url: str, *, drain: bool = False) -> WorkerOptions:
        """What the settings in force say, on the database at this URL."""
        shared = {field.name for field in fields(cls)} & {field.name for field in fields(Settings)} - {"database_url"}
        return cls(database_url, drain=drain, **{name: getattr(settings, name) for name in shared})


class Kind(StrEnum):
    """What an executor is for: many jobs side by side, one job at a time, or one suspect at a time."""

    SHARED = "shared"
    ISOLATED = "isolated"
    SUSPECTS = "suspects"


@dataclass(frozen=True, slots=True)
class ExecutorOptions:
    """What a supervisor tells an executor at its start. Durations are seconds.

    With `isolate_all` an isolated executor takes the jobs of all tasks, else of those declared so. `slots` are the
    least and the most; with `tells_load` it tells about once a second what it does.
    """

    database_url: str
    app: str | None
    worker_id: int
    executor: int
    kind: Kind
    isolate_all: bool
    parent: int
    channel: int
    bell: tuple[int, int]
    marks: int
    faults: int
    output: int
    capacity: int
    slots: tuple[int, int]
    tells_load: bool
    max_jobs: int | None
    max_rss: int | None
    queues: list[str] | None
    strict: bool
    poll: float
    listen: bool
    pooled: bool
    log_level: str
    log_format: str

    def encode(self) -> str:
        """As text for the process's environment."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> ExecutorOptions:
        """The options that `encode` wrote."""
        return cls(**json.loads(text))
