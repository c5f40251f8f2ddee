"""What options may be beyond click's own types: functions from text, for `type=`.

Their names are what the help shows; what they refuse becomes a usage error in words.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import click

from pgtask.model import duration as durations
from pgtask.model.rate import Rate
from pgtask.model.status import MAX_PRIORITY, MIN_PRIORITY, JobStatus, parse_priority

Value = TypeVar("Value")

_SHARE = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*%", re.ASCII)


def duration(text: str) -> float:
    """A length of time, in seconds."""
    try:
        return durations.parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def time_limit(text: str) -> float:
    """A length of time longer than none, in seconds."""
    seconds = duration(text)
    if seconds <= 0:
        raise click.BadParameter("It must be longer than nothing.")
    return seconds


def time(text: str) -> datetime:
    """An instant; without a zone it is local."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time: write 2026-12-24T18:00, and Z or +01:00 unless it is local."
        ) from None


def since(text: str) -> datetime:
    """An instant, or how long ago it was."""
    try:
        return datetime.now(UTC) - timedelta(seconds=durations.parse_duration(text))
    except (ValueError, OverflowError):
        pass
    try:
        return time(text)
    except click.BadParameter:
        raise click.BadParameter(
            f"{text!r} is no time: write how long ago, such as 24h, or 2026-12-24T18:00."
        ) from None


def position(text: str) -> tuple[datetime, int]:
    """A place in a list by time: an instant and, behind a slash, an id."""
    instant, slash, id = text.rpartition("/")
    return (time(instant), job_id(id)) if slash else (time(text), 0)


def priority(text: str) -> int:
    """A job's priority by number or name."""
    try:
        return parse_priority(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def positive(text: str) -> int:
    """A whole number from 1 on."""
    number = _integer(text)
    if number is None or number < 1:
        raise click.BadParameter(f"{text!r} is no whole number from 1 on.")
    return number


def job_id(text: str) -> int:
    """The id of a job."""
    number = _integer(text)
    if number is None or not 1 <= number < 2**63:
        raise click.BadParameter(f"{text!r} is no job's id: ids are numbers.")
    return number


def worker_id(text: str) -> int:
    """The id of a worker."""
    number = _integer(text)
    if number is None or not 1 <= number < 2**31:
        raise click.BadParameter(f"{text!r} is no worker's id: ids are numbers, names are not unique.")
    return number


def retries(text: str) -> int:
    """A number of retries."""
    number = _integer(text)
    if number is None or not -1 <= number < 2**31:
        raise click.BadParameter(f"{text!r} is no number of retries: 0 is none, -1 without limit.")
    return number


def queue_priority(text: str) -> int:
    """A queue's priority."""
    number = _integer(text)
    if number is None or not MIN_PRIORITY <= number <= MAX_PRIORITY:
        raise click.BadParameter(f"{text!r} is no priority: it is a number from {MIN_PRIORITY} to {MAX_PRIORITY}.")
    return number


def concurrency_key(text: str) -> str:
    """A key that jobs share."""
    if not 1 <= len(text.encode()) <= 512:
        raise click.BadParameter("A concurrency key has 1 to 512 bytes.")
    return text


def limit(text: str) -> int:
    """A number from 1 on that PostgreSQL can store."""
    return _bounded(text, 1)


def limit_or_zero(text: str) -> int:
    """A number from 0 on that PostgreSQL can store."""
    return _bounded(text, 0)


def rate(text: str) -> Rate:
    """A rate such as 100/min."""
    try:
        return Rate.parse(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def share(text: str) -> float:
    """Per cent, as a share."""
    number = _SHARE.fullmatch(text.strip())
    if number is None or float(number[1]) > 100:
        raise click.BadParameter(f"{text!r} is no share: write 20%, from 0% to 100%.")
    return float(number[1]) / 100


def status(text: str) -> list[JobStatus]:
    """Statuses separated by commas."""
    return [_status(word.strip().lower()) for word in text.split(",") if word.strip()]


def flatten(lists: Iterable[Iterable[JobStatus]]) -> frozenset[JobStatus]:
    """The statuses of an option that may be repeated."""
    return frozenset(status for statuses in lists for status in statuses)


def or_inherit(parse: Callable[[str], Value]) -> Callable[[str], Value | str]:
    """The type `parse`, which also takes the word INHERIT."""
    return _or(INHERIT, parse)


def or_none(parse: Callable[[str], Value]) -> Callable[[str], Value | str]:
    """The type `parse`, which also takes the word NONE."""
    return _or(NONE, parse)


def _or(word: str, parse: Callable[[str], Value]) -> Callable[[str], Value | str]:
    def parse_or_word(text: str) -> Value | str:
        return word if text == word else parse(text)

    parse_or_word.__name__ = parse.__name__
    return parse_or_word


INHERIT = "inherit"
"""What a setting of a queue is set to, to have none of its own."""

NONE = "none"
"""What a limit is set to, to take it back."""


def _bounded(text: str, least: int) -> int:
    number = _integer(text)
    if number is None or not least <= number < 2**31:
        raise click.BadParameter(f"{text!r} is no whole number from {least} to {2**31 - 1}.")
    return number


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _status(word: str) -> JobStatus:
    try:
        return JobStatus(word)
    except ValueError:
        close = difflib.get_close_matches(word, list(JobStatus), 1)
        hint = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(JobStatus)}."
        raise click.BadParameter(f"There is no status '{word}'. {hint}") from None
