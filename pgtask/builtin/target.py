"""Where a request goes: a URL is taken apart, its host checked and resolved once, and that address connected to.

Checking a name and then handing it to a library that resolves it again would let its owner answer twice, with a public
address for the check and a private one for the connection.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urlsplit

import httpcore

from pgtask.model.destination import Address, HostRule, Network, refusal
from pgtask.model.verdict import Discard

_USUAL_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,252}[a-z0-9_])?|[0-9a-f:.]{2,45}")
# What a path or query may hold as it is; "%" too, as it is taken to be encoded already.
_PLAIN = "/?:@!$&'()*+,;=-._~%[]"
_MAX_URL = 8_000


class UnreachableError(Exception):
    """The host has no address, or none of them takes a connection."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL names."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port for the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _USUAL_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> httpcore.URL:
        """The same, in parts, so that no other parser can read it differently."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return httpcore.URL(scheme=self.scheme, host=host, port=self.port, target=self.path)

    def check(self, rules: Sequence[HostRule]) -> None:
        """Raises Discard unless one of the rules allows the host."""
        usual = _USUAL_PORTS[self.scheme]
        if not any(rule.allows(self.host, self.port, usual) for rule in rules):
            raise Discard(
                f"{self.authority} is not allowed. Add it to http_hosts in the worker's pgtask.toml, "
                "or to PGTASK_HTTP_HOSTS."
            )

    async def addresses(self, allowed: Sequence[Network]) -> list[Address]:
        """The host's addresses, all of them checked. Raises Discard, UnreachableError."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise UnreachableError(f"{self.host} has no address: {error}") from None
        addresses = list(dict.fromkeys(ip_address(str(info[4][0]).partition("%")[0]) for info in found))
        for address in addresses:
            if reason := refusal(address, allowed):
                raise Discard(
                    f"{self.host} has the address {address}, which is {reason}. To allow it, add it or its network to "
                    "http_networks in the worker's pgtask.toml or PGTASK_HTTP_NETWORKS."
                )
        return addresses


def parse(url: Any) -> Target:
    """Takes a URL apart. Raises Discard, without repeating a URL that holds a password."""
    if not isinstance(url, str) or not 0 < len(url) <= _MAX_URL:
        raise Discard(f"url must be a text of at most {_MAX_URL:,} characters")
    # urlsplit would drop some of these without a word, and other readers take a backslash for a slash.
    if any(char <= " " or char in "\\\x7f" for char in url):
        raise Discard("url holds a space, a control character or a backslash: encode it, as %20 for a space")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise Discard(f"url cannot be read: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise Discard("url holds a user name or password, which would be logged: send the header Authorization instead")
    if parts.scheme not in _USUAL_PORTS:
        raise Discard("url must begin with http:// or https://")
    if not _HOST.fullmatch(host):
        raise Discard("url has no usable host name; one with other letters must be written in its ASCII form (xn--…)")
    path = quote(parts.path or "/", safe=_PLAIN) + (f"?{quote(parts.query, safe=_PLAIN)}" if parts.query else "")
    return Target(parts.scheme, host, _USUAL_PORTS[parts.scheme] if port is None else port, path)


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked, whatever name it is given; TLS still verifies the name."""

    def __init__(self, addresses: Iterable[Address]) -> None:
        self._addresses = list(addresses)
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connects to the first of the addresses that answers."""
        failure: Exception = UnreachableError(f"{host} has no address")
        for address in self._addresses:
            try:
                return await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                failure = error
        raise UnreachableError(f"{host}, port {port}, takes no connection") from failure
