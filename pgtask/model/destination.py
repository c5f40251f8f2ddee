"""Where requests may go, of the task http and of webhooks: URLs, the hosts allowed, and the addresses that are not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any
from urllib.parse import quote, urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_LABELS = r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?"
_RULE = re.compile(rf"(?P<host>\*|(?:\*\.)?{_LABELS}|\[[0-9a-f:.]+\])(?::(?P<port>\d{{1,5}}))?")

# Public by number, but answering with a machine's secrets where the cloud's own network is: Azure.
_METADATA = frozenset({IPv4Address("168.63.129.16")})
# What Python's versions do not agree on: protocol assignments, shared and benchmarking space, and local translators and
# tunnels (NAT64, Teredo, 6to4), which end at an address of IPv4 that nobody here has looked at.
_SPECIAL = tuple(
    ip_network(text)
    for text in (
        *("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15"),
        *("64:ff9b:1::/48", "2001::/23", "2002::/16", "3fff::/20", "5f00::/16"),
    )
)
# The translator of a network without IPv4: the last 32 bits are the address that is reached in the end.
_NAT64 = IPv6Network("64:ff9b::/96")

_USUAL_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,252}[a-z0-9_])?|[0-9a-f:.]{2,45}")
# What a path or query may hold as it is; "%" too, as it is taken to be encoded already.
_PLAIN = "/?:@!$&'()*+,;=-._~%[]"
_MAX_URL = 8_000


@dataclass(frozen=True, slots=True)
class Place:
    """What a URL names."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def usual_port(self) -> int:
        """The port that belongs to the scheme."""
        return _USUAL_PORTS[self.scheme]

    @property
    def authority(self) -> str:
        """Host and port for the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == self.usual_port else f"{host}:{self.port}"


def parse_place(url: Any) -> Place:
    """Takes a URL apart. Raises ValueError, without repeating a URL that holds a password."""
    if not isinstance(url, str) or not 0 < len(url) <= _MAX_URL:
        raise ValueError(f"url must be a text of at most {_MAX_URL:,} characters")
    # urlsplit would drop some of these without a word, and other readers take a backslash for a slash.
    if any(char <= " " or char in "\\\x7f" for char in url):
        raise ValueError("url holds a space, a control character or a backslash: encode it, as %20 for a space")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise ValueError(f"url cannot be read: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "url holds a user name or password, which would be logged: send the header Authorization instead"
        )
    if parts.scheme not in _USUAL_PORTS:
        raise ValueError("url must begin with http:// or https://")
    if not _HOST.fullmatch(host):
        raise ValueError(
            "url has no usable host name; one with other letters must be written in its ASCII form (xn--…)"
        )
    path = quote(parts.path or "/", safe=_PLAIN) + (f"?{quote(parts.query, safe=_PLAIN)}" if parts.query else "")
    return Place(parts.scheme, host, _USUAL_PORTS[parts.scheme] if port is None else port, path)


@dataclass(frozen=True, slots=True)
class HostRule:
    """A host that is allowed: a name or address, `*.name` for what lies below it, or `*` for any."""

    host: str
    port: int | None = None
    """None means the port that belongs to the scheme."""

    @classmethod
    def parse(cls, text: str) -> HostRule:
        """`host` or `host:port`; an address of IPv6 stands in brackets. Raises ValueError."""
        match = _RULE.fullmatch(text.strip().lower())
        if match is None or not 0 < int(match["port"] or 1) < 65536:
            raise ValueError(f"{text!r} is no host; write api.example.com, *.example.com or api.example.com:8443")
        return cls(match["host"].strip("[]"), int(match["port"]) if match["port"] else None)

    def allows(self, host: str, port: int, usual_port: int) -> bool:
        """Whether the rule is met by this host, in lower case, and port."""
        if port != (self.port or usual_port):
            return False
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        return self.host in ("*", host)


def parse_network(text: str) -> Network:
    """An address or a network such as 10.0.0.0/8. Raises ValueError."""
    return ip_network(text.strip())


def refusal(address: Address, allowed: Sequence[Network]) -> str | None:
    """Why nothing may be sent to this address, in words; None when it is public or in one of these networks."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if any(address in network for network in allowed):
        return None
    return _kind(IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address)


def _kind(address: Address) -> str | None:
    kinds = {
        "unspecified": address.is_unspecified,
        "loopback": address.is_loopback,
        "link-local": address.is_link_local,
        "multicast": address.is_multicast,
        "a metadata service": address in _METADATA,
        "of special use": any(address in network for network in _SPECIAL),
        "reserved": address.is_reserved or (isinstance(address, IPv6Address) and address.is_site_local),
        "private": not address.is_global,
    }
    return next((kind for kind, is_so in kinds.items() if is_so), None)
