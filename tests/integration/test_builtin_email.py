"""The task email: into the outbox, and to a real SMTP server on loopback."""

from __future__ import annotations

import email
import socket
import ssl
import stat
import threading
from collections.abc import Callable, Iterator
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from pgtask.builtin import mail
from pgtask.builtin.mail import DeliveryError, compose
from pgtask.model.verdict import Discard, JobCancelled
from tests.handlers import Context, configure

FROM = "robot@example.com"
Start = Callable[..., "Post"]


class Post:
    """What the server has received, and how it is to answer to MAIL, RCPT, DATA and QUIT."""

    def __init__(self) -> None:
        self.received: list[Envelope] = []
        self.recipients: dict[str, str] = {}
        self.data = "250 OK"
        self.quit = "221 Bye"
        self.port = 0

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's names and parameters
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        reply = self.recipients.get(address, "250 OK")
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.received.append(envelope)
        return self.data

    async def handle_QUIT(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802
        return self.quit

    def message(self) -> EmailMessage:
        """The one message received."""
        (envelope,) = self.received
        assert isinstance(envelope.content, bytes)
        found = email.message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(found, EmailMessage)
        return found


def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, post: Post, **values: object) -> None:
    configure(
        monkeypatch,
        tmp_path,
        **{"smtp_host": "127.0.0.1", "smtp_port": post.port, "smtp_tls": "none", "email_from": FROM, **values},
    )


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Start]:
    """Starts a server and sets the task to use it."""
    running: list[Controller] = []

    def begin(values: dict[str, object] | None = None, **options: Any) -> Post:
        post = Post()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            post.port = probe.getsockname()[1]
        controller = Controller(post, hostname="127.0.0.1", port=post.port, **options)
        controller.start()
        running.append(controller)
        settings(monkeypatch, tmp_path, post, **(values or {}))
        return post

    yield begin
    for controller in running:
        controller.stop()


@pytest.fixture
def post(start: Start) -> Post:
    """A server without TLS."""
    return start()


def send(to: Any = "ann@example.com", subject: Any = "hi", body: Any = "text", id: int = 42) -> dict[str, Any]:
    return mail.email(Context(id), to, subject, body)


# What is sent


def test_a_message_arrives_whole(post: Post) -> None:
    result = send("Änn Ö <ann@example.com>, bob@example.com", "Grüße ✓ " + "lang " * 40, "Zeile\n.\nünd\n")
    message = post.message()
    assert message["Subject"] == ("Grüße ✓ " + "lang " * 40)
    assert [address.addr_spec for address in message["To"].addresses] == ["ann@example.com", "bob@example.com"]
    assert message["To"].addresses[0].display_name == "Änn Ö"
    assert message.get_content().replace("\r\n", "\n") == "Zeile\n.\nünd\n"
    assert (message["From"], message["Message-ID"]) == (FROM, result["message_id"])
    assert post.received[0].rcpt_tos == ["ann@example.com", "bob@example.com"]
    assert post.received[0].mail_from == FROM
    assert result["server"] == "127.0.0.1"
    assert result["refused"] == {}


def test_addresses_may_come_as_a_list(post: Post) -> None:
    send(["ann@example.com", "Bob <bob@example.com>"])
    assert post.received[0].rcpt_tos == ["ann@example.com", "bob@example.com"]


def test_an_attempt_that_is_repeated_sends_the_same_message_id(post: Post) -> None:
    first, again = send(), send()
    assert first["message_id"] == again["message_id"]
    others = {send(id=43)["message_id"], send(subject="ho")["message_id"], send("bob@example.com")["message_id"]}
    assert len(others | {first["message_id"]}) == 4


def test_a_job_that_was_cancelled_is_not_sent(post: Post) -> None:
    context = Context()
    context._attempt.cancelled = True
    with pytest.raises(JobCancelled):
        mail.email(context, "ann@example.com", "hi")
    assert post.received == []


# The outbox


def test_without_a_server_it_is_written_to_the_outbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(monkeypatch, tmp_path)
    result = send(subject="grüß")
    file = Path(result["file"])
    assert file.parent == tmp_path / ".pgtask" / "outbox"
    assert "No smtp_host is set" in result["note"]
    assert email.message_from_bytes(file.read_bytes(), policy=policy.default)["Subject"] == "grüß"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert send(subject="grüß")["file"] == str(file)
    assert list(file.parent.iterdir()) == [file]


def test_the_outbox_can_be_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(monkeypatch, tmp_path, outbox=tmp_path / "post")
    assert Path(send()["file"]).parent == tmp_path / "post"


# What is refused before it is sent


@pytest.mark.parametrize(
    "text", ["a@b.c\nBcc: x@y.z", "a@b.c\r\nBcc: x@y.z", "a@b.c\0", "a@b.c\x0b", "a@b.c\u2028Bcc: x@y.z", "a@b.c\x85"]
)
def test_a_header_cannot_carry_another(post: Post, text: str) -> None:
    for arguments in ({"to": text}, {"to": ["ok@b.c", text]}, {"subject": text}):
        with pytest.raises(Discard, match="holds a line break or another control character"):
            send(**arguments)
    with pytest.raises(Discard, match="from holds a line break"):
        compose(1, text, "a@b.c", "hi", "")
    assert post.received == []


