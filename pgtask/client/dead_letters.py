"""Dead letters over REST."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pgtask.client.jobs import JobCalls
from pgtask.client.records import record
from pgtask.model.answer import Answer
from pgtask.model.dead_letter import DeadLetterCount, DeadLetterFilter, DeadLetterGroup, DeadLetterPage, Position
from pgtask.model.job import JobRecord
from pgtask.model.operations import MOST_IDS, Act
from pgtask.model.rate import Rate
from pgtask.model.serialise import instant_as_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

COUNT_CAP = 10_000
"""Dead letters that are counted, at most."""


class DeadLetterCalls(JobCalls):
    """Jobs that failed for good. See pgtask.model.operations."""

    def list_dead_letters(
        self, wanted: DeadLetterFilter, *, before: Position | None = None, limit: int = 50
    ) -> DeadLetterPage:
        """The `limit` dead letters that match and failed last, of those before a position."""
        cursor = None if before is None else _cursor(before)
        found = self._transport.get("/dead-letters", _query(wanted) | {"limit": limit, "cursor": cursor})
        jobs = [record(JobRecord, job) for job in found["items"]]
        return DeadLetterPage(jobs, None if found["next_cursor"] is None else _place(jobs[-1]))

    def count_dead_letters(self, wanted: DeadLetterFilter) -> DeadLetterCount:
        """How many dead letters match, counted up to COUNT_CAP."""
        number, latest = 0, None
        for page in self._found(wanted, None):
            if latest is None:
                latest = _place(page[0])
            number += len(page)
            if number > COUNT_CAP:
                return DeadLetterCount(COUNT_CAP, exact=False, latest=latest)
        return DeadLetterCount(number, exact=True, latest=latest)

    def dead_letter_batches(self, wanted: DeadLetterFilter, latest: Position) -> Iterator[list[int]]:
        """The ids of the dead letters that match, from the oldest to `latest`, batch by batch."""
        # Lists begin with the latest, so all are found before the first are acted on.
        ids = [job.id for page in self._found(wanted, Position(latest.finished_at, latest.id + 1)) for job in page]
        ids.reverse()
        return (ids[start : start + MOST_IDS] for start in range(0, len(ids), MOST_IDS))

    def group_dead_letters(self, wanted: DeadLetterFilter) -> list[DeadLetterGroup]:
        """The dead letters that match by task and type of error, most first."""
        found = self._transport.get("/dead-letters/groups", _query(wanted))
        return [record(DeadLetterGroup, group) for group in found["items"]]

    def paced_retry(self, rate: Rate) -> Act:
        """A `retry_jobs` whose jobs, in however many calls they come, become due one by one at a rate."""
        return _Pace(self, rate)

    def resolve_jobs(self, ids: Sequence[int], note: str | None) -> list[Answer]:
        """Marks dead letters as dealt with."""
        return self._act("/dead-letters/resolve", ids, **({} if note is None else {"note": note}))

    def unresolve_jobs(self, ids: Sequence[int]) -> list[Answer]:
        """Takes resolutions back."""
        return self._act("/dead-letters/unresolve", ids)

    def delete_dead_letters(self, ids: Sequence[int]) -> list[Answer]:
        """Deletes dead letters."""
        return self._act("/dead-letters/delete", ids)

    def _found(self, wanted: DeadLetterFilter, before: Position | None) -> Iterator[list[JobRecord]]:
        while True:
            page = self.list_dead_letters(wanted, before=before, limit=MOST_IDS)
            if page.jobs:
                yield page.jobs
            if page.next is None:
                return
            before = page.next


class _Pace:
    """A retry at a rate, in as many calls as it takes."""

    def __init__(self, calls: DeadLetterCalls, rate: Rate) -> None:
        self._calls = calls
        self._rate = rate
        self._begun: float | None = None
        self._put_back = 0

    def __call__(self, ids: Sequence[int]) -> list[Answer]:
        answers: list[Answer] = []
        for start in range(0, len(ids), MOST_IDS):
            now = time.monotonic()
            self._begun = self._begun or now
            due = self._begun + self._put_back * self._rate.period / self._rate.limit
            part = self._calls.retry_jobs(ids[start : start + MOST_IDS], rate=self._rate, delay=max(0.0, due - now))
            self._put_back += sum(answer.answer == "pending" for answer in part)
            answers += part
        return answers


def _cursor(place: Position) -> str:
    """The place as the API writes it: microseconds since 1970, and the id."""
    microseconds = (place.finished_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(f"[{microseconds},{place.id}]".encode()).decode().rstrip("=")


def _place(job: JobRecord) -> Position:
    assert job.finished_at is not None
    return Position(job.finished_at, job.id)


def _query(wanted: DeadLetterFilter) -> dict[str, Any]:
    return {
        "task": wanted.task,
        "queue": wanted.queue,
        "error": wanted.error_type,
        "status": wanted.status,
        "tag": wanted.tag,
        "since": wanted.since and instant_as_text(wanted.since),
    }
