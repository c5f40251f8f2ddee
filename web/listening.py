"""Where the server listens: reading the address, and opening it."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pgtask.model.errors import ConfigurationError

_PLACE = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^:\[\]/\s]*)):(?P<port>\d{1,5})", re.ASCII)
_BACKLOG = 1024
_REASONS = {
    errno.EADDRINUSE: "it is taken. Stop what listens there, or choose another with --bind",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "that is not allowed",
}


@dataclass(frozen=True, slots=True)
class Place:
    """An address to listen at: of TCP, or a socket in the file system."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Place:
        """The address in a text: host:port, [IPv6]:port, unix:/path. Raises ConfigurationError."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not path.startswith("/"):
                raise _wrong(text)
            return cls(path=path)
        found = _PLACE.fullmatch(text)
        if found is None or int(found["port"]) > 65535:
            raise _wrong(text)
        return cls(found["six"] or found["host"] or "0.0.0.0", int(found["port"]))  # noqa: S104 - as ":8080" says

    def listen(self) -> socket.socket:
        """A socket that listens here. Raises ConfigurationError."""
        try:
            return self._at_path() if self.path else self._at_port()
        except OSError as error:
            reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
            raise ConfigurationError(f"The server cannot listen at {self}: {reason}.") from error

    def _at_port(self) -> socket.socket:
        family, *_, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family, backlog=_BACKLOG)

    def _at_path(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        with suppress(OSError):
            # What a server that was killed has left behind; one that still answers is left alone.
            if stat.S_ISSOCK(Path(self.path).stat().st_mode) and made.connect_ex(self.path) == errno.ECONNREFUSED:
                Path(self.path).unlink()
        made.close()
        made = socket.socket(socket.AF_UNIX)
        try:
            made.bind(self.path)
            made.listen(_BACKLOG)
        except OSError:
            made.close()
            raise
        return made

    def __str__(self) -> str:
        """As it is given."""
        return f"unix:{self.path}" if self.path else f"{_in_url(self.host)}:{self.port}"


def only_here(listener: socket.socket) -> bool:
    """Whether nobody but this machine reaches a socket."""
    if listener.family == socket.AF_UNIX:
        return True
    address = ipaddress.ip_address(str(listener.getsockname()[0]).partition("%")[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def url_of(listener: socket.socket) -> str:
    """How a client on this machine reaches a socket."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{os.fsdecode(listener.getsockname())}"
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - told, not listened to
        host = "localhost"
    return f"http://{_in_url(host)}:{port}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _wrong(text: str) -> ConfigurationError:
    return ConfigurationError(f"'{text}' is no address to listen at: write 127.0.0.1:8080, [::1]:8080 or unix:/path.")
