"""Jobs: finding them and reading all there is about one."""

from __future__ import annotations

from typing import Annotated, Any

from flask import current_app
from pydantic import Field

from pgtask.database import jobs
from pgtask.database.pool import Pool
from pgtask.database.reading import in_words_of
from pgtask.model.errors import JobNotFoundError
from pgtask.model.job import JobRecord
from pgtask.model.serialise import job_as_json
from pgtask.model.status import JobStatus

from ..contract import Section
from ..inputs import Query
from ..requests import require_queue, shown
from ..shapes import JobShape
from ..waiting import Waiters

section = Section("jobs", "Requests to run tasks, live and ended.")


class Patience(Query):
    """How long to wait."""

    wait: Annotated[float, Field(ge=0, le=60)] = 0.0
    """Seconds to wait for the end of the job. When the server has too many who wait, it answers at once."""


@section.get("/jobs/{id}", answer=JobShape, aliases=("/tasks/{id}",))
def get_job(pool: Pool, id: int, query: Patience) -> dict[str, Any]:
    """One job, wherever it is.

    With `wait` it answers when the job has ended, or as it is after so many seconds.
    """
    job = _read(pool, id)
    if query.wait and not JobStatus(job.status).final:
        waiters: Waiters = current_app.extensions["pgtask.waiters"]
        waiters.wait(id, query.wait)
        job = _read(pool, id)
    return shown(job_as_json(job))


def _read(pool: Pool, id: int) -> JobRecord:
    with pool.connection() as connection, in_words_of(pool.url):
        job = jobs.read(connection, id)
    require_queue(job.queue, JobNotFoundError(id))
    return job
