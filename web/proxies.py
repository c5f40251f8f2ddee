"""Requests that come through proxies: who asked the proxy, and under which prefix it shows the server."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from pgtask.model.destination import parse_network

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_WITH_PORT = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[0-9.]+))(?::[0-9]{1,5})?", re.ASCII)
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")


class Proxied:
    """WSGI middleware that believes X-Forwarded-For, -Proto and -Prefix of trusted proxies, and of nobody else.

    A Unix socket is reached by whom its file lets in, so what comes there is trusted.
    """

    def __init__(self, app: WSGIApplication, trusted: Sequence[str], prefix: str = "") -> None:
        """`trusted` are addresses and networks; `prefix` holds where the proxy names none."""
        self._app = app
        self._trusted = [parse_network(text) for text in trusted]
        self._prefix = prefix.rstrip("/")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answers a request."""
        prefix = self._prefix
        peer = str(environ.get("REMOTE_ADDR") or "")
        if not peer or (self._trusted and self._trusts(_address(peer))):
            environ["REMOTE_ADDR"] = self._origin(peer, str(environ.get("HTTP_X_FORWARDED_FOR") or ""))
            if environ.get("HTTP_X_FORWARDED_PROTO") in {"http", "https"}:
                environ["wsgi.url_scheme"] = environ["HTTP_X_FORWARDED_PROTO"]
            given = str(environ.get("HTTP_X_FORWARDED_PREFIX") or "").rstrip("/")
            prefix = given if _PREFIX.fullmatch(given) else prefix
        if prefix:
            path = str(environ["PATH_INFO"])
            # A proxy may take the prefix away, or leave it.
            if path == prefix or path.startswith(f"{prefix}/"):
                environ["PATH_INFO"] = path[len(prefix) :] or "/"
            environ["SCRIPT_NAME"] = prefix
        return self._app(environ, start_response)

    def _origin(self, peer: str, forwarded: str) -> str:
        """The last address on the way that is no trusted proxy's: what stands before it anyone may have written."""
        origin = peer
        for text in reversed(forwarded.split(",")):
            address = _address(text.strip())
            if address is None:
                break
            origin = str(address)
            if not self._trusts(address):
                break
        return origin

    def _trusts(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    # Some proxies name the port, too: 192.0.2.1:4711, [2001:db8::1]:4711.
    with_port = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((with_port["six"] or with_port["four"] if with_port else text).partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
