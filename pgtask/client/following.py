"""Following one job over REST."""

from __future__ import annotations

from pgtask.client.client import Client
from pgtask.model.listing import JobState

PAGE = 1001
"""More log lines than a look finds, which has the latest thousand."""


class JobFollower:
    """Tells how a job stands, with the log lines that were not seen before. May be given another client each time."""

    def __init__(self, job_id: int) -> None:
        self._id = job_id
        self._lines: dict[int, int] = {}

    def look(self, client: Client) -> JobState:
        """How the job stands. Raises JobNotFoundError, ServerUnavailableError."""
        # The job first: with its end, all runs and lines are there.
        job = client.read_job(self._id)
        runs = client.list_runs(self._id)
        logs = [line for line in client.list_logs(self._id) if line.line > self._lines.get(line.attempt, -1)]
        for line in logs:
            self._lines[line.attempt] = max(line.line, self._lines.get(line.attempt, -1))
        return JobState(job, runs, logs)
