"""Settings, and where each one was given.

Later sources win: defaults, `pgtask.toml` or `[tool.pgtask]` in `pyproject.toml`, `.env`, the
environment (`PGTASK_*`), flags. Files are looked for in the working directory. What concerns all
workers of a database, such as retention, is kept in the database instead, so that two of them
cannot disagree.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgtask.model import setting
from pgtask.model.bounds import Bounds
from pgtask.model.destination import HostRule, parse_network
from pgtask.model.errors import ConfigurationError
from pgtask.model.place import Place

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("auto", "text", "json")
SMTP_TLS = ("starttls", "tls", "none")
SECRETS = frozenset({"smtp_password", "token"})
"""Settings that are never shown; in database_url only the password is hidden."""
AUTO_SLOTS = 100
"""The most slots that concurrency = auto gives an executor."""


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How pgtask runs here. Durations are seconds."""

    database_url: str | None = None
    """Any libpq URL or connection string; None means the embedded server."""
    app: str | None = None
    """The application, as `module:attribute`; None means the built-in tasks."""
    home: Path = Path(".pgtask")
    """Directory of the embedded server."""
    queues: tuple[str, ...] | None = None
    """Queues a worker serves; None means all."""
    processes: int | Bounds = field(default_factory=available_cores)
    """Executors; bounds mean as many as the backlog asks for."""
    concurrency: int | Bounds = 10
    """Slots in each; bounds mean as many as its jobs put to use."""
    isolation: str = "thread"
    """thread: an executor runs many jobs side by side; process: each runs one at a time."""
    lease: float = 30.0
    poll: float = 1.0
    grace: float = 30.0
    kill_after: float = 5.0
    """How long a job that was asked to stop, or has overrun its timeout, gets before its process is ended."""
    max_jobs: int | None = None
    """An executor is replaced after so many jobs; None means never."""
    max_rss: int | None = None
    """An executor is replaced when it has more bytes of memory; None means never."""
    strict: bool = False
    """Queues of equal priority are served in the order of `queues`, not by their weights."""
    listen: bool = True
    pooled: bool = False
    """Whether the database is reached through a transaction pooler such as PgBouncer."""
    name: str | None = None
    log_level: str = "info"
    log_format: str = "auto"
    http_hosts: tuple[str, ...] | None = None
    """Hosts that the task http may reach; None turns it off."""
    http_networks: tuple[str, ...] | None = None
    """Addresses and networks that it may reach though they are not public."""
    smtp_host: str | None = None
    """Where the task email delivers; None means files in `outbox`."""
    smtp_port: int | None = None
    """None means the usual one: 587 for starttls, 465 for tls, 25 for none."""
    smtp_tls: str = "starttls"
    smtp_user: str | None = None
    smtp_password: str | None = field(default=None, repr=False)
    email_from: str | None = None
    """Sender of the task email; None means pgtask at this host."""
    outbox: Path = Path(".pgtask/outbox")
    commands_file: Path | None = None
    """File of the commands that the task command may run; None turns it off."""
    bind: str = "127.0.0.1:8080"
    """Where the server listens: host:port, or unix:/path."""
    server_processes: int = 2
    server_threads: int = 16
    """Requests that each process of the server works on side by side."""
    server_connections: int = 8
    """Connections to the database that each process of the server opens at most."""
    max_body: int = 8 * 2**20
    """Bytes of a request's body at most."""
    cors_origins: tuple[str, ...] | None = None
    """Origins whose pages may use the API; None means none."""
    request_rate: float = 1000.0
    """Requests a second that a token without a rate of its own may make."""
    failure_rate: float = 50.0
    """Requests without a valid token that one address may make in a second."""
    trusted_proxies: tuple[str, ...] | None = None
    """Addresses and networks of proxies whose X-Forwarded headers are believed; None means none."""
    open_metrics: bool = False
    """Whether /metrics is for everyone, not only for holders of a token."""
    metrics_port: Place | None = None
    """Address and port where a worker shows its own metrics; None means nowhere."""
    url: str | None = None
    """A server of pgtask that commands use instead of a database."""
    token: str | None = field(default=None, repr=False)
    """What that server knows the caller by."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each setting that is not a default was given, in words."""

    def origin(self, name: str) -> str:
        """Where the setting was given: "default", a file's name, a variable's or a flag's."""
        return self.origins.get(name, "default")


