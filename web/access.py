"""A line of the log for each request: reads for those who debug, changes and refusals always."""

from __future__ import annotations

import logging
import time
from urllib.parse import quote

from flask import Response, request

from .requests import Asked

log = logging.getLogger("pgtask.access")


def record(asked: Asked, response: Response) -> None:
    """Writes the line. A path is in it, as it may not hold secrets; a query, a header or a body never."""
    routine = response.status_code < 400 and request.method in {"GET", "HEAD", "OPTIONS"}
    level = logging.DEBUG if routine else logging.INFO
    if not log.isEnabledFor(level):
        return
    fields = {
        "request_id": asked.request_id,
        "status": response.status_code,
        "ms": round((time.monotonic() - asked.begun) * 1000, 1),
        "caller": asked.principal.name if asked.principal else "anonymous",
        "address": request.remote_addr,
    }
    log.log(level, "%s %s", quote(request.method), quote(request.path), extra=fields)
