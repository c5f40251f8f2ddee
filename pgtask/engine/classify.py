"""From what a handler did to what becomes of its attempt. No database, no threads."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Any

from pgtask.engine.attempt import Attempt
from pgtask.model.errors import PayloadError
from pgtask.model.payload import clean_text, encode_result
from pgtask.model.retry import RetryRules
from pgtask.model.verdict import (
    Cancel,
    Discard,
    JobCancelled,
    JobTimeout,
    Retry,
    Snooze,
    Verdict,
)

MAX_ERROR = 2_000
MAX_TRACEBACK = 20_000


def returned(attempt: Attempt, value: Any) -> None:
    """The handler returned `value`."""
    if value is None:
        return
    if isinstance(value, Verdict):
        _verdict(attempt, value)
        return
    try:
        attempt.result = encode_result(value)
    except PayloadError as error:
        _fail(attempt, error, None)
    except BaseException as error:
        # A value may run code of its own while it is encoded, and that may do anything.
        _fail(attempt, error, error.__traceback__)


def raised(
    attempt: Attempt, error: BaseException, rules: RetryRules | None = None, *, account: str | None = None
) -> None:
    """The handler raised `error`; `rules` are its task's. `account` is told in place of what the error says."""
    if isinstance(error, Verdict):
        _verdict(attempt, error)
    elif isinstance(error, JobTimeout):
        _fail(attempt, error, error.__traceback__)
        attempt.outcome = "timeout"
        attempt.error = f"It ran longer than its timeout of {attempt.timeout:g} s."
        _apply(rules, attempt, error)
    elif isinstance(error, JobCancelled):
        attempt.outcome = "cancelled"
        attempt.final = True
    else:
        _fail(attempt, error, error.__traceback__)
        if account is not None:
            attempt.error = clean_text(account, MAX_ERROR)
        _apply(rules, attempt, error)


def refused(attempt: Attempt, error: PayloadError) -> None:
    """The payload cannot be handed to the handler; another attempt would fare no better."""
    _fail(attempt, error, None)
    attempt.final = True


def _apply(rules: RetryRules | None, attempt: Attempt, error: BaseException) -> None:
    if rules is None:
        return
    rule = rules.why_final(error)
    if rule is not None:
        attempt.final = True
        # Whoever looks at a job with retries left must see why it has failed for good.
        attempt.error = f"{attempt.error} (not retried: {rule} of its task)"
    else:
        attempt.delay, attempt.advised = rules.delay(attempt.retry_count), True


def _verdict(attempt: Attempt, verdict: Verdict) -> None:
    attempt.error_type = type(verdict).__name__
    attempt.error = clean_text(_text(verdict), MAX_ERROR)
    if isinstance(verdict, Snooze):
        attempt.outcome = "snoozed"
        attempt.delay = verdict.seconds
    elif isinstance(verdict, Cancel):
        attempt.outcome = "cancelled"
        attempt.final = True
    else:
        attempt.outcome = "failed"
        attempt.final = isinstance(verdict, Discard)
        attempt.delay = verdict.after if isinstance(verdict, Retry) else None


def _fail(attempt: Attempt, error: BaseException, trace: TracebackType | None) -> None:
    attempt.outcome = "failed"
    attempt.result = None
    attempt.error_type = clean_text(type(error).__qualname__, 200)
    attempt.error = clean_text(_text(error), MAX_ERROR)
    attempt.traceback = clean_text(_format(error, trace), MAX_TRACEBACK) if trace else None


def _text(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except BaseException as problem:
        return f"({type(problem).__name__} while the error was turned into text)"


def _format(error: BaseException, trace: TracebackType | None) -> str:
    # The first frames are pgtask's own call of the handler.
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("pgtask.engine"):
        trace = trace.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, trace, limit=-50))
    except BaseException as problem:
        return f"({type(problem).__name__} while the traceback was formatted)"
