"""An application that loads until a file says otherwise."""

from __future__ import annotations

import os
from pathlib import Path

from pgtask import PgTask

if (Path(os.environ["FAULTS_FOLDER"]) / "broken").exists():
    raise RuntimeError("this release is broken")

tasks = PgTask()


@tasks.task(name="sound")
def sound() -> None:
    """Ends at once."""
