"""The outcome of `pgtask bench`: figures with what they were measured on."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pgtask
from pgtask.benchmark.figures import Figure, Target
from pgtask.config import available_cores
from pgtask.model.serialise import instant_as_text

FORMAT = 1
"""Grows when a field of the JSON changes its meaning."""

_DECIMALS = {"jobs/s": 0, "B": 0, "MB": 0, "ms": 1, "µs": 1, "s": 1, "% of a core": 1}


@dataclass(slots=True, kw_only=True)
class Report:
    """What was measured so far, how, and on what."""

    runs: int
    jobs: int
    quick: bool
    figures: list[Figure] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """What could not be measured here, and why."""
    server: dict[str, str] = field(default_factory=dict)
    pgbench: str | None = None
    began: float = field(default_factory=time.time)
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    """Processes that wanted a core when it began."""

    @property
    def durable(self) -> bool:
        """Whether the server keeps what it has acknowledged, as it must for the figures to count."""
        return self.server.get("fsync") == "on" and self.server.get("synchronous_commit") not in ("off", None)

    @property
    def disturbed(self) -> bool:
        """Whether something else kept this machine busy."""
        return self.load > available_cores() / 4

    def as_json(self) -> dict[str, Any]:
        """All of it, every sample included."""
        return {
            "format": FORMAT,
            "pgtask": pgtask.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cores": available_cores(),
            "load_average": self.load,
            "server": self.server,
            "durable": self.durable,
            "pgbench": self.pgbench,
            "settings": {"runs": self.runs, "jobs": self.jobs, "quick": self.quick},
            "began_at": instant_as_text(datetime.fromtimestamp(self.began, UTC)),
            "took_seconds": time.time() - self.began,
            "left_out": self.left_out,
            "figures": [figure.as_json() for figure in self.figures],
        }


def amount(value: float, unit: str) -> str:
    """A figure as people read it."""
    text = f"{value:,.{_DECIMALS.get(unit, 1)}f}"
    return f"{text}/s" if unit == "jobs/s" else f"{text} {unit.replace('% of a core', '%')}"


def verdict(figure: Figure, target: Target) -> str:
    """Whether a target is met, in a word."""
    return {True: "met", False: "not met", None: "no floor"}[figure.met(target)]
