"""From RFC 9457 problem details back to the errors that they were made of."""

from __future__ import annotations

from typing import Any

from pgtask.model import errors
from pgtask.model.errors import PgTaskError

_KINDS: dict[str, type[PgTaskError]] = {
    "job-not-found": errors.JobNotFoundError,
    "queue-not-found": errors.QueueNotFoundError,
    "task-not-found": errors.TaskNotFoundError,
    "schedule-not-found": errors.ScheduleNotFoundError,
    "worker-not-found": errors.WorkerNotFoundError,
    "token-not-found": errors.TokenNotFoundError,
    "token-exists": errors.TokenExistsError,
    "webhook-not-found": errors.WebhookNotFoundError,
    "invalid-webhook": errors.WebhookError,
    "operation-not-found": errors.OperationNotFoundError,
    "job-state": errors.JobStateError,
    "queue-state": errors.QueueStateError,
    "schedule-state": errors.ScheduleStateError,
    "unique-conflict": errors.UniqueConflictError,
    "queue-full": errors.QueueFull,
    "invalid-payload": errors.PayloadError,
    "invalid-schedule": errors.ScheduleError,
    "invalid-task": errors.TaskError,
    "invalid-value": errors.ConfigurationError,
    "invalid-request": errors.ConfigurationError,
    "busy": errors.BusyError,
    "took-too-long": errors.TimeLimitError,
    "database-unavailable": errors.DatabaseUnavailableError,
    "schema-outdated": errors.SchemaError,
}
_MEMBERS = ("job_id", "worker_id", "name", "queue", "max_size")


def error_of(status: int, content: Any) -> PgTaskError | None:
    """The error that an answer tells of, with its text and members; None for an answer that is no problem of pgtask."""
    if not isinstance(content, dict) or not isinstance(content.get("detail"), str):
        return None
    kind = str(content.get("type", "")).rpartition("/")[2]
    if status == 401:
        return errors.NotAllowedError(f"{content['detail']} Give a valid token: --token, or PGTASK_TOKEN.")
    if status == 403:
        return errors.NotAllowedError(content["detail"])
    known = _KINDS.get(kind, PgTaskError)
    # Not by its own constructor, which would make the text anew from what only the server knows.
    error = known.__new__(known, content["detail"])
    for name in _MEMBERS:
        if name in content:
            setattr(error, name, content[name])
    return error
