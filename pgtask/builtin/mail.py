"""email: sends a message by SMTP, or writes it to the outbox where no server is set."""

from __future__ import annotations

import contextlib
import hashlib
import os
import smtplib
import socket
import ssl
import tempfile
from collections.abc import Iterable
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import localtime
from pathlib import Path
from typing import Any

from pgtask.builtin.settings import settings
from pgtask.config import Settings
from pgtask.engine.context import JobContext
from pgtask.model.verdict import Discard

_PATIENCE = 30.0
_MAX_RECIPIENTS = 100
_MAX_SUBJECT = 900
_USUAL_PORTS = {"starttls": 587, "tls": 465, "none": 25}


class DeliveryError(Exception):
    """The message was not accepted now, but may be later."""


def email(ctx: JobContext, to: str | list[str], subject: str, body: str = "") -> dict[str, Any]:
    """Sends `body`, plain text, to one address or several; says where it went and under which Message-ID.

    The Message-ID is the same in each attempt of a job, so that a message that was sent twice can be recognised. What
    the server refuses for good (5xx) is not tried again.
    """
    given = settings()
    message = compose(ctx.id, given.email_from or f"pgtask@{socket.gethostname()}", to, subject, body)
    ctx.raise_if_cancelled()
    told = {"message_id": message["Message-ID"], "to": _addresses(message)}
    if given.smtp_host is None:
        file = _write(message, given.outbox, ctx.id)
        return told | {"file": str(file), "note": "No smtp_host is set, so the message was written to a file."}
    refused = _send(message, given)
    for address, reason in refused.items():
        ctx.log(f"The server refused {address}: {reason}", "warning")
    return told | {"server": given.smtp_host, "refused": refused}


def compose(job_id: int, sender: Any, to: Any, subject: Any, body: Any) -> EmailMessage:
    """The message of a job. Raises Discard for what cannot be one."""
    recipients = to if isinstance(to, list) else [to]
    for name, value in (("from", sender), ("subject", subject), *(("to", one) for one in recipients)):
        if not isinstance(value, str):
            raise Discard(f"{name} must be text, not {type(value).__name__}")
        # Not only line ends: whoever reads the message may take others for one.
        if any(not char.isprintable() for char in value):
            raise Discard(f"{name} holds a line break or another control character")
    if not isinstance(body, str):
        raise Discard(f"body must be text, not {type(body).__name__}")
    if len(subject) > _MAX_SUBJECT:
        raise Discard(f"subject has {len(subject)} characters; the limit is {_MAX_SUBJECT}")
    author, *others = _parse("from", [sender])
    if others:
        raise Discard("from must be one address")
    message = EmailMessage()
    message["From"] = author
    message["To"] = _parse("to", recipients)
    message["Subject"] = subject
    message["Date"] = localtime()
    # A job's id is the database's own; with the content it is next to unique among all.
    content = hashlib.sha256("\0".join([*_addresses(message), subject, body]).encode("utf-8", "replace")).hexdigest()
    message["Message-ID"] = f"<pgtask-{job_id}-{content[:16]}@{author.domain}>"
    try:
        message.set_content(body)
        message.as_bytes()
    except (ValueError, UnicodeError) as error:
        raise Discard(f"the message cannot be written: {error}") from None
    return message


def _parse(name: str, texts: Iterable[str]) -> list[Address]:
    found: list[Address] = []
    for text in texts:
        addresses = _read(text)
        if not addresses or not all(address.username and address.domain for address in addresses):
            raise Discard(f"{name}: {text!r} is no address; write ann@example.com or Ann <ann@example.com>")
        found += addresses
    if not 0 < len(found) <= _MAX_RECIPIENTS:
        raise Discard(f"{name}: between 1 and {_MAX_RECIPIENTS} addresses, not {len(found)}")
    return found


def _read(text: str) -> list[Address]:
    probe = EmailMessage()
    try:
        probe["To"] = text
        header: Any = probe["To"]
    except (ValueError, LookupError, HeaderParseError):
        # The parser of the standard library stumbles over some of what it does not understand.
        return []
    named = [group for group in header.groups if group.display_name is not None]
    return [] if header.defects or named else list(header.addresses)


def _addresses(message: EmailMessage) -> list[str]:
    return [address.addr_spec for address in message["To"].addresses]


def _write(message: EmailMessage, outbox: Path, job_id: int) -> Path:
    """Puts the message in a file that only this user may read, whole or not at all; a retry replaces it."""
    outbox.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=outbox, prefix=".", suffix=".eml")
    file = outbox / f"{job_id}-{message['Message-ID'].split('-')[-1].partition('@')[0]}.eml"
    try:
        with os.fdopen(descriptor, "wb") as output:
            output.write(message.as_bytes())
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return file


def _send(message: EmailMessage, given: Settings) -> dict[str, str]:
    """Hands the message over; returns the recipients that were refused, when others were not.

    Raises Discard when all are, or the message itself is, for good; DeliveryError when it may go later.
    """
    server = _connect(given)
    try:
        refused = server.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        final = all(code >= 500 for code, _ in error.recipients.values())
        reasons = "; ".join(f"{address}: {_reason(*answer)}" for address, answer in error.recipients.items())
        raise (Discard if final else DeliveryError)(f"{given.smtp_host} refused all recipients: {reasons}") from None
    except smtplib.SMTPNotSupportedError as error:
        raise Discard(f"{given.smtp_host} cannot take this message: {error}") from None
    except smtplib.SMTPResponseException as error:
        final = error.smtp_code >= 500
        answer = _reason(error.smtp_code, error.smtp_error)
        raise (Discard if final else DeliveryError)(f"{given.smtp_host} refused the message: {answer}") from None
    except (smtplib.SMTPException, OSError) as error:
        raise DeliveryError(f"{given.smtp_host} broke off: {error}") from None
    finally:
        # Whatever it answers to the farewell, what became of the message is settled.
        with contextlib.suppress(smtplib.SMTPException, OSError):
            server.quit()
        server.close()
    return {address: _reason(*answer) for address, answer in refused.items()}


def _connect(given: Settings) -> smtplib.SMTP:
    """A connection that is secured and logged in as the settings say.

    What goes wrong here is the server's or the operator's to mend, not the message's: it may be tried again.
    """
    assert given.smtp_host is not None
    port = given.smtp_port or _USUAL_PORTS[given.smtp_tls]
    if given.smtp_user is not None and given.smtp_tls == "none":
        raise DeliveryError("smtp_tls = none would send the password in the clear: set it to starttls or tls")
    try:
        server = _open(given, given.smtp_host, port)
    except (smtplib.SMTPException, OSError) as error:
        raise DeliveryError(f"{given.smtp_host}, port {port}: {error}") from None
    try:
        if given.smtp_tls == "starttls":
            server.starttls(context=ssl.create_default_context())
        if given.smtp_user is not None:
            server.login(given.smtp_user, given.smtp_password or "")
    except BaseException as error:
        server.close()
        if isinstance(error, (smtplib.SMTPException, OSError)):
            raise DeliveryError(f"{given.smtp_host}, port {port}: {error}") from None
        raise
    return server


def _open(given: Settings, host: str, port: int) -> smtplib.SMTP:
    if given.smtp_tls == "tls":
        return smtplib.SMTP_SSL(host, port, timeout=_PATIENCE, context=ssl.create_default_context())
    return smtplib.SMTP(host, port, timeout=_PATIENCE)


def _reason(code: int, text: bytes | str) -> str:
    return f"{code} {text.decode('utf-8', 'replace') if isinstance(text, bytes) else text}"
