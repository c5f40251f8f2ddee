"""Where a request goes: a URL is taken apart, its host checked and resolved once, and that address connected to.

Checking a name and then handing it to a library that resolves it again would let its owner answer twice, with a public
address for the check and a private one for the connection.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Any

import httpcore

from pgtask.model.destination import Address, HostRule, Network, Place, parse_place, refusal
from pgtask.model.verdict import Discard


class UnreachableError(Exception):
    """The host has no address, or none of them takes a connection."""


class Target(Place):
    """What a URL names, as httpcore takes it."""

    __slots__ = ()

    @property
    def url(self) -> httpcore.URL:
        """The same, in parts, so that no other parser can read it differently."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return httpcore.URL(scheme=self.scheme, host=host, port=self.port, target=self.path)

    def check(self, rules: Sequence[HostRule]) -> None:
        """Raises Discard unless one of the rules allows the host."""
        if not any(rule.allows(self.host, self.port, self.usual_port) for rule in rules):
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
    try:
        place = parse_place(url)
    except ValueError as error:
        raise Discard(str(error)) from None
    return Target(place.scheme, place.host, place.port, place.path)


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
