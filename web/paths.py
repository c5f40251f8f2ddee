"""Names and numbers in paths. A name may hold a slash, written %2F, which WSGI would otherwise take for a separator."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from werkzeug.exceptions import NotFound
from werkzeug.routing import BaseConverter, Map

from .document import BASE, LONGEST_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_ESCAPED = re.compile(r"%(?=25|2f)", re.IGNORECASE)
_LARGEST = 2**63 - 1


def path_to(*parts: str | int) -> str:
    """The path of a thing in the API, as for the header Location."""
    return "/".join([BASE, *(quote(str(part), safe="") for part in parts)])


def words_beside(path: str, parameter: str, paths: Iterable[str]) -> list[str]:
    """The words that stand in other paths where this one has a parameter, such as preview in /schedules/preview."""
    before = path.partition(f"{{{parameter}}}")[0]
    beside = {other.removeprefix(before).partition("/")[0] for other in paths if other.startswith(before)}
    return sorted(word for word in beside if not word.startswith("{"))


class Name(BaseConverter):
    """A name of up to 256 characters, but for words that stand in its place in other paths.

    What cannot be is not found, with any method: werkzeug's own way out, ValidationError, would say 405 for some.
    """

    def __init__(self, url_map: Map, *others: str) -> None:
        """`others` are those words."""
        super().__init__(url_map)
        if others:
            self.regex = f"(?!(?:{'|'.join(map(re.escape, others))})(?:/|$))[^/]+"

    def to_python(self, value: str) -> str:
        """The name in a path."""
        name = unquote(value)
        if len(name) > LONGEST_NAME or "\0" in name:
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
            # A mere ValidationError would look for other rules, and find that the path is there for other methods.
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
