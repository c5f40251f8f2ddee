"""What went wrong, as RFC 9457 problem details: every answer from 400 on is one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from flask import Response
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from pgtask.model import errors

MEDIA_TYPE = "application/problem+json"

RETRY_AFTER = 2
"""Seconds after which a client may try again, where nothing better is known."""


@dataclass(slots=True)
class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """An answer that says what is wrong. `kind` ends its type: /problems/<kind>; `more` are further members."""

    status: int
    kind: str
    detail: str
    more: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The kind, as the start of a sentence."""
        return title_of(self.kind)

    def response(self, request_id: str, root: str = "") -> Response:
        """The answer; `root` is the path below which the server is shown."""
        content = {
            "type": f"{root}/problems/{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        text = json.dumps(content | dict(self.more), ensure_ascii=False)
        return Response(text, self.status, dict(self.headers), content_type=MEDIA_TYPE)


def title_of(kind: str) -> str:
    """A kind, as the start of a sentence."""
    return kind.replace("-", " ").capitalize()


def kind_of(status: int) -> str:
    """The kind of problem that a status means where nothing more is known."""
    return _OF_STATUS.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "-")


# Python has changed the phrases of these.
_OF_STATUS = {413: "content-too-large", 414: "uri-too-long", 416: "range-not-satisfiable", 422: "invalid-request"}

_KINDS: dict[type[errors.PgTaskError], tuple[int, str]] = {
    errors.JobNotFoundError: (404, "job-not-found"),
    errors.QueueNotFoundError: (404, "queue-not-found"),
    errors.TaskNotFoundError: (404, "task-not-found"),
    errors.ScheduleNotFoundError: (404, "schedule-not-found"),
    errors.WorkerNotFoundError: (404, "worker-not-found"),
    errors.WorkerGoneError: (410, "worker-gone"),
    errors.OperationNotFoundError: (404, "operation-not-found"),
    errors.TokenNotFoundError: (404, "token-not-found"),
    errors.TokenExistsError: (409, "token-exists"),
    errors.JobStateError: (409, "job-state"),
    errors.QueueStateError: (409, "queue-state"),
    errors.ScheduleStateError: (409, "schedule-state"),
    errors.WebhookNotFoundError: (404, "webhook-not-found"),
    errors.WebhookError: (422, "invalid-webhook"),
    errors.ConsumerNotFoundError: (404, "consumer-not-found"),
    errors.PositionError: (422, "invalid-position"),
    errors.UniqueConflictError: (409, "unique-conflict"),
    errors.QueueFull: (429, "queue-full"),
    errors.DeadlineError: (409, "deadline-passed"),
    errors.PayloadError: (422, "invalid-payload"),
    errors.ScheduleError: (422, "invalid-schedule"),
    errors.TaskError: (422, "invalid-task"),
    errors.ConfigurationError: (422, "invalid-value"),
    errors.SearchError: (422, "invalid-search"),
    errors.CursorError: (422, "invalid-cursor"),
    errors.BusyError: (503, "busy"),
    errors.TimeLimitError: (503, "took-too-long"),
    errors.DatabaseUnavailableError: (503, "database-unavailable"),
    errors.DatabaseTroubleError: (503, "database-unavailable"),
    errors.SchemaError: (503, "schema-outdated"),
    errors.NotAllowedError: (500, "misconfigured"),
}


_MEMBERS = ("job_id", "worker_id", "name", "queue", "max_size")
"""What errors say beside their text."""


def problem_of(error: Exception) -> Problem | None:
    """The problem that an error means, None for one that nobody foresaw."""
    match error:
        case Problem():
            return error
        case ValidationError():
            return invalid(error)
        case HTTPException():
            return _of_http(error)
        case errors.PgTaskError():
            return _of_ours(error)
    return None


def invalid(error: ValidationError) -> Problem:
    """What is wrong with a request, field by field."""
    found = [
        {"pointer": pointer_to(*item["loc"]), "detail": item["msg"]}
        for item in error.errors(include_url=False, include_context=False, include_input=False)[:50]
    ]
    first = found[0]
    where = f"{first['pointer']}: " if first["pointer"] else ""
    more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
    return Problem(422, "invalid-request", f"{where}{first['detail']}.{more}", {"errors": found})


def pointer_to(*parts: str | int) -> str:
    """The JSON pointer to a member."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _of_http(error: HTTPException) -> Problem:
    status = error.code or 500
    kind = kind_of(status)
    keep = ("Allow", "Retry-After", "WWW-Authenticate")
    headers = {name: value for name, value in error.get_headers() if name in keep}
    return Problem(status, kind, error.description or HTTPStatus(status).description, headers=headers)


def _of_ours(error: errors.PgTaskError) -> Problem:
    for kind in type(error).__mro__:
        if kind in _KINDS:
            status, name = _KINDS[kind]
            break
    else:
        status, name = 422, "refused"
    more = {name: getattr(error, name) for name in _MEMBERS if getattr(error, name, None) is not None}
    if status in (429, 503):
        return _later(status, name, str(error), more)
    return Problem(status, name, str(error), more)


def _later(status: int, kind: str, detail: str, more: Mapping[str, Any] | None = None) -> Problem:
    return Problem(status, kind, detail, more or {}, {"Retry-After": str(RETRY_AFTER)})
