"""The search language: what jobs are wanted, in a line of text, for the API, the command line and the pages.

`status:failed,retrying task:send_* queue:mail tag:x priority:high worker:12 schedule:nightly error:TimeoutError
unique_key:k concurrency_key:k payload.to:"a@b.c" payload.user.id:42 since:1h before:2026-11-01 id:7`

Terms are separated by spaces, all must fit, and each is given once. Commas mean or. `-` before status, task, queue,
tag and error means not. Values with spaces, commas or quotes stand in quotes, as JSON text. `*` in a task or an error
stands for any text. `since` and `before` are instants, UTC unless they say otherwise, or how long ago: of the creation
of live jobs, of the end of ended ones.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pgtask.model.duration import parse_duration
from pgtask.model.errors import SearchError
from pgtask.model.job_filter import JobFilter, Moment, PayloadTerm, several
from pgtask.model.serialise import instant_as_text
from pgtask.model.status import JobStatus, parse_priority

LONGEST = 4000
MOST_VALUES = 100
MOST_PAYLOADS = 64
"""Payloads that a search may ask for, one of which must fit: the values of its terms, multiplied."""

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_VALUE = rf'(?:{_QUOTED}|[^\s,"]+)'
_SEGMENT = rf'(?:{_QUOTED}|[^\s:.",]+)'
_TERM = re.compile(rf"(-?)([A-Za-z_]+)((?:\.{_SEGMENT})*):({_VALUE}(?:,{_VALUE})*)(?=\s|$)")
_BARE = re.compile(r'[^\s,"]+')
_BARE_SEGMENT = re.compile(r'[^\s:.",]+')
_SCALAR = re.compile(r"-?(?:0|[1-9]\d{0,30})(?:\.\d{1,30})?|true|false|null", re.ASCII)

_NAMES = ("queue", "task", "tag", "schedule", "error", "unique_key", "concurrency_key")
_NUMBERS = {"id": "ids", "priority": "priorities", "worker": "workers"}
_MOMENTS = ("since", "before", "created_after", "created_before")
_NEGATED = ("status", "queue", "task", "tag", "error")
_FIELDS = ("id", "status", *_NAMES, "priority", "worker", *_MOMENTS)


class _Word(NamedTuple):
    text: str
    quoted: bool


def parse_search(text: str) -> JobFilter:
    """The filter that a search means. Raises SearchError."""
    if len(text) > LONGEST:
        raise SearchError(f"The search is too long: {LONGEST} characters at most.")
    _check(text)
    found, position = JobFilter(), 0
    without: frozenset[JobStatus] = frozenset()
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        match = _TERM.match(text, position)
        if match is None:
            raise _unreadable(text[position:].split(maxsplit=1)[0])
        negated, name, path, values = match.groups()
        term = _term(bool(negated), name, path, [_word(value) for value in re.findall(_VALUE, values)])
        if negated and name == "status":
            if without:
                raise _twice("-status")
            without = term.statuses
        else:
            found = merge(found, term)
        position = match.end()
    if without:
        left = (found.statuses or frozenset(JobStatus)) - without
        if not left:
            raise SearchError("The search leaves no status: take one of -status out.")
        found = replace(found, statuses=left)
    return found


def merge(one: JobFilter, other: JobFilter) -> JobFilter:
    """What fits both. Raises SearchError where both say something about the same."""
    changes: dict[str, Any] = {}
    for each in fields(other):
        theirs, ours = getattr(other, each.name), getattr(one, each.name)
        if theirs is None or theirs in ((), frozenset()):
            continue
        if each.name == "payload":
            changes["payload"] = payload_terms([*ours, *theirs])
        elif ours is None or ours in ((), frozenset()):
            changes[each.name] = theirs
        else:
            raise _twice(_said(each.name))
    return replace(one, **changes)


def write_search(wanted: JobFilter) -> str:
    """The text that `parse_search` reads as this filter; its `queues`, which no text can lift, are left out."""
    terms = []
    for name, field in _NUMBERS.items():
        if getattr(wanted, field):
            terms.append(f"{name}:{','.join(map(str, getattr(wanted, field)))}")
    if wanted.statuses:
        terms.append(f"status:{','.join(status for status in JobStatus if status in wanted.statuses)}")
    for name in _NAMES:
        for sign, field in (("", name), ("-", f"not_{name}")):
            names = several(getattr(wanted, field, None))
            if names:
                terms.append(f"{sign}{name}:{','.join(map(_quoted, names))}")
    for term in wanted.payload:
        path = "".join(f".{_quoted(segment, _BARE_SEGMENT)}" for segment in term.path)
        terms.append(f"payload{path}:{','.join(term.values)}")
    for name in _MOMENTS:
        moment = getattr(wanted, name)
        if moment is not None:
            terms.append(f"{name}:{_moment_as_text(moment)}")
    return " ".join(terms)


def payload_term(path: Iterable[str], value: str) -> PayloadTerm:
    """A term for one value: text in quotes, a number, true, false, null, or other text as it is. Raises SearchError."""
    _check(value)
    word = _word(value) if re.fullmatch(_QUOTED, value) else _Word(value, quoted=False)
    return PayloadTerm(tuple(path), (_literal(word),))


def payload_terms(terms: Iterable[PayloadTerm]) -> tuple[PayloadTerm, ...]:
    """The terms in order. Raises SearchError where they cannot be met together or are too many."""
    ordered = sorted(terms, key=lambda term: term.path)
    combinations = 1
    for number, term in enumerate(ordered):
        if not term.path or len(term.path) > 20 or "\0" in "".join(term.path):
            raise SearchError("A payload is searched by a field in it: payload.to:x, payload.user.id:42.")
        for longer in ordered[number + 1 :]:
            if longer.path[: len(term.path)] == term.path:
                raise _twice(f"payload.{'.'.join(term.path)}")
        combinations *= sum(len(variants(value)) for value in term.values)
    if combinations > MOST_PAYLOADS:
        raise SearchError("The search has too many values of the payload: give fewer.")
    return tuple(ordered)


def variants(value: str) -> list[str]:
    """What a value of a payload stands for, as JSON: a number also for the same text."""
    return [value] if value.startswith('"') else [value, json.dumps(value)]


def _term(negated: bool, name: str, path: str, words: list[_Word]) -> JobFilter:
    name = {"type": "task"}.get(name, name)
    if len(words) > MOST_VALUES:
        raise SearchError(f"{name} has too many values: {MOST_VALUES} at most.")
    if name != "payload" and (path or name not in _FIELDS):
        raise _unknown(name + path)
    if negated and name not in _NEGATED:
        raise SearchError(f"-{name} is not possible: - goes before {', '.join(_NEGATED[:-1])} and {_NEGATED[-1]}.")
    texts = [word.text for word in words]
    if name == "payload":
        segments = tuple(_word(segment).text for segment in re.findall(_SEGMENT, path))
        return JobFilter(payload=payload_terms([PayloadTerm(segments, _unique(map(_literal, words)))]))
    if name == "status":
        return JobFilter(statuses=frozenset(map(parse_status, texts)))
    given: dict[str, Any] = {}
    if name in _NUMBERS:
        given[_NUMBERS[name]] = _unique(_number(name, text) for text in texts)
    elif name in _MOMENTS:
        given[name] = _moment(name, texts)
    else:
        given[f"not_{name}" if negated else name] = texts[0] if len(texts) == 1 else _unique(texts)
    return JobFilter(**given)


def parse_status(text: str) -> JobStatus:
    """The status of this name. Raises SearchError."""
    try:
        return JobStatus(text.lower())
    except ValueError:
        close = difflib.get_close_matches(text.lower(), list(JobStatus), 1)
        hint = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(JobStatus)}."
        raise SearchError(f"There is no status '{text}'. {hint}") from None


def _number(name: str, text: str) -> int:
    if name == "priority":
        try:
            return parse_priority(text)
        except ValueError as error:
            raise SearchError(f"priority: {error}.") from None
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    if not 0 < number < (2**63 if name == "id" else 2**31):
        raise SearchError(f"{name}: '{text}' is no {'job' if name == 'id' else name}'s id: ids are numbers.")
    return number


def _moment(name: str, texts: list[str]) -> Moment:
    if len(texts) > 1:
        raise SearchError(f"{name} takes one time.")
    if not name.startswith("created"):
        try:
            return timedelta(seconds=parse_duration(texts[0]))
        except ValueError:
            pass
    try:
        instant = datetime.fromisoformat(texts[0])
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        ago = "" if name.startswith("created") else "how long ago, such as 24h, or "
        raise SearchError(f"{name}: '{texts[0]}' is no time: write {ago}2026-12-24T18:00.") from None


def _moment_as_text(moment: datetime | timedelta) -> str:
    if isinstance(moment, datetime):
        return instant_as_text(moment)
    seconds, rest = divmod(moment // timedelta(microseconds=1), 1_000_000)
    return f"{seconds}.{rest:06}s" if rest else f"{seconds}s"


def _word(text: str) -> _Word:
    if not text.startswith('"'):
        return _Word(text, quoted=False)
    try:
        word: str = json.loads(text)
        word.encode()
    except ValueError:
        word = "\0"
    if "\0" in word:
        raise SearchError(f'{text} is no text that PostgreSQL can store: write quotes within quotes as \\".')
    return _Word(word, quoted=True)


def _check(text: str) -> None:
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise SearchError("The search holds characters that PostgreSQL cannot store.")


def _literal(word: _Word) -> str:
    if not word.quoted and _SCALAR.fullmatch(word.text):
        return word.text
    return json.dumps(word.text, ensure_ascii=False)


def _quoted(text: str, bare: re.Pattern[str] = _BARE) -> str:
    return text if bare.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _unique(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def _said(field: str) -> str:
    names = {field: name for name, field in _NUMBERS.items()} | {"statuses": "status"}
    return f"-{field.removeprefix('not_')}" if field.startswith("not_") else names.get(field, field)


def _twice(name: str) -> SearchError:
    return SearchError(f"{name} is given twice: give it once; commas mean or.")


def _unknown(name: str) -> SearchError:
    close = difflib.get_close_matches(name.lower(), [*_FIELDS, "payload"], 1)
    if name.startswith("payload"):
        close = ["payload.field"]
    hint = f"Did you mean {close[0]}:?" if close else f"Known: {', '.join(_FIELDS)}, payload.field."
    return SearchError(f"Jobs cannot be searched by '{name}'. {hint}")


def _unreadable(term: str) -> SearchError:
    name, colon, value = term.partition(":")
    if not colon:
        guess = f"id:{term}" if term.isdigit() else f"task:{_quoted(term)}"
        return SearchError(f"'{term}' does not say what it is: write {guess}, or another field:value.")
    if not value:
        return SearchError(f"{name}: has no value. Write it without a space: {name}:value.")
    return SearchError(f"'{term}' is not to be understood: write field:value, with quotes around spaces and commas.")
