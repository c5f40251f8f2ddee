"""Reading the values of settings, as files, variables and flags give them. All raise TypeError or ValueError."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from pgtask.model.bounds import Bounds, parse_bounds
from pgtask.model.duration import parse_duration
from pgtask.model.place import Place


def text(value: object) -> str:
    """Text that is not empty, without spaces around it."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is no text")
    return value.strip()


def url(value: object) -> str:
    """A URL or connection string of PostgreSQL."""
    url = text(value)
    scheme, separator, _ = url.partition("://")
    if separator and scheme not in ("postgresql", "postgres"):
        raise ValueError(f"'{scheme}://' is not a PostgreSQL URL; write postgresql://")
    if not separator and "=" not in url:
        raise ValueError("it is no URL; write postgresql://user@host/database")
    return url


def server_url(value: object) -> str:
    """A URL of a server of pgtask, without a password: http://host:8080 or https://host/prefix."""
    url = text(value)
    scheme, separator, rest = url.partition("://")
    place = rest.partition("/")[0]
    if not separator or scheme not in ("http", "https") or not place:
        raise ValueError("it is no URL of a server; write https://host or http://127.0.0.1:8080")
    if "@" in place or "?" in rest or "#" in rest:
        raise ValueError("the URL of a server has neither user nor query; give the token by PGTASK_TOKEN")
    return url.rstrip("/")


def path(value: object) -> Path:
    """A path; `~` is the home directory."""
    return value if isinstance(value, Path) else Path(text(value)).expanduser()


def list_of(what: str, example: str, check: Callable[[str], object] = str) -> Callable[[object], tuple[str, ...]]:
    """A reader of lists, or of texts with commas, whose items `check` accepts."""

    def parse(value: object) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            raise TypeError(f"{value!r} is no list of {what}s; write {example}")
        names = [text(part) for part in parts if part != ""]
        if not names:
            raise ValueError(f"it names no {what}")
        for name in names:
            check(name)
        return tuple(dict.fromkeys(names))

    return parse


def positive(value: object) -> int:
    """A whole number from 1 on."""
    try:
        number = int(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else 0
    except ValueError:
        number = 0
    if number < 1:
        raise ValueError(f"{value!r} is no whole number from 1 on")
    return number


def positive_or_auto(most: Callable[[], int]) -> Callable[[object], int | Bounds]:
    """A reader of whole numbers from 1 on, or of `auto` or `auto:MIN-MAX`; `auto` alone goes up to `most`."""

    def parse(value: object) -> int | Bounds:
        bounds = parse_bounds(value.strip().lower(), most()) if isinstance(value, str) else None
        if bounds is not None:
            return bounds
        try:
            return positive(value)
        except ValueError as error:
            raise ValueError(f"{error}; nor is it auto or, for instance, auto:1-{most()}") from None

    return parse


def port(value: object) -> int:
    """The number of a port."""
    number = positive(value)
    if number > 65535:
        raise ValueError(f"{value!r} is no port")
    return number


def place(value: object) -> Place:
    """An address and a port, such as 0.0.0.0:9090 or [::1]:9090; a port alone is on loopback."""
    if isinstance(value, Place):
        return value
    host, separator, number = str(value).rpartition(":")
    if separator and not host:
        raise ValueError(f"{value!r} names no address before the colon")
    return Place(host.removeprefix("[").removesuffix("]") or "127.0.0.1", port(number))


def positive_number(value: object) -> float:
    """A number above 0."""
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else 0.0
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise ValueError(f"{value!r} is no number above 0")
    return number


def secret(value: object) -> str:
    """Text as it is; what is wrong with it is told without it."""
    if not isinstance(value, str):
        raise TypeError("it is no text")
    return value


def duration(value: object) -> float:
    """Seconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(f"{value!r} is no duration: give seconds or text such as '90s' or '1h30m'")
    return parse_duration(value)


def positive_duration(value: object) -> float:
    """Seconds, more than none."""
    seconds = duration(value)
    if seconds <= 0:
        raise ValueError("it must be longer than nothing")
    return seconds


def flag(value: object) -> bool:
    """Yes or no."""
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise ValueError(f"{value!r} is neither true nor false")


def one_of(*choices: str) -> Callable[[object], str]:
    """A reader of one of these words."""

    def parse(value: object) -> str:
        word = text(value).lower()
        if word not in choices:
            raise ValueError(f"{value!r} is none of {', '.join(choices)}")
        return word

    return parse


def size(value: object) -> int:
    """Bytes."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = re.fullmatch(r"(\d+)\s*(B|KB|MB|GB)?", text(value), re.IGNORECASE)
    if match is None or not int(match[1]):
        raise ValueError(f"{value!r} is no size: give bytes, or a text such as '512MB'")
    factor: int = 1000 ** ("B", "KB", "MB", "GB").index((match[2] or "B").upper())
    return int(match[1]) * factor
