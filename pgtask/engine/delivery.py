"""Sending one message to where a webhook goes, and to nowhere else.

The host is resolved once, all its addresses are checked, and one of those is connected to: a library that resolved the
name again could be told another address than the one that was looked at. Redirects are not followed.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from http.client import HTTPException
from ipaddress import ip_address

from urllib3 import HTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from pgtask.model.destination import Address, Network, Place, parse_place, refusal
from pgtask.model.webhook import Delivery, Message, signed_headers
from pgtask.version import __version__

CONNECT_WITHIN = 5.0
TOTAL = 20.0
"""Seconds for the whole exchange once the name is resolved, however slowly the other side talks."""

_MAX_RETRY_AFTER = 86_400.0
_EXCERPT = 300


def send(url: str, secret: str, message: Message, allowed: Sequence[Network]) -> Delivery:
    """Posts a message; `allowed` may be reached though not public. Raises nothing for what the other side does."""
    try:
        place = parse_place(url)
        addresses = _addresses(place, allowed)
    except (ValueError, OSError) as error:
        return Delivery(None, f"{error}")
    headers = {
        "Host": place.authority,
        "User-Agent": f"pgtask/{__version__}",
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    headers |= signed_headers(secret, message, int(time.time()))
    deadline = time.monotonic() + TOTAL
    failure = Delivery(None, f"{place.host} has no address")
    for address in addresses:
        if time.monotonic() >= deadline:
            break
        connection = _connection(place, address)
        try:
            connection.connect()
        except (HTTPError, OSError, ValueError) as error:
            connection.close()
            failure = Delivery(None, f"{place.authority} takes no connection: {_words(error)}")
            continue
        return _exchange(connection, place, message, headers, deadline)
    return failure


def _addresses(place: Place, allowed: Sequence[Network]) -> list[Address]:
    """The host's addresses. Raises ValueError for one that may not be reached, OSError for a name without any."""
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise ValueError(f"{place.host} is no host: {error}") from None
    addresses = list(dict.fromkeys(ip_address(str(info[4][0]).partition("%")[0]) for info in found))
    for address in addresses:
        if reason := refusal(address, allowed):
            raise ValueError(
                f"{place.host} has the address {address}, which is {reason}. To allow it, the owner of the schema "
                "adds its network to the table pgtask.webhook_networks."
            )
    return addresses


def _connection(place: Place, address: Address) -> HTTPConnection:
    if place.scheme == "http":
        return HTTPConnection(str(address), place.port, timeout=CONNECT_WITHIN)
    return HTTPSConnection(
        str(address),
        place.port,
        timeout=CONNECT_WITHIN,
        ssl_context=_trust(),
        server_hostname=place.host,
        assert_hostname=place.host,
    )


@cache
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()


def _exchange(
    connection: HTTPConnection, place: Place, message: Message, headers: dict[str, str], deadline: float
) -> Delivery:
    left = max(deadline - time.monotonic(), 0.1)
    taken: socket.socket = connection.sock
    # It sets this on the socket before it sends, and again before it reads.
    connection.timeout = left
    # A timeout of the socket is one of each byte; this one is of them all.
    cut = threading.Timer(left, _shut, [taken])
    cut.daemon = True
    cut.start()
    try:
        connection.request("POST", place.path, message.body, headers, preload_content=False, decode_content=False)
        response = connection.getresponse()
        excerpt = b"" if 200 <= response.status < 300 else response.read(_EXCERPT)
        return _judge(response, excerpt)
    except (HTTPError, HTTPException, OSError, ValueError) as error:
        if time.monotonic() >= deadline:
            return Delivery(None, f"{place.authority} did not answer within {TOTAL:g} s")
        return Delivery(None, f"{place.authority}: {_words(error)}")
    finally:
        cut.cancel()
        connection.close()


def _shut(taken: socket.socket) -> None:
    with contextlib.suppress(OSError):
        taken.shutdown(socket.SHUT_RDWR)


def _judge(response: HTTPResponse, excerpt: bytes) -> Delivery:
    status = response.status
    if 200 <= status < 300:
        return Delivery(status, None)
    named = f"{status} {HTTPStatus(status).phrase}" if status in HTTPStatus._value2member_map_ else str(status)
    text = excerpt.decode("utf-8", "replace").replace("\0", "").strip()
    if 300 <= status < 400:
        return Delivery(status, f"it answered {named}; redirects are not followed: use that address")
    after = response.headers.get("Retry-After", "").strip()
    wait = min(float(after), _MAX_RETRY_AFTER) if after.isdecimal() and after.isascii() and len(after) < 10 else None
    return Delivery(status, f"it answered {named}" + (f": {text}" if text else ""), wait)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".replace("\0", "")[:_EXCERPT]
