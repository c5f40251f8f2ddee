from __future__ import annotations

from ipaddress import ip_address

import pytest

from pgtask.model.destination import HostRule, parse_network, refusal


@pytest.mark.parametrize(
    ("rule", "host", "port", "allowed"),
    [
        ("api.example.com", "api.example.com", 443, True),
        ("API.example.com", "api.example.com", 443, True),
        ("api.example.com", "api.example.com", 8443, False),
        ("api.example.com:8443", "api.example.com", 8443, True),
        ("api.example.com:8443", "api.example.com", 443, False),
        ("api.example.com", "api.example.com.evil.org", 443, False),
        ("api.example.com", "evilapi.example.com", 443, False),
        ("*.example.com", "a.b.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("*.example.com", "evilexample.com", 443, False),
        ("*", "anything.org", 443, True),
        ("*", "anything.org", 22, False),
        ("127.0.0.1:80", "127.0.0.1", 80, True),
        ("[::1]:8080", "::1", 8080, True),
    ],
)
def test_a_rule_allows_its_host_and_port_and_nothing_else(rule: str, host: str, port: int, allowed: bool) -> None:
    assert HostRule.parse(rule).allows(host, port, 443) is allowed


@pytest.mark.parametrize(
    "text", ["", "http://a.org", "a.org/x", "a b", "*.*", "a*.org", "a.org:0", "a.org:99999", "me@a"]
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        HostRule.parse(text)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "of special use"),
        ("100.100.100.200", "of special use"),
        ("192.0.0.192", "of special use"),
        ("198.18.0.1", "of special use"),
        ("fd00:ec2::254", "private"),
        ("2001:db8::1", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("fec0::1", "reserved"),
        ("224.0.0.1", "multicast"),
        ("ff0e::1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("168.63.129.16", "a metadata service"),
        # An address of IPv4 inside one of IPv6: mapped, compatible, NAT64, 6to4, Teredo.
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "link-local"),
        ("::ffff:10.0.0.1", "private"),
        ("::127.0.0.1", "reserved"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("2002:7f00:1::", "of special use"),
        ("2002:a00:1::", "of special use"),
        ("2002:5db8:d822::", "of special use"),
        ("64:ff9b:1::5db8:d822", "of special use"),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", "of special use"),
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str, kind: str) -> None:
    assert refusal(ip_address(address), []) == kind


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_a_public_address_is_not(address: str) -> None:
    assert refusal(ip_address(address), []) is None


def test_only_what_is_allowed_explicitly_is_let_through() -> None:
    allowed = [parse_network("127.0.0.1"), parse_network("10.0.0.0/8")]
    assert refusal(ip_address("127.0.0.1"), allowed) is None
    assert refusal(ip_address("::ffff:127.0.0.1"), allowed) is None
    assert refusal(ip_address("10.200.1.1"), allowed) is None
    assert refusal(ip_address("127.0.0.2"), allowed) == "loopback"
    assert refusal(ip_address("::1"), allowed) == "loopback"
    # The translator, not the machine itself, would be asked for it.
    assert refusal(ip_address("64:ff9b::7f00:1"), allowed) == "loopback"


def test_what_is_no_network_is_refused() -> None:
    for text in ("localhost", "10.0.0.1/8", "10.0.0.0/33"):
        with pytest.raises(ValueError, match=r"10\.0\.0|localhost"):
            parse_network(text)
