"""Background jobs for Python where the only infrastructure is PostgreSQL."""

from pgtask.engine.app import PgTask
from pgtask.engine.context import JobContext
from pgtask.engine.job import Job
from pgtask.engine.task import Task
from pgtask.model.breaker import Breaker
from pgtask.model.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    EmbeddedServerError,
    JobFailedError,
    JobNotFoundError,
    JobStateError,
    NotAllowedError,
    PayloadError,
    PgTaskError,
    QueueFull,
    ScheduleError,
    SchemaError,
    TaskError,
    TransactionError,
    UniqueConflictError,
)
from pgtask.model.status import JobStatus
from pgtask.model.unique import Unique
from pgtask.model.verdict import Cancel, Discard, JobCancelled, JobTimeout, Retry, Snooze
from pgtask.version import __version__ as __version__

__all__ = [
    "Breaker",
    "Cancel",
    "ConfigurationError",
    "DatabaseUnavailableError",
    "Discard",
    "EmbeddedServerError",
    "Job",
    "JobCancelled",
    "JobContext",
    "JobFailedError",
    "JobNotFoundError",
    "JobStateError",
    "JobStatus",
    "JobTimeout",
    "NotAllowedError",
    "PayloadError",
    "PgTask",
    "PgTaskError",
    "QueueFull",
    "Retry",
    "ScheduleError",
    "SchemaError",
    "Snooze",
    "Task",
    "TaskError",
    "TransactionError",
    "Unique",
    "UniqueConflictError",
]
