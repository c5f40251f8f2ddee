"""Who asks, when requests come through proxies."""

from __future__ import annotations

from typing import Any

import pytest
from pgtask.web.proxies import Proxied

TRUSTED = ("10.0.0.0/8", "2001:db8::/32")


def origin(peer: str, forwarded: str, trusted: tuple[str, ...] = TRUSTED) -> str:
    """The address that the application sees."""
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], _start: Any) -> list[bytes]:
        seen.update(environ)
        return []

    proxied = Proxied(application, trusted)
    proxied({"REMOTE_ADDR": peer, "PATH_INFO": "/", "HTTP_X_FORWARDED_FOR": forwarded}, lambda *_: lambda _: None)
    return str(seen["REMOTE_ADDR"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "6.6.6.6, 192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "6.6.6.6, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
        ("10.0.0.1", "192.0.2.7:4711", "192.0.2.7"),
        ("10.0.0.1", "[2001:db9::7]:4711", "2001:db9::7"),
        ("10.0.0.1", "[2001:db9::7]", "2001:db9::7"),
        ("10.0.0.1", "2001:db9::7", "2001:db9::7"),
        ("::ffff:10.0.0.1", "::ffff:192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "192.0.2.7, nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("192.0.2.9", "10.0.0.1", "192.0.2.9"),
    ],
)
def test_the_last_address_that_no_trusted_proxy_has_is_the_callers(peer: str, forwarded: str, expected: str) -> None:
    assert origin(peer, forwarded) == expected


def test_without_trusted_proxies_what_a_header_says_is_nothing() -> None:
    assert origin("127.0.0.1", "192.0.2.7", ()) == "127.0.0.1"


def test_whoever_reaches_a_unix_socket_is_trusted_and_nobody_before() -> None:
    assert origin("", "6.6.6.6, 192.0.2.7", ()) == "192.0.2.7"
