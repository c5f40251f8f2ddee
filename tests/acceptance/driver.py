"""Runs a worker with the options given as JSON; what the command `pgtask worker` does, without the command line.

A pair of numbers stands for bounds; `spare_for` is no option but the time after which a spare executor is stopped.
"""

from __future__ import annotations

import json
import sys

from pgtask.engine import crew
from pgtask.engine.options import WorkerOptions
from pgtask.engine.supervisor import run_worker
from pgtask.model.bounds import Bounds
from pgtask.model.place import Place

if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    for name in ("processes", "concurrency"):
        if isinstance(options.get(name), list):
            options[name] = Bounds(*options[name])
    if "metrics_port" in options:
        options["metrics_port"] = Place(*options["metrics_port"])
    crew.SPARE_FOR = options.pop("spare_for", crew.SPARE_FOR)
    sys.exit(run_worker(WorkerOptions(**options)))
