"""http: sends a request to an allowed host and keeps the answer."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from pgtask.builtin.settings import settings
from pgtask.model.destination import HostRule, parse_network
from pgtask.model.duration import parse_duration
from pgtask.model.errors import PayloadError
from pgtask.model.payload import encode
from pgtask.model.verdict import Discard, Retry
from pgtask.version import __version__

if TYPE_CHECKING:
    import httpcore

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MAX_BODY = 128 * 1024
"""Bytes of an answer that are kept: as JSON, where a byte may take six, they fit into a result."""
_MAX_HEADERS = 16 * 1024
_MAX_HEADER = 1_000
_MAX_TIMEOUT = 3_600.0
_MAX_RETRY_AFTER = 86_400.0
_EXCERPT = 300

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# They say where the request goes and where it ends, which is not the payload's to say.
_OWN = frozenset(
    {
        *("host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"),
        *("keep-alive", "accept-encoding"),
    }
)
_LATER = frozenset({408, 425, 429})


class RequestFailedError(Exception):
    """There was no answer, or none that can be read."""


class Answer(NamedTuple):
    """What a server has answered, as far as it is kept."""

    status: int
    headers: dict[str, str]
    body: bytes
    truncated: bool


async def http(
    url: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: Any = None,
    timeout: float | str = 30,  # noqa: ASYNC109 - a payload's key; it becomes an asyncio.timeout
) -> dict[str, Any]:
    """Sends a request and returns status, headers and body of the answer; redirects are not followed.

    `body` is sent as it is if it is text, else as JSON; `timeout` is for the whole exchange. What goes wrong on the way
    is retried, and so are 408, 425, 429 and 5xx, then when the server says (Retry-After); of the others, 2xx and 304
    complete the job and the rest fail it for good.
    """
    given = settings()
    if not given.http_hosts:
        raise Discard(
            'The task http is off. Allow hosts in the worker\'s pgtask.toml, http_hosts = ["api.example.com"], '
            "or with PGTASK_HTTP_HOSTS=api.example.com."
        )
    try:
        from pgtask.builtin import target as targets
    except ModuleNotFoundError as error:
        raise Discard(f"The task http needs {error.name}: pip install 'pgtask[http]'") from None
    if method not in METHODS:
        raise Discard(f"unknown method {method!r}: use {', '.join(METHODS)}")
    seconds = _seconds(timeout)
    target = targets.parse(url)
    target.check([HostRule.parse(text) for text in given.http_hosts])
    content, kind = _content(body)
    lines = {"User-Agent": f"pgtask/{__version__}", "Accept": "*/*", **kind}
    lines = _merged(lines, _checked(headers)) | {"Host": target.authority, "Accept-Encoding": "identity"}
    if content is not None:
        lines["Content-Length"] = str(len(content))
    try:
        async with asyncio.timeout(seconds):
            addresses = await target.addresses([parse_network(text) for text in given.http_networks or ()])
            answer = await _exchange(target.url, method, lines, content, targets.PinnedBackend(addresses))
    except TimeoutError:
        raise RequestFailedError(f"{target.authority} did not answer in whole within {seconds:g} s") from None
    except targets.UnreachableError as error:
        raise RequestFailedError(str(error)) from None
    return _judge(f"{method} {target.authority}", answer)


def _seconds(timeout: Any) -> float:
    try:
        seconds = parse_duration(timeout)
    except ValueError as error:
        raise Discard(f"timeout: {error}") from None
    if not 0 < seconds <= _MAX_TIMEOUT:
        raise Discard(f"timeout must be more than nothing and at most {_MAX_TIMEOUT:g} s")
    return seconds


def _content(body: Any) -> tuple[bytes | None, dict[str, str]]:
    if body is None:
        return None, {}
    if isinstance(body, str):
        return body.encode("utf-8", "replace"), {"Content-Type": "text/plain; charset=utf-8"}
    try:
        return encode(body, "body").encode(), {"Content-Type": "application/json"}
    except PayloadError as error:
        raise Discard(str(error)) from None


def _checked(headers: Any) -> dict[str, str]:
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise Discard("headers must be an object of names and texts")
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise Discard(f"{name!r} is no name of a header")
        if name.lower() in _OWN or name.lower().startswith("proxy-"):
            raise Discard(f"the header {name} is not the payload's to set")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise Discard(f"the header {name} must be one line of text, in Latin-1")
    return dict(headers)


def _merged(own: dict[str, str], given: dict[str, str]) -> dict[str, str]:
    names = {name.lower() for name in given}
    return {name: value for name, value in own.items() if name.lower() not in names} | given


@cache
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()


async def _exchange(
    url: httpcore.URL,
    method: str,
    lines: dict[str, str],
    content: bytes | None,
    backend: httpcore.AsyncNetworkBackend,
) -> Answer:
    import httpcore

    raw = [(name.encode(), value.strip().encode("latin-1")) for name, value in lines.items()]
    try:
        async with (
            httpcore.AsyncConnectionPool(ssl_context=_trust(), network_backend=backend) as pool,
            pool.stream(method, url, headers=raw, content=content) as response,
        ):
            body = b""
            async for chunk in response.aiter_stream():
                body += chunk
                if len(body) > MAX_BODY:
                    break
            return Answer(response.status, _bounded(response.headers), body[:MAX_BODY], len(body) > MAX_BODY)
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise RequestFailedError(f"{lines['Host']}: {type(error).__name__}: {error}") from None


def _bounded(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    kept: dict[str, str] = {}
    size = 0
    for raw, value in headers:
        name = raw.decode("latin-1").lower()
        size += len(name) + min(len(value), _MAX_HEADER)
        if size > _MAX_HEADERS:
            break
        # A session is a secret, and results are there to be read.
        text = "***" if name == "set-cookie" else value.decode("latin-1")
        kept[name] = (f"{kept[name]}, {text}" if name in kept else text)[:_MAX_HEADER]
    return kept


def _judge(request: str, answer: Answer) -> dict[str, Any]:
    """The job's result. Raises Retry or Discard for an answer that is a failure."""
    status = answer.status
    if 200 <= status < 300 or status == HTTPStatus.NOT_MODIFIED:
        return {"status": status, "headers": answer.headers, **_body(answer)}
    if 300 <= status < 400:
        place = answer.headers.get("location", "nowhere")
        raise Discard(f"{request} answered {_named(status)} to {place}; redirects are not followed: use that address")
    text = answer.body[:_EXCERPT].decode("utf-8", "replace").strip()
    reason = f"{request} answered {_named(status)}" + (f": {text}" if text else "")
    if status in _LATER or status >= 500:
        raise Retry(reason, after=retry_after(answer.headers.get("retry-after")))
    raise Discard(reason)


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _body(answer: Answer) -> dict[str, Any]:
    whole = {"truncated": answer.truncated}
    if "content-encoding" not in answer.headers:
        try:
            text = answer.body.decode("utf-8")
        except UnicodeDecodeError as error:
            # A character that the limit has cut through does not make it binary.
            cut = answer.truncated and error.reason == "unexpected end of data"
            text = answer.body[: error.start].decode("utf-8") if cut else "\0"
        if "\0" not in text:
            return {"body": text, "encoding": "text"} | whole
    return {"body": base64.b64encode(answer.body).decode(), "encoding": "base64"} | whole


def retry_after(text: str | None) -> float | None:
    """Seconds that the header Retry-After asks for, 1 to 86,400; None when it is missing or says nothing."""
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text.strip()):
        seconds = float(text)
    else:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 1.0), _MAX_RETRY_AFTER)
