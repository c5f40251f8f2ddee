"""Names and numbers in paths. A name may hold a slash, written %2F, which WSGI would otherwise take for a separator."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from werkzeug.exceptions import NotFound
from werkzeug.routing import BaseConverter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_ESCAPED = re.compile(r"%(?=25|2f)", re.IGNORECASE)
_LARGEST = 2**63 - 1


class Name(BaseConverter):
    """A name of up to 200 characters."""

    def to_python(self, value: str) -> str:
        """The name in a path."""
        name = unquote(value)
        if len(name) > 200 or "\0" in name:
            raise NotFound
        return name

    def to_url(self, value: str) -> str:
        """The name as it is written in a path."""
        return quote(value, safe="")


class Number(BaseConverter):
    """An id: a positive number that PostgreSQL's bigint holds."""

    regex = "[0-9]{1,19}"

    def to_python(self, value: str) -> int:
        """The number in a path."""
        number = int(value)
        if not 0 < number <= _LARGEST:
            # Not ValidationError: with another method's rule at hand werkzeug would make 405 of it.
            raise NotFound
        return number


class SlashesInNames:
    """WSGI middleware that leaves %2F and %25 in the path as they are, for `Name` to read."""

    def __init__(self, app: WSGIApplication) -> None:
        """`app` is what answers."""
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answers a request."""
        raw = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or "")
        path = raw.partition("?")[0]
        if _ESCAPED.search(path) and path.startswith("/"):
            prefix = str(environ.get("SCRIPT_NAME") or "")
            kept = unquote(_ESCAPED.sub("%25", path), "latin-1")
            environ["PATH_INFO"] = kept.removeprefix(prefix)
        return self._app(environ, start_response)