@pytest.mark.parametrize(
    "to",
    ["", "ann", "ann@", "@example.com", "a@b.c d@e.f", '"@b.c', "all: a@b.c, d@e.f;", "<a@b.c", [], ["a@b.c", ""]],
)
def test_what_is_no_address_is_refused(post: Post, to: Any) -> None:
    with pytest.raises(Discard, match="to: "):
        send(to)
    assert post.received == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"to": 5}, "to must be text, not int"),
        ({"to": [None]}, "to must be text, not NoneType"),
        ({"subject": None}, "subject must be text"),
        ({"body": {}}, "body must be text, not dict"),
        ({"subject": "x" * 901}, "the limit is 900"),
        ({"to": ["a@b.c"] * 101}, "between 1 and 100 addresses"),
        ({"body": "\ud800"}, "cannot be written"),
    ],
)
def test_what_makes_no_message_is_refused(post: Post, arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(Discard, match=reason):
        send(**arguments)
    assert post.received == []


# What the server answers


def test_a_message_that_is_refused_for_good_is_not_tried_again(post: Post) -> None:
    post.data = "554 no thanks"
    with pytest.raises(Discard, match=r"refused the message: 554 no thanks"):
        send()


def test_a_message_that_is_refused_for_now_is(post: Post) -> None:
    post.data = "451 later"
    with pytest.raises(DeliveryError, match="451 later"):
        send()


def test_recipients_that_are_all_refused_for_good_end_the_job(post: Post) -> None:
    post.recipients = {"ann@example.com": "550 unknown", "bob@example.com": "553 unknown"}
    with pytest.raises(Discard, match=r"ann@example\.com: 550 unknown"):
        send("ann@example.com, bob@example.com")


def test_a_recipient_that_is_refused_for_now_is_tried_again(post: Post) -> None:
    post.recipients = {"ann@example.com": "550 unknown", "bob@example.com": "450 greylisted"}
    with pytest.raises(DeliveryError, match=r"bob@example\.com: 450 greylisted"):
        send("ann@example.com, bob@example.com")


def test_a_recipient_refused_beside_others_is_told(post: Post) -> None:
    """Not by a failure: those who have the message would get it again."""
    post.recipients = {"bob@example.com": "450 greylisted"}
    context = Context()
    result = mail.email(context, "ann@example.com, bob@example.com", "hi")
    assert result["refused"] == {"bob@example.com": "450 greylisted"}
    assert context.lines == [("warning", "The server refused bob@example.com: 450 greylisted")]
    assert post.received[0].rcpt_tos == ["ann@example.com"]


def test_an_accepted_message_stays_sent_whatever_is_said_in_farewell(post: Post) -> None:
    post.quit = "554 go away"
    assert send()["refused"] == {}
    assert len(post.received) == 1


def test_a_server_that_is_away_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, post: Post) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        settings(monkeypatch, tmp_path, post, smtp_port=taken.getsockname()[1])
        with pytest.raises(DeliveryError, match=r"127\.0\.0\.1, port \d+: .*refused"):
            send()


def test_a_server_that_breaks_off_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, post: Post) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.sendall(b"220 hello\r\n")
            connection.recv(1000)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        settings(monkeypatch, tmp_path, post, smtp_port=listener.getsockname()[1])
        with pytest.raises(DeliveryError):
            send()
        thread.join()


# TLS and login


@pytest.fixture
def tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ssl.SSLContext:
    """A server's context, from an authority that this process trusts."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return context


def check_login(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    assert isinstance(data, LoginPassword)
    return AuthResult(success=(data.login, data.password) == (b"me", b"hush"), handled=False)


LOGIN = {"smtp_tls": "starttls", "smtp_user": "me", "smtp_password": "hush"}


def test_it_logs_in_over_tls(start: Start, tls: ssl.SSLContext) -> None:
    post = start(LOGIN, tls_context=tls, require_starttls=True, authenticator=check_login, auth_required=True)
    send()
    assert len(post.received) == 1


def test_a_login_that_is_refused_is_tried_again_and_does_not_show_the_password(
    start: Start, tls: ssl.SSLContext
) -> None:
    post = start(
        LOGIN | {"smtp_password": "wrongword"}, tls_context=tls, require_starttls=True, authenticator=check_login
    )
    with pytest.raises(DeliveryError, match="535") as caught:
        send()
    assert "wrongword" not in str(caught.value)
    assert post.received == []


def test_tls_from_the_first_byte(start: Start, tls: ssl.SSLContext) -> None:
    post = start({"smtp_tls": "tls"}, ssl_context=tls)
    send()
    assert len(post.received) == 1


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_a_certificate_that_cannot_be_trusted_stops_it(
    monkeypatch: pytest.MonkeyPatch, start: Start, tls: ssl.SSLContext, tmp_path: Path, wrong: str
) -> None:
    other = trustme.CA()
    if wrong == "authority":
        other.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    else:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        other.issue_cert("elsewhere.example").configure_cert(tls)
        other.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    post = start({"smtp_tls": "starttls"}, tls_context=tls)
    with pytest.raises(DeliveryError, match="certificate verify failed"):
        send()
    assert post.received == []


def test_it_never_goes_on_without_tls_when_that_is_wanted(start: Start) -> None:
    post = start({"smtp_tls": "starttls"})
    with pytest.raises(DeliveryError, match="STARTTLS"):
        send()
    assert post.received == []


def test_a_password_is_not_sent_in_the_clear(start: Start) -> None:
    post = start(LOGIN | {"smtp_tls": "none"}, authenticator=check_login, auth_require_tls=False)
    with pytest.raises(DeliveryError, match="smtp_tls = none would send the password in the clear"):
        send()
    assert post.received == []
