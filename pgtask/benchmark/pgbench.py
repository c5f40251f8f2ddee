"""pgbench, PostgreSQL's own load generator: what the server does when nothing stands before it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pgtask.database import psql
from pgtask.database.connection import HOT_SETTINGS
from pgtask.database.embedded import binaries
from pgtask.model.errors import EmbeddedServerError, PgTaskError


class Pgbench:
    """The program, and how it is run: prepared statements, our planner settings, no preparations of its own."""

    def __init__(self, program: str) -> None:
        self._program = program

    @classmethod
    def find(cls) -> Pgbench | None:
        """The one beside the embedded server, else the one on the PATH; None when there is none."""
        try:
            directories = [str(directory) for directory in binaries.candidates()]
        except EmbeddedServerError:
            directories = []
        places = os.pathsep.join([*directories, os.environ.get("PATH", os.defpath)])
        program = shutil.which("pgbench", path=places)
        return None if program is None else cls(program)

    @property
    def version(self) -> str:
        """As in "18.6"."""
        ran = subprocess.run([self._program, "--version"], capture_output=True, text=True, check=True)
        return ran.stdout.split()[-1]

    def run(
        self,
        url: str,
        script: str,
        *,
        transactions: int,
        clients: int = 1,
        variables: Mapping[str, object] | None = None,
    ) -> float:
        """Runs a script so many times by each client; returns the runs of it per second, all clients together."""
        options = ["--transactions", str(transactions)]
        with self._started(url, script, clients, options, variables or {}) as process:
            output, errors = process.communicate()
        rate = re.search(r"tps = ([\d.]+)", output)
        if process.returncode or rate is None:
            raise PgTaskError(f"pgbench failed: {errors.strip() or output.strip()}")
        return float(rate[1])

    @contextmanager
    def load(self, url: str, script: str, *, rate: int, clients: int = 4) -> Iterator[None]:
        """Runs a script so many times a second while the block runs."""
        with self._started(url, script, clients, ["--rate", str(rate), "--time", "3600"], {}) as process:
            try:
                yield
            finally:
                process.terminate()
                process.communicate()

    @contextmanager
    def _started(
        self, url: str, script: str, clients: int, options: list[str], variables: Mapping[str, object]
    ) -> Iterator[subprocess.Popen[str]]:
        target, secrets = psql.connection_arguments(url)
        settings = " ".join(f"-c {name}={value}" for name, value in HOT_SETTINGS.items())
        defined = [part for name, value in variables.items() for part in ("--define", f"{name}={value}")]
        threads = min(clients, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)
        with tempfile.TemporaryDirectory(prefix="pgtask-bench-") as directory:
            file = Path(directory, "script.sql")
            file.write_text(script)
            command = [self._program, "--no-vacuum", "--protocol=prepared", f"--file={file}"]
            command += [f"--client={clients}", f"--jobs={threads}", *options, *defined, target]
            yield subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | secrets | {"PGOPTIONS": settings},
            )
