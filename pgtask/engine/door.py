"""An application's way to jobs: enqueuing them, and what is done with one by its id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgtask.engine.job import Job

if TYPE_CHECKING:
    from pgtask.database.pool import Pool
    from pgtask.model.job import JobRecord, NewJob


class Door:
    """What jobs and tasks need of their application."""

    @property
    def pool(self) -> Pool:
        """The connections that are used."""
        raise NotImplementedError

    def enqueue_encoded(self, job: NewJob, payload: str, connection: Any = None) -> Job:
        """Enqueues a job whose payload is already JSON text, on `connection` or one of the pool's."""
        from pgtask.database import jobs
        from pgtask.database.unwrapping import unwrap

        if connection is not None:
            made = jobs.enqueue(unwrap(connection), job, payload)
        else:
            with self.pool.connection() as own:
                made = jobs.enqueue(own, job, payload)
        return Job(self, made.id, created=made.created)

    def enqueue_many_encoded(self, job: NewJob, payloads: list[str], connection: Any = None) -> list[Job]:
        """Enqueues a job for each JSON text, all or none."""
        from pgtask.database import jobs
        from pgtask.database.unwrapping import unwrap

        if not payloads:
            return []
        if connection is not None:
            ids = jobs.enqueue_many(unwrap(connection), job, payloads)
        else:
            with self.pool.connection() as own:
                ids = jobs.enqueue_many(own, job, payloads)
        return [Job(self, id) for id in ids]

    async def enqueue_encoded_async(self, job: NewJob, payload: str, connection: Any = None) -> Job:
        """`enqueue_encoded` for code that runs on asyncio."""
        from pgtask.database import jobs
        from pgtask.database.unwrapping import unwrap_async

        if connection is not None:
            made = await jobs.enqueue_async(await unwrap_async(connection), job, payload)
        else:
            async with self.pool.connection_async() as own:
                made = await jobs.enqueue_async(own, job, payload)
        return Job(self, made.id, created=made.created)

    def read_job(self, id: int) -> JobRecord:
        """The job as it is stored now. Raises JobNotFoundError."""
        from pgtask.database import jobs

        with self.pool.connection() as connection:
            return jobs.read(connection, id)

    def cancel_job(self, id: int) -> str:
        """As `Job.cancel`."""
        from pgtask.database import jobs

        with self.pool.connection() as connection:
            return jobs.cancel(connection, id)

    def retry_job(self, id: int) -> None:
        """As `Job.retry`."""
        from pgtask.database import jobs

        with self.pool.connection() as connection:
            jobs.retry(connection, id)
