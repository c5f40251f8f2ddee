"""Looking at what is under way, once a second at most and for all who watch, by small reads."""

from __future__ import annotations

from psycopg.rows import dict_row

from pgtask.database import fleet, statements
from pgtask.database.connection import Connection
from pgtask.database.reading import reading
from pgtask.model.change import RunningJob, Snapshot, WatchedQueue, WatchedWorker

DEPTH, MOST = 200, 1000
"""Due jobs of a lane among which running ones are looked for, and running jobs that are told of."""

_ENDED_WITHIN = 60.0

_JOBS = statements.load("watch_jobs")
_QUEUES = statements.load("watch_queues")


def look(connection: Connection) -> Snapshot:
    """How things stand now."""
    with reading(connection), connection.cursor(row_factory=dict_row) as cursor:
        jobs = [
            RunningJob(
                id=row["id"],
                task=row["task"],
                queue=row["queue"],
                attempt=row["attempt"],
                worker_id=row["worker_id"],
                progress=row["progress"],
                message=row["progress_message"],
            )
            for row in cursor.execute(_JOBS, {"depth": DEPTH, "limit": MOST})
        ]
        queues = [WatchedQueue(**row) for row in cursor.execute(_QUEUES)]
    workers = [
        WatchedWorker(id=found.id, name=found.name, state=found.state, running=found.running, slots=found.slots)
        for found in fleet.list_workers(connection, ended_within=_ENDED_WITHIN)
    ]
    return Snapshot(
        {(job.id, job.attempt): job for job in jobs},
        {queue.name: queue for queue in queues},
        {worker.id: worker for worker in workers},
    )
