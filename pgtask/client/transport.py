"""Requests to a server of pgtask: kept connections, trying again, and what is wrong in one line."""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as NoAnswerInTime

from pgtask.client.problems import error_of
from pgtask.model import setting
from pgtask.model.errors import ConfigurationError, PgTaskError, ServerUnavailableError
from pgtask.version import __version__

BASE = "/api/v1"
CONNECT_TIMEOUT = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds before the first further try, doubled with each, and the longest that a server may ask for."""

SILENCE = 60.0
"""Seconds without a line after which a stream counts as lost: the server says every 15 that it is alive."""

_AGAIN = frozenset({429, 502, 503, 504})
_NOT_AGAIN = frozenset({"queue-full", "took-too-long", "schema-outdated"})
"""Kinds of problems that waiting a moment does not solve."""


@dataclass(frozen=True, slots=True)
class _Answered:
    """An answer: its status, its JSON (None without), and after how many seconds to ask again, if it says so."""

    status: int
    content: Any
    retry_after: float | None

    @property
    def kind(self) -> str:
        """The kind of problem that it tells of."""
        found = self.content.get("type") if isinstance(self.content, dict) else None
        return found.rpartition("/")[2] if isinstance(found, str) else ""

    @property
    def passing(self) -> bool:
        """Whether the same request may be answered otherwise soon."""
        return self.kind == "request-in-progress" or (self.status in _AGAIN and self.kind not in _NOT_AGAIN)


class Transport:
    """Sends requests in the name of a token. May be used by several threads."""

    def __init__(self, url: str, token: str | None, *, timeout: float, retries: int) -> None:
        """Raises ConfigurationError for a URL or a token that cannot be."""
        try:
            self.url = setting.server_url(url).removesuffix(BASE)
        except ValueError as error:
            raise ConfigurationError(f"The URL of the server is wrong: {error}.") from None
        headers = {"Accept": "application/json", "User-Agent": f"pgtask/{__version__}"}
        if token is not None:
            if not (token.isascii() and token.isprintable()):
                raise ConfigurationError("The token is wrong: it has characters that no token has.")
            headers["Authorization"] = f"Bearer {token}"
        self._timeout, self._retries = timeout, retries
        # Certificates are verified against those that the system trusts.
        self._pool = urllib3.PoolManager(4, headers=headers, maxsize=4, retries=False)

    def close(self) -> None:
        """Closes all connections."""
        self._pool.clear()

    def get(self, path: str, query: Mapping[str, Any] | None = None, *, wait: float = 0.0) -> Any:
        """The JSON at a path; `wait` are seconds that the server may take beyond the timeout."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return self._send("GET", path + (f"?{urlencode(given)}" if given else ""), None, self._timeout + wait)

    def lines(self, path: str, query: Mapping[str, Any]) -> Generator[str, None, None]:
        """The lines of a text that comes bit by bit. Close it in the end. Raises ServerUnavailableError on the way."""
        given = {name: value for name, value in query.items() if value is not None}
        headers = {**self._pool.headers, "Accept": "text/event-stream"}
        limit = urllib3.Timeout(connect=min(CONNECT_TIMEOUT, self._timeout), read=max(self._timeout, SILENCE))
        url = f"{self.url}{BASE}{path}?{urlencode(given)}"
        try:
            response = self._pool.request(
                "GET", url, headers=headers, timeout=limit, redirect=False, preload_content=False
            )
            with closing(response):
                if response.status >= 300:
                    answered = _read(response)
                    raise error_of(answered.status, answered.content) or self._strange(answered)
                rest = b""
                for part in response.stream(amt=65536):
                    *whole, rest = (rest + part).split(b"\n")
                    yield from (line.decode() for line in whole)
        except HTTPError as error:
            raise self._unreachable(error, SILENCE) from error

    def post(self, path: str, body: Any = None) -> Any:
        """Makes or does something, once, however often it has to be tried."""
        return self._change("POST", path, body)

    def patch(self, path: str, body: Any) -> Any:
        """Changes something."""
        return self._change("PATCH", path, body)

    def put(self, path: str, body: Any) -> Any:
        """Sets something."""
        return self._change("PUT", path, body)

    def delete(self, path: str) -> None:
        """Deletes something."""
        self._change("DELETE", path, None)

    def _change(self, method: str, path: str, body: Any) -> Any:
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        data = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        return self._send(method, path, data, self._timeout, headers)

    def _send(
        self, method: str, path: str, data: bytes | None, timeout: float, more: Mapping[str, str] | None = None
    ) -> Any:
        headers = {**self._pool.headers, **(more or {})}
        limit = urllib3.Timeout(connect=min(CONNECT_TIMEOUT, self._timeout), read=timeout)

        def ask() -> _Answered:
            response = self._pool.request(
                method, f"{self.url}{BASE}{path}", body=data, headers=headers, timeout=limit, redirect=False
            )
            return _read(response)

        answered = self._tried(ask, timeout)
        if answered.status < 300:
            return answered.content
        raise error_of(answered.status, answered.content) or self._strange(answered)

    def _tried(self, ask: Callable[[], _Answered], timeout: float) -> _Answered:
        """The first answer that stands, or the last one."""
        pause = FIRST_PAUSE
        for left in reversed(range(self._retries + 1)):
            try:
                answered = ask()
            except HTTPError as error:
                if not left or isinstance(error, SSLError):
                    raise self._unreachable(error, timeout) from error
                asked_for = None
            else:
                if not left or not answered.passing:
                    return answered
                asked_for = answered.retry_after
            time.sleep(random.uniform(pause / 2, pause) if asked_for is None else min(asked_for, LONGEST_PAUSE))
            pause *= 2
        raise AssertionError

    def _unreachable(self, error: HTTPError, timeout: float) -> PgTaskError:
        if isinstance(error, SSLError):
            reason = f"its certificate cannot be verified, or it speaks no TLS ({_last(error)})"
        elif isinstance(error, NoAnswerInTime) and not isinstance(error, NewConnectionError):
            reason = f"it did not answer within {timeout:g} s"
        else:
            reason = _last(error)
        return ServerUnavailableError(f"The server at {self.url} cannot be reached: {reason}.")

    def _strange(self, answered: _Answered) -> PgTaskError:
        if answered.status in _AGAIN:
            return ServerUnavailableError(f"The server at {self.url} is not ready: it answered {answered.status}.")
        return ServerUnavailableError(
            f"The server at {self.url} answered {answered.status}, which is no answer of pgtask. Is the URL right?"
        )


def path_to(*parts: str | int) -> str:
    """The path of a thing, its parts quoted."""
    quoted = (quote(str(part), safe="") for part in parts)
    # A part of dots alone would be taken for a step in the path.
    return "".join("/" + (part if part.strip(".") else part.replace(".", "%2E")) for part in quoted)


def _read(response: urllib3.BaseHTTPResponse) -> _Answered:
    text = response.data
    try:
        content = json.loads(text) if text else None
    except ValueError:
        content = None
        if response.status < 300:
            # What answers so is no server of pgtask.
            return _Answered(599, None, None)
    after = response.headers.get("Retry-After", "")
    return _Answered(response.status, content, float(after) if after.isdigit() else None)


def _last(error: BaseException) -> str:
    """What lies at the root of an error, in one line."""
    while (cause := getattr(error, "reason", None) or error.__cause__) is not None and isinstance(cause, BaseException):
        error = cause
    words = getattr(error, "strerror", None) or str(error).rpartition(": ")[2] or type(error).__name__
    return " ".join(str(words).split()).rstrip(".")
