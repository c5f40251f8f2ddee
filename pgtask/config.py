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

from pgtask.model.duration import parse_duration
from pgtask.model.errors import ConfigurationError

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("auto", "text", "json")


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
    processes: int = field(default_factory=available_cores)
    concurrency: int = 10
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
    listen: bool = True
    name: str | None = None
    log_level: str = "info"
    log_format: str = "auto"
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
    values: dict[str, Any] = {"home": place / ".pgtask"}
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


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is no text")
    return value.strip()


def _url(value: object) -> str:
    url = _text(value)
    scheme, separator, _ = url.partition("://")
    if separator and scheme not in ("postgresql", "postgres"):
        raise ValueError(f"'{scheme}://' is not a PostgreSQL URL; write postgresql://")
    if not separator and "=" not in url:
        raise ValueError("it is no URL; write postgresql://user@host/database")
    return url


def _path(value: object) -> Path:
    return value if isinstance(value, Path) else Path(_text(value)).expanduser()


def _queues(value: object) -> tuple[str, ...] | None:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)):
        raise TypeError(f"{value!r} is no list of queues; write mail,default")
    names = [_text(part) for part in parts if part != ""]
    if not names:
        raise ValueError("it names no queue")
    return tuple(dict.fromkeys(names))


def _positive(value: object) -> int:
    try:
        number = int(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else 0
    except ValueError:
        number = 0
    if number < 1:
        raise ValueError(f"{value!r} is no whole number from 1 on")
    return number


def _duration(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(f"{value!r} is no duration: give seconds or text such as '90s' or '1h30m'")
    return parse_duration(value)


def _positive_duration(value: object) -> float:
    seconds = _duration(value)
    if seconds <= 0:
        raise ValueError("it must be longer than nothing")
    return seconds


def _flag(value: object) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise ValueError(f"{value!r} is neither true nor false")


def _one_of(*choices: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        word = _text(value).lower()
        if word not in choices:
            raise ValueError(f"{value!r} is none of {', '.join(choices)}")
        return word

    return parse


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = re.fullmatch(r"(\d+)\s*(B|KB|MB|GB)?", _text(value), re.IGNORECASE)
    if match is None or not int(match[1]):
        raise ValueError(f"{value!r} is no size: give bytes, or a text such as '512MB'")
    factor: int = 1000 ** ("B", "KB", "MB", "GB").index((match[2] or "B").upper())
    return int(match[1]) * factor


_PARSERS: dict[str, Callable[[object], Any]] = {
    "database_url": _url,
    "app": _text,
    "home": _path,
    "queues": _queues,
    "processes": _positive,
    "concurrency": _positive,
    "isolation": _one_of("thread", "process"),
    "lease": _positive_duration,
    "poll": _positive_duration,
    "grace": _duration,
    "kill_after": _duration,
    "max_jobs": _positive,
    "max_rss": _size,
    "listen": _flag,
    "name": _text,
    "log_level": _one_of(*LOG_LEVELS),
    "log_format": _one_of(*LOG_FORMATS),
}
