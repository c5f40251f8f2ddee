"""Jobs: finding them and reading all there is about one."""

from __future__ import annotations

from typing import Any

from pgtask.database import jobs
from pgtask.database.connection import Connection
from pgtask.model.errors import JobNotFoundError
from pgtask.model.serialise import job_as_json

from ..contract import Section
from ..requests import require_queue
from ..shapes import JobShape

section = Section("jobs", "Requests to run tasks, live and ended.")


@section.get("/jobs/{id}", answer=JobShape, aliases=("/tasks/{id}",))
def get_job(connection: Connection, id: int) -> dict[str, Any]:
    """One job, wherever it is."""
    # One statement by a key: a transaction around it would cost four times as many round trips.
    job = jobs.read(connection, id)
    require_queue(job.queue, JobNotFoundError(id))
    return job_as_json(job)
