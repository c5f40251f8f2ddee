"""Recurrences in words."""

from __future__ import annotations

from pgtask.model.cron import Cron
from pgtask.model.wording import duration


def every_words(seconds: float) -> str:
    """ "every 30 s", "every 1 h 30 m"."""
    return f"every {duration(seconds, parts=7)}"


def cron_words(cron: Cron) -> str:
    """ "at 08:00, Monday to Friday"; parts that have no short words are given as they are written."""
    return " ".join(cron.tokens.values())