def load_settings(overrides: Mapping[str, object] | None = None, directory: Path | None = None) -> Settings:
    """The settings in force; `overrides` are flags by the name of the setting, None for not given.

    Raises ConfigurationError for an unknown key in a file and for a value that does not fit.
    """
    place = directory or Path.cwd()
    values: dict[str, Any] = {"home": place / ".pgtask", "outbox": place / ".pgtask" / "outbox"}
    origins: dict[str, str] = {}
    for origin, source in (
        _read_file(place),
        (".env", _from_variables(_read_dotenv(place / ".env"))),
        ("environment", _from_variables(os.environ)),
        ("flag", {name: value for name, value in (overrides or {}).items() if value is not None}),
    ):
        for name, value in source.items():
            where = _describe(origin, name)
            values[name] = _parse(name, value, where, place)
            origins[name] = where
    return Settings(**values, origins=origins)


def mask_secrets(text: str) -> str:
    """A database URL or connection string with its passwords replaced by ***."""
    masked = re.sub(r"(://[^:@/]*:).*(@)", r"\1***\2", text)
    return re.sub(r"(?i)(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^&\s]+)", r"\1***", masked)


def _read_file(directory: Path) -> tuple[str, dict[str, Any]]:
    own, project = directory / "pgtask.toml", directory / "pyproject.toml"
    if own.is_file():
        name, table = own.name, _read_toml(own)
    elif project.is_file():
        tool = _read_toml(project).get("tool", {})
        name, table = "pyproject.toml", tool.get("pgtask", {}) if isinstance(tool, dict) else {}
    else:
        return "", {}
    for key in table:
        if key not in _PARSERS:
            import difflib

            close = difflib.get_close_matches(key, _PARSERS, 1)
            hint = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(_PARSERS)}."
            raise ConfigurationError(f"Unknown setting '{key}' in {name}. {hint}")
    return name, table


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path.name} cannot be read: {error}") from error


def _read_dotenv(path: Path) -> dict[str, str | None]:
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    try:
        return dotenv_values(path)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f".env cannot be read: {error}") from error


def _from_variables(variables: Mapping[str, str | None]) -> dict[str, str]:
    # An empty variable counts as not given: compose files pass on what is unset that way.
    found = ((name, variables.get(_variable(name))) for name in _PARSERS)
    return {name: value for name, value in found if value}


def _variable(name: str) -> str:
    return f"PGTASK_{name.upper()}"


def _describe(origin: str, name: str) -> str:
    match origin:
        case "environment":
            return _variable(name)
        case ".env":
            return f"{_variable(name)} in .env"
        case "flag":
            return f"--{name.replace('_', '-')}"
    return origin


def _parse(name: str, value: object, where: str, directory: Path) -> Any:
    try:
        parsed = _PARSERS[name](value)
    except (TypeError, ValueError) as error:
        subject = where if where.startswith(("PGTASK_", "--")) else f"'{name}' in {where}"
        raise ConfigurationError(f"{subject} is wrong: {error}.") from None
    return directory / parsed if isinstance(parsed, Path) else parsed


_PARSERS: dict[str, Callable[[object], Any]] = {
    "database_url": setting.url,
    "app": setting.text,
    "home": setting.path,
    "queues": setting.list_of("queue", "mail,default"),
    "processes": setting.positive_or_auto(available_cores),
    "concurrency": setting.positive_or_auto(lambda: AUTO_SLOTS),
    "isolation": setting.one_of("thread", "process"),
    "lease": setting.positive_duration,
    "poll": setting.positive_duration,
    "grace": setting.duration,
    "kill_after": setting.duration,
    "max_jobs": setting.positive,
    "max_rss": setting.size,
    "strict": setting.flag,
    "listen": setting.flag,
    "pooled": setting.flag,
    "name": setting.text,
    "log_level": setting.one_of(*LOG_LEVELS),
    "log_format": setting.one_of(*LOG_FORMATS),
    "http_hosts": setting.list_of("host", "api.example.com,*.example.org", HostRule.parse),
    "http_networks": setting.list_of("network", "127.0.0.1,10.0.0.0/8", parse_network),
    "smtp_host": setting.text,
    "smtp_port": setting.port,
    "smtp_tls": setting.one_of(*SMTP_TLS),
    "smtp_user": setting.text,
    "smtp_password": setting.secret,
    "email_from": setting.text,
    "outbox": setting.path,
    "commands_file": setting.path,
    "bind": setting.text,
    "server_processes": setting.positive,
    "server_threads": setting.positive,
    "server_connections": setting.positive,
    "max_body": setting.size,
    "cors_origins": setting.list_of("origin", "https://ops.example.com"),
    "request_rate": setting.positive_number,
    "failure_rate": setting.positive_number,
    "trusted_proxies": setting.list_of("network", "127.0.0.1,10.0.0.0/8", parse_network),
    "open_metrics": setting.flag,
    "metrics_port": setting.place,
    "url": setting.server_url,
    "token": setting.secret,
}
