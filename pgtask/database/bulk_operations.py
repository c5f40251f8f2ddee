"""Bulk operations: making them, and working them off a chunk at a time.

A chunk is one transaction: what is done to its jobs, and how far the operation is. Whoever works on an operation holds
its row meanwhile, so that any number may try, and a crash anywhere neither repeats a job nor leaves one out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from psycopg.rows import class_row, dict_row, scalar_row

from pgtask.database import bulk, dead_letters, listing, statements
from pgtask.database.connection import Connection, lost, one_line
from pgtask.database.finding import LIVE, anchored
from pgtask.database.reading import in_words, reading
from pgtask.database.statistics import current_instant
from pgtask.model.answer import Answer
from pgtask.model.bulk_operation import ACTIONS, BulkAction, BulkOperation, BulkTarget
from pgtask.model.dead_letter import DeadLetterFilter, Position
from pgtask.model.errors import ConfigurationError, OperationNotFoundError
from pgtask.model.job_filter import JobFilter
from pgtask.model.rate import Rate
from pgtask.model.search import parse_search, write_search
from pgtask.model.serialise import instant_as_text
from pgtask.model.status import FINAL, JobStatus

_CREATE = statements.load("create_bulk_operation")
_TAKE = statements.load("take_bulk_operation")
_ADVANCE = statements.load("advance_bulk_operation")
_FAIL = statements.load("fail_bulk_operation")
_LIST = statements.load("list_bulk_operations")
_CANCEL = statements.load("cancel_bulk_operation")

CHUNK = 500
"""Jobs of one transaction: it locks their rows only for some tens of milliseconds."""

DEFAULT_STATUSES = {
    BulkAction.CANCEL: LIVE,
    BulkAction.RETRY: frozenset({JobStatus.FAILED, JobStatus.QUARANTINED}),
    BulkAction.DELETE: FINAL,
}
"""What a filter of jobs without a status means, by what is done."""

_DONE = frozenset({"cancelled", "requested", "pending", "deleted", "resolved"})

Filter = JobFilter | DeadLetterFilter


class Matching(NamedTuple):
    """How many jobs match, at least `number` unless `exact`, and the latest of them as JSON."""

    number: int
    exact: bool
    bound: Any


def count(connection: Connection, wanted: Filter) -> Matching:
    """How many jobs a filter means now."""
    if isinstance(wanted, JobFilter):
        jobs = listing.count_jobs(connection, wanted)
        return Matching(jobs.number, jobs.exact, jobs.newest)
    dead = dead_letters.count_dead_letters(connection, wanted)
    bound = dead.latest and [dead.latest.finished_at.isoformat(), dead.latest.id]
    return Matching(dead.number, dead.exact, bound)


def create(
    connection: Connection,
    action: BulkAction,
    wanted: Filter,
    *,
    note: str | None = None,
    rate: Rate | None = None,
    created_by: str | None = None,
) -> BulkOperation:
    """Makes an operation on the jobs that a filter means now.

    With a `rate`, jobs that are retried become due one by one. Raises ConfigurationError for what makes no sense.
    """
    target = BulkTarget.JOBS if isinstance(wanted, JobFilter) else BulkTarget.DEAD_LETTERS
    if action not in ACTIONS[target]:
        known = ", ".join(sorted(ACTIONS[target]))
        raise ConfigurationError(f"'{action}' cannot be done to {target}: write one of {known}.")
    options: dict[str, Any] = {} if note is None else {"note": note}
    if rate is not None:
        options |= {"spacing": rate.period / rate.limit, "begun_at": instant_as_text(current_instant(connection))}
    matching = count(connection, wanted)
    values = {
        "action": action.value,
        "target": target.value,
        "filter": json.dumps(as_json(wanted)),
        "options": json.dumps(options),
        "created_by": created_by,
        "matched": matching.number,
        "exact": matching.exact,
        "bound": json.dumps(matching.bound),
    }
    with in_words(connection), connection.cursor(row_factory=scalar_row) as cursor:
        (id,) = cursor.execute(_CREATE, values).fetchall()
    return read(connection, id)


def read(connection: Connection, operation_id: int) -> BulkOperation:
    """One operation. Raises OperationNotFoundError."""
    found = _list(connection, operation_id, None, 1)
    if not found:
        raise OperationNotFoundError(operation_id)
    return found[0]


def list_operations(connection: Connection, *, before: int | None = None, limit: int = 50) -> list[BulkOperation]:
    """The latest operations, of those with ids below `before`."""
    return _list(connection, None, before, limit)


def cancel(connection: Connection, operation_id: int) -> BulkOperation:
    """Has an operation stop after the chunk under way; one that has ended stays as it is.

    Raises OperationNotFoundError.
    """
    with in_words(connection):
        connection.execute(_CANCEL, {"id": operation_id})
    return read(connection, operation_id)


def work_off(connection: Connection) -> bool:
    """Does the next chunk of the oldest operation that nobody is at; False when there is none.

    What fails is noted with the operation, which is tried again, ten times in a row at most.
    """
    taken: dict[str, Any] | None = None
    try:
        with in_words(connection), connection.transaction():
            with connection.cursor(row_factory=dict_row) as cursor:
                taken = cursor.execute(_TAKE).fetchone()
            if taken is not None:
                connection.execute(_ADVANCE, _chunk(connection, taken))
    except Exception as error:
        if taken is None or lost(error):
            raise
        connection.execute(_FAIL, {"id": taken["id"], "error": one_line(error)})
    return taken is not None


def as_json(wanted: Filter) -> dict[str, Any]:
    """A filter as it is kept and shown: of jobs as a search, of dead letters by what matters."""
    found: dict[str, Any] = {}
    if isinstance(wanted, JobFilter):
        found["q"] = write_search(anchored(wanted))
        return found if wanted.queues is None else found | {"queues": sorted(wanted.queues)}
    for field in fields(wanted):
        value = getattr(wanted, field.name)
        if isinstance(value, frozenset):
            found[field.name] = sorted(value)
        elif isinstance(value, datetime):
            found[field.name] = value.isoformat()
        elif value is not None:
            found[field.name] = value
    return found


def _of_json(target: str, kept: Mapping[str, Any]) -> Filter:
    values = dict(kept)
    if "queues" in values:
        values["queues"] = frozenset(values["queues"])
    if target == BulkTarget.JOBS:
        return replace(parse_search(values["q"]), queues=values.get("queues"))
    if "since" in values:
        values["since"] = datetime.fromisoformat(values["since"])
    return DeadLetterFilter(**values)


def _chunk(connection: Connection, taken: dict[str, Any]) -> dict[str, Any]:
    """Does a chunk; what to note of it."""
    done: dict[str, Any] = {"id": taken["id"], "processed": 0, "answers": "{}", "refusals": "[]", "position": None}
    if taken["cancelled"]:
        return done | {"status": "cancelled"}
    ids, position = _next(connection, taken)
    answers = _act(connection, taken, ids) if ids else []
    refusals = [answer._asdict() for answer in answers if answer.answer not in _DONE]
    return done | {
        "status": "running" if position is not None else "completed",
        "processed": len(ids),
        "answers": json.dumps(Counter(answer.answer or "gone" for answer in answers)),
        "refusals": json.dumps(refusals[:100]),
        "position": json.dumps(position),
    }


def _next(connection: Connection, taken: dict[str, Any]) -> tuple[list[int], Any]:
    """The ids of the next chunk, and where to go on after them, None at the end."""
    wanted = _of_json(taken["target"], taken["filter"])
    if isinstance(wanted, JobFilter):
        if _of_ended(wanted):
            # A job may be older than the operation and have ended since.
            wanted = anchored(wanted)
            wanted = replace(wanted, before=_earlier(wanted.before, taken["created_at"]))
        before = taken["position"] or taken["bound"] + 1
        ids = listing.find_ids(connection, wanted, before=before, limit=CHUNK)
        return ids, ids[-1] if len(ids) == CHUNK else None
    after, until = _position(taken["position"]), _position(taken["bound"])
    assert until is not None
    found = dead_letters.find_oldest(connection, wanted, after=after, until=until, limit=CHUNK)
    last = [found[-1].finished_at.isoformat(), found[-1].id] if len(found) == CHUNK else None
    return [position.id for position in found], last


def _of_ended(wanted: Filter) -> bool:
    return isinstance(wanted, JobFilter) and bool(wanted.statuses) and wanted.statuses <= FINAL


def _earlier(before: Any, instant: datetime) -> datetime:
    return instant if before is None else min(before, instant)


def _position(kept: Any) -> Position | None:
    return None if kept is None else Position(datetime.fromisoformat(kept[0]), kept[1])


def _act(connection: Connection, taken: dict[str, Any], ids: Sequence[int]) -> list[Answer]:
    options, dead = taken["options"], taken["target"] == BulkTarget.DEAD_LETTERS
    match taken["action"]:
        case BulkAction.CANCEL:
            return bulk.cancel_jobs(connection, ids)
        case BulkAction.RETRY if "spacing" in options:
            # Each further chunk becomes due after those before it.
            return bulk.retry_spaced(connection, ids, options["begun_at"], options["spacing"], taken["processed"])
        case BulkAction.RETRY:
            return bulk.retry_jobs(connection, ids)
        case BulkAction.DELETE:
            if dead:
                return dead_letters.delete_jobs(connection, ids)
            return bulk.delete_jobs(connection, ids, ended=_of_ended(_of_json(taken["target"], taken["filter"])))
    resolve = partial(dead_letters.resolve_jobs, note=options.get("note"), resolved_by=taken["created_by"])
    return resolve(connection, ids)


def _list(connection: Connection, id: int | None, before: int | None, limit: int) -> list[BulkOperation]:
    with reading(connection), connection.cursor(row_factory=class_row(BulkOperation)) as cursor:
        return cursor.execute(_LIST, {"id": id, "before": before, "limit": limit}).fetchall()
