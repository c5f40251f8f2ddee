"""The errors pgtask raises to its callers.

PgTaskError
├── ConfigurationError        a setting, or an application reference, is missing or wrong
├── DatabaseUnavailableError  no answer from PostgreSQL
├── ServerUnavailableError    no answer from the server of pgtask, or none that makes sense
├── SchemaError               the schema is missing, older or newer than this version needs
├── EmbeddedServerError       the embedded PostgreSQL cannot be started or stopped
├── TaskError                 a task is declared wrongly, twice, or is unknown
├── TransactionError          a transactional handler tampers with its transaction, or there is none
├── PayloadError              arguments do not fit the task, or are no JSON that PostgreSQL can store
├── DeadlineError             a job would have to start before now, or before it is due (a PayloadError)
├── QueueFull                 as many jobs wait in the queue as may
├── ScheduleError             a schedule's expression or time zone is not to be understood, or never due
├── JobNotFoundError          no job has this id
├── JobStateError             the job is not in a state that allows this
├── UniqueConflictError       another job holds the unique key, and on_conflict is "error"
├── NotAllowedError           the database role, or the token, may not do this
└── JobFailedError            the awaited job ended without completing
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PgTaskError(Exception):
    """Base of all errors that pgtask raises; the message says what is wrong and what to do."""


class ConfigurationError(PgTaskError):
    """A setting, or a reference to an application, is missing or wrong."""


class DatabaseUnavailableError(PgTaskError):
    """PostgreSQL did not answer."""


class DatabaseTroubleError(PgTaskError):
    """PostgreSQL could not do what it was asked for by no fault of the asker's, such as with a full disk."""


class ServerUnavailableError(PgTaskError):
    """The server of pgtask did not answer, or with what is no answer of its API."""


class SchemaError(PgTaskError):
    """The pgtask schema is missing, older or newer than this version needs."""


class EmbeddedServerError(PgTaskError):
    """The embedded PostgreSQL cannot be started or stopped."""


class TaskError(PgTaskError):
    """A task is declared wrongly, declared twice, or is unknown."""


class TransactionError(PgTaskError):
    """A handler tampers with the transaction it was given, or asks for one where there is none."""


class PayloadError(PgTaskError):
    """The arguments do not fit the task's signature, or are no JSON that PostgreSQL can store."""


class DeadlineError(PayloadError):
    """A job would have to start before now, or before it is due, so it never could."""


class SearchError(PgTaskError):
    """A search for jobs is not to be understood, or asks for what jobs cannot be found or sorted by."""


class CursorError(PgTaskError):
    """A cursor was not made by the same list."""


class QueueFull(PgTaskError):  # noqa: N818 - a state of the queue, which producers meet as part of their work
    """As many jobs wait in the queue as its max_size allows, so that nothing was enqueued."""

    def __init__(self, queue: str, max_size: int | None = None, count: int = 1) -> None:
        bound = "" if max_size is None else f": no more than {max_size:,} jobs may wait in it (max_size)"
        fewer = f", and {count:,} more do not fit" if count > 1 else ""
        super().__init__(
            f"Queue '{queue}' is full{bound}{fewer}. Nothing was enqueued: try again later, or raise it: "
            f"pgtask queues set {queue} --max-size …"
        )
        self.queue = queue
        self.max_size = max_size


class ScheduleError(PgTaskError):
    """A schedule's expression or time zone is not to be understood, or it would never be due."""


class JobNotFoundError(PgTaskError):
    """No job has this id."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"There is no job {job_id}: it was deleted, or its history has been pruned.")
        self.job_id = job_id


class TokenNotFoundError(PgTaskError):
    """No token has this id or name."""

    def __init__(self, which: int | str) -> None:
        super().__init__(f"There is no token {which!r}. See: pgtask tokens list")
        self.which = which


class TokenExistsError(ConfigurationError):
    """There is a token of this name, which may have ended."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a token '{name}' already: give this one another name.")
        self.name = name


class JobStateError(PgTaskError):
    """The job is not in a state that allows what was asked."""


class UniqueConflictError(PgTaskError):
    """Another job, `job_id`, holds the unique key of the job that was to be enqueued."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"Nothing was enqueued: job {job_id} holds this unique key.")
        self.job_id = job_id


class JobFailedError(PgTaskError):
    """The awaited job ended without completing."""

    def __init__(self, job_id: int, status: str, error: str | None) -> None:
        super().__init__(f"Job {job_id} ended {status}" + (f": {error}" if error else "."))
        self.job_id = job_id
        self.status = status
        self.error = error


class QueueNotFoundError(PgTaskError):
    """No queue has this name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean '{close[0]}'?" if close else f"Create it: pgtask queues create {name}"
        super().__init__(f"There is no queue '{name}'. {hint}")
        self.name = name


class QueueStateError(PgTaskError):
    """The queue is not in a state that allows what was asked."""


class TaskNotFoundError(PgTaskError):
    """No worker has registered a task of this name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean '{close[0]}'?" if close else "See: pgtask tasks list"
        super().__init__(f"No worker has registered a task '{name}'. {hint}")
        self.name = name


class ScheduleNotFoundError(PgTaskError):
    """No schedule has this name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean '{close[0]}'?" if close else "See: pgtask schedules list"
        super().__init__(f"There is no schedule '{name}'. {hint}")
        self.name = name


class ScheduleStateError(PgTaskError):
    """The schedule is not in a state that allows what was asked."""


class ConsumerNotFoundError(PgTaskError):
    """No consumer of the feed has this name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean '{close[0]}'?" if close else "See: pgtask feed list"
        super().__init__(f"The feed has no consumer '{name}'. {hint}")
        self.name = name


class PositionError(PgTaskError):
    """A text is no position of the feed, or a name none of a consumer."""


class WebhookNotFoundError(PgTaskError):
    """No webhook has this name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean '{close[0]}'?" if close else "See: pgtask webhooks list"
        super().__init__(f"There is no webhook '{name}'. {hint}")
        self.name = name


class WebhookError(PgTaskError):
    """A webhook cannot be as it was asked for, or not be reached."""


class WorkerNotFoundError(PgTaskError):
    """No worker has this id."""

    def __init__(self, worker_id: int) -> None:
        super().__init__(
            f"There is no worker {worker_id}: see pgtask workers list. Rows of ended workers are kept for some days."
        )
        self.worker_id = worker_id


class WorkerGoneError(PgTaskError):
    """A worker over HTTP is unknown, was declared dead or has left."""

    def __init__(self, worker_id: int) -> None:
        super().__init__(f"Worker {worker_id} is unknown, or its lease has ended. Drop its jobs, and register anew.")
        self.worker_id = worker_id


class NotAllowedError(PgTaskError):
    """The database role or the token in use may not do what was asked."""


class OperationNotFoundError(PgTaskError):
    """No bulk operation has this id."""

    def __init__(self, operation_id: int) -> None:
        super().__init__(
            f"There is no bulk operation {operation_id}: see pgtask bulk list. Ended ones are kept as long as runs."
        )
        self.operation_id = operation_id


class BusyError(PgTaskError):
    """Others hold what this was to change, for longer than it may wait."""


class TimeLimitError(PgTaskError):
    """PostgreSQL did not finish a statement within its time limit."""


class NotSeenError(PgTaskError):
    """Something could not be looked at; the message says why."""
