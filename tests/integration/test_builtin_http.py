"""The task http against real servers on loopback, which has to be allowed like any other address that is not public."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import trustme

from pgtask.builtin.request import MAX_BODY, RequestFailedError, http, retry_after
from pgtask.builtin.target import Target, parse
from pgtask.model.payload import encode_result
from pgtask.model.verdict import Discard, Retry
from tests.handlers import configure
from tests.site import Site, answer, drip, flood, serving


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """A server that the task may reach, by its address."""
    with serving() as made:
        hosts = f"127.0.0.1:{made.port},localhost:{made.port}"
        configure(monkeypatch, tmp_path, http_hosts=hosts, http_networks="127.0.0.1,::1")
        yield made


def send(url: str, **arguments: Any) -> dict[str, Any]:
    return asyncio.run(http(url, **arguments))


def at(site: Site, path: str = "/", host: str = "127.0.0.1") -> str:
    return f"http://{host}:{site.port}{path}"


# What it does


def test_it_returns_the_answer(site: Site) -> None:
    site.answers["/x?y=1"] = answer(200, "grüß".encode(), X_Colour="blue")
    result = send(at(site, "/x?y=1#part"))
    assert (result["status"], result["body"], result["encoding"], result["truncated"]) == (200, "grüß", "text", False)
    assert result["headers"]["x-colour"] == "blue"
    (request,) = site.requests
    assert (request.method, request.path, request.body) == ("GET", "/x?y=1", b"")
    assert request.headers["host"] == f"127.0.0.1:{site.port}"


@pytest.mark.parametrize(
    ("body", "sent", "kind"),
    [
        ("plain ü", "plain ü".encode(), "text/plain; charset=utf-8"),
        ({"a": [1]}, b'{"a":[1]}', "application/json"),
        ([], b"[]", "application/json"),
    ],
)
def test_it_sends_text_as_it_is_and_the_rest_as_json(site: Site, body: Any, sent: bytes, kind: str) -> None:
    send(at(site), method="POST", body=body, headers={"X-Key": "k"})
    (request,) = site.requests
    assert (request.method, request.body, request.headers["content-type"]) == ("POST", sent, kind)
    assert request.headers["x-key"] == "k"


def test_a_header_of_the_payload_replaces_the_tasks_own(site: Site) -> None:
    send(at(site), method="PUT", body="{}", headers={"content-type": "application/x-own"})
    assert site.requests[0].headers["content-type"] == "application/x-own"


def test_what_is_no_text_is_given_in_base64(site: Site) -> None:
    site.answers["/"] = answer(200, b"\xff\x00")
    assert send(at(site)) | {"headers": {}} == {
        "status": 200,
        "headers": {},
        "body": "/wA=",
        "encoding": "base64",
        "truncated": False,
    }
    site.answers["/"] = answer(200, b"packed", Content_Encoding="gzip")
    assert send(at(site))["encoding"] == "base64"


def test_a_session_is_not_kept(site: Site) -> None:
    site.answers["/"] = answer(200, Set_Cookie="session=hush")
    assert send(at(site))["headers"]["set-cookie"] == "***"


# Whom it may reach


def test_it_is_off_unless_hosts_are_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(monkeypatch, tmp_path)
    with pytest.raises(Discard, match=r"is off\. Allow hosts in the worker's pgtask\.toml, http_hosts = "):
        send("http://127.0.0.1/")


def test_a_host_that_is_not_listed_is_refused(site: Site) -> None:
    with pytest.raises(Discard, match=r"^api\.example\.com is not allowed\. Add it to http_hosts"):
        send("https://api.example.com/")
    assert site.requests == []


def test_a_port_that_is_not_listed_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, site: Site) -> None:
    configure(monkeypatch, tmp_path, http_hosts="127.0.0.1", http_networks="127.0.0.1")
    with pytest.raises(Discard, match="is not allowed"):
        send(at(site))
    assert site.requests == []


@pytest.mark.parametrize("networks", [None, "127.0.0.2,10.0.0.0/8"])
def test_a_listed_name_that_leads_to_loopback_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, site: Site, networks: str | None
) -> None:
    configure(monkeypatch, tmp_path, http_hosts="*,localhost:" + str(site.port), http_networks=networks or "")
    with pytest.raises(
        Discard, match=r"localhost has the address \S+, which is loopback\. To allow it, .*http_networks"
    ):
        send(at(site, host="localhost"))
    assert site.requests == []


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0"])
def test_loopback_in_disguise_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, site: Site, host: str
) -> None:
    configure(monkeypatch, tmp_path, http_hosts=f"{host}:{site.port}")
    with pytest.raises(Discard, match=r"which is (loopback|unspecified)"):
        send(at(site, host=host))
    assert site.requests == []


def answers_of_dns(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Has rebinding.test resolved to these, one after the other; returns the list of the questions."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host != "rebinding.test":
            return real(host, port, *args, **options)
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def test_the_address_that_was_checked_is_the_one_connected_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, site: Site
) -> None:
    """The name leads elsewhere the second time it is asked for, where nothing listens."""
    configure(monkeypatch, tmp_path, http_hosts=f"rebinding.test:{site.port}", http_networks="127.0.0.1")
    asked = answers_of_dns(monkeypatch, ["127.0.0.1"], ["127.0.0.99"])
    assert send(at(site, host="rebinding.test"))["status"] == 200
    assert asked == ["rebinding.test"]
    assert site.requests[0].headers["host"] == f"rebinding.test:{site.port}"


def test_one_private_address_among_others_is_enough_to_refuse(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, site: Site
) -> None:
    configure(monkeypatch, tmp_path, http_hosts=f"rebinding.test:{site.port}", http_networks="127.0.0.1")
    answers_of_dns(monkeypatch, ["127.0.0.1", "169.254.169.254"])
    with pytest.raises(Discard, match=r"169\.254\.169\.254, which is link-local"):
        send(at(site, host="rebinding.test"))
    assert site.requests == []


def test_the_second_address_is_tried_when_the_first_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, site: Site
) -> None:
    configure(monkeypatch, tmp_path, http_hosts=f"rebinding.test:{site.port}", http_networks="127.0.0.0/8")
    answers_of_dns(monkeypatch, ["127.0.0.99", "127.0.0.1"])
    assert send(at(site, host="rebinding.test"))["status"] == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(site: Site, status: int) -> None:
    site.answers["/"] = answer(status, b"", Location=at(site, "/secret"))
    with pytest.raises(Discard, match=rf"answered {status} .* to {at(site, '/secret')}; redirects are not followed"):
        send(at(site))
    assert [request.path for request in site.requests] == ["/"]


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    with serving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert send(at(site))["status"] == 200
        assert proxy.requests == []


# What it refuses to send


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://me:hush@127.0.0.1/", "user name or password"),
        ("http://me@127.0.0.1/", "user name or password"),
        ("http://@127.0.0.1/", "user name or password"),
        ("ftp://127.0.0.1/", "must begin with http"),
        ("file:///etc/passwd", "must begin with http"),
        ("//127.0.0.1/", "must begin with http"),
        ("http:///x", "no usable host"),
        ("http://a.org\r\nHost: b.org/", "control character"),
        ("http://a.org/\tx", "control character"),
        ("http://a.org/a b", "a space"),
        ("http://a.org\\@b.org/", "backslash"),
        ("http://bücher.example/", "ASCII form"),
        ("http://a%2eorg/", "no usable host"),
        ("http://[::1/", "cannot be read"),
        ("http://a.org:99999/", "cannot be read"),
        ("http://a.org/" + "x" * 8000, "at most 8,000"),
        (7, "must be a text"),
    ],
)
def test_a_url_that_could_be_read_in_two_ways_is_refused(site: Site, url: Any, reason: str) -> None:
    with pytest.raises(Discard, match=reason) as caught:
        send(url)
    assert "hush" not in str(caught.value)


def test_a_url_is_taken_apart() -> None:
    assert parse("HTTPS://Example.COM./ü?q=ü%20#f") == Target("https", "example.com", 443, "/%C3%BC?q=%C3%BC%20")
    assert parse("http://[::1]:8080").authority == "[::1]:8080"
    assert parse("http://a.org:0/").port == 0


@pytest.mark.parametrize("name", ["X-A: b\r\nX-B", "", "X A", "Hö", "X:"])
def test_a_header_name_cannot_carry_another_header(site: Site, name: str) -> None:
    with pytest.raises(Discard, match="is no name of a header"):
        send(at(site), headers={name: "x"})
    assert site.requests == []


@pytest.mark.parametrize("value", ["a\r\nX-B: c", "a\nb", "a\0b", "€", 5, None])
def test_a_header_value_cannot_carry_another_header(site: Site, value: Any) -> None:
    with pytest.raises(Discard, match="must be one line of text"):
        send(at(site), headers={"X-A": value})
    assert site.requests == []


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Connection", "Proxy-Authorization"])
def test_headers_that_say_where_a_request_goes_or_ends_are_refused(site: Site, name: str) -> None:
    with pytest.raises(Discard, match="not the payload's to set"):
        send(at(site), headers={name: "x"})
    assert site.requests == []


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "get", "GET / HTTP/1.1\r\nX: y\r\n\r\nGET", None])
def test_other_methods_are_refused(site: Site, method: Any) -> None:
    with pytest.raises(Discard, match="unknown method"):
        send(at(site), method=method)
    assert site.requests == []


@pytest.mark.parametrize("timeout", [0, -1, "soon", 1e6, None])
def test_a_timeout_without_sense_is_refused(site: Site, timeout: Any) -> None:
    with pytest.raises(Discard, match="timeout"):
        send(at(site), timeout=timeout)


# Limits


def test_an_answer_over_the_limit_is_cut_off(site: Site) -> None:
    site.answers["/"] = answer(200, b"x" * (MAX_BODY * 4))
    result = send(at(site))
    assert (len(result["body"]), result["truncated"]) == (MAX_BODY, True)


def test_an_answer_without_end_is_not_waited_for(site: Site) -> None:
    site.answers["/"] = flood
    assert send(at(site))["truncated"]


def test_the_longest_answer_fits_into_a_result(site: Site) -> None:
    site.answers["/"] = answer(200, b"\x01" * MAX_BODY, **{f"X_{n}": "\x7f" * 600 for n in range(90)})
    assert encode_result(send(at(site)))


def test_a_character_at_the_limit_may_be_cut_through(site: Site) -> None:
    site.answers["/"] = answer(200, b"x" + "ü".encode() * MAX_BODY)
    result = send(at(site))
    assert (result["encoding"], result["body"][-1]) == ("text", "ü")


def test_headers_without_end_are_not_read(site: Site) -> None:
    site.answers["/"] = answer(200, b"", **{f"X_{n}": "v" * 5000 for n in range(40)})
    with pytest.raises(RequestFailedError, match="ProtocolError"):
        send(at(site))


def test_the_timeout_holds_for_the_whole_answer(site: Site) -> None:
    """Each byte comes in time, the last one never."""
    site.answers["/"] = drip
    with pytest.raises(RequestFailedError, match=r"did not answer in whole within 0\.3 s"):
        send(at(site), timeout=0.3)


def test_a_host_without_an_address_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(monkeypatch, tmp_path, http_hosts="nowhere.invalid")
    with pytest.raises(RequestFailedError, match=r"nowhere\.invalid has no address"):
        send("http://nowhere.invalid/")


def test_a_port_where_nobody_listens_is_tried_again(site: Site) -> None:
    site.close()
    with pytest.raises(RequestFailedError, match="takes no connection"):
        send(at(site))
    site._server.server_close()


# What an answer means


@pytest.mark.parametrize("status", [200, 201, 299, 304])
def test_success_completes_the_job(site: Site, status: int) -> None:
    site.answers["/"] = answer(status, b"")
    assert send(at(site))["status"] == status


@pytest.mark.parametrize("status", [400, 401, 404, 410, 422])
def test_an_error_of_the_request_is_final(site: Site, status: int) -> None:
    site.answers["/"] = answer(status, b"why")
    with pytest.raises(Discard, match=rf"GET 127.0.0.1:\d+ answered {status} [A-Z].*: why"):
        send(at(site))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 599])
def test_an_error_of_the_server_is_tried_again(site: Site, status: int) -> None:
    site.answers["/"] = answer(status, b"")
    with pytest.raises(Retry) as caught:
        send(at(site))
    assert caught.value.after is None
    site.answers["/"] = answer(status, b"", Retry_After="77")
    with pytest.raises(Retry) as caught:
        send(at(site))
    assert caught.value.after == 77


def test_retry_after_is_read_within_bounds() -> None:
    assert [retry_after(text) for text in (None, "", "soon", "-5", "1.5")] == [None] * 5
    assert (retry_after("0"), retry_after(" 30 "), retry_after("999999999")) == (1, 30, 86_400)
    assert retry_after(formatdate(time.time() - 100, usegmt=True)) == 1
    assert 3_000 < (retry_after(formatdate(time.time() + 3_600, usegmt=True)) or 0) <= 3_600


# TLS


@pytest.mark.parametrize("name", ["localhost", "elsewhere.example"])
def test_a_certificate_must_be_for_the_name_though_the_address_is_pinned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with serving(context) as site:
        configure(monkeypatch, tmp_path, http_hosts=f"localhost:{site.port}", http_networks="127.0.0.1,::1")
        url = f"https://localhost:{site.port}/"
        if name == "localhost":
            assert send(url)["status"] == 200
        else:
            with pytest.raises(RequestFailedError, match="certificate verify failed"):
                send(url)
            assert site.requests == []
