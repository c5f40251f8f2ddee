"""Runs a worker with the options given as JSON; what the command `pgtask worker` does, without the command line."""

from __future__ import annotations

import json
import sys

from pgtask.engine.options import WorkerOptions
from pgtask.engine.supervisor import run_worker

if __name__ == "__main__":
    sys.exit(run_worker(WorkerOptions(**json.loads(sys.argv[1]))))
