"""What a declaration of a task and the options of a job are held to."""

from __future__ import annotations

from datetime import datetime, timedelta

from pgtask.model.duration import parse_duration

Duration = float | str | timedelta


def checked_retries(value: int) -> int:
    """Raises ValueError for a number of retries that means nothing."""
    if type(value) is not int or value < -1:
        raise ValueError(f"max_retries {value!r} means nothing: give 0 or more, or -1 for no limit")
    return value


def checked_timeout(value: Duration) -> float:
    """Raises ValueError for a timeout that is no positive duration."""
    seconds = parse_duration(value)
    if seconds <= 0:
        raise ValueError("a timeout must be longer than 0 s")
    return seconds


def checked_isolation(isolation: str | None, memory_limit: int | None) -> str | None:
    """Raises ValueError for an isolation that does not exist, and for a limit of memory that others would share."""
    if isolation not in (None, "process"):
        raise ValueError(f'isolation {isolation!r} does not exist: give "process", or leave it out')
    if memory_limit is not None and (isolation is None or memory_limit <= 0):
        raise ValueError('a memory_limit is a number of bytes and needs isolation="process"')
    return isolation


def checked_key(key: str | None) -> str | None:
    """Raises ValueError for a concurrency key that cannot be stored."""
    if key is not None and not 1 <= len(key.encode()) <= 512:
        raise ValueError("a concurrency_key has 1 to 512 bytes")
    return key


def aware(name: str, instant: datetime | None) -> datetime | None:
    """Raises ValueError for an instant without a time zone."""
    if instant is not None and instant.utcoffset() is None:
        raise ValueError(f"{name} {instant.isoformat()} has no time zone: give an aware datetime")
    return instant
