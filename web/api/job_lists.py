"""Lists of jobs."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from flask import request
from pydantic import ConfigDict, Field, WithJsonSchema, model_validator

from pgtask.database import listing
from pgtask.database.connection import Connection
from pgtask.model.job_filter import JobFilter, PayloadTerm, Sort
from pgtask.model.search import LONGEST, MOST_VALUES, merge, parse_search, payload_term, payload_terms
from pgtask.model.serialise import job_as_json, page_as_json
from pgtask.model.status import PRIORITIES, JobStatus, parse_priority

from ..contract import Answer, Section
from ..fields import Instant, Listed, Text
from ..inputs import Query, refused
from ..requests import caller, shown
from ..shapes import JobShape, Page
from . import jobs

section = Section("jobs", jobs.section.description)

_PAYLOAD = "payload."

Word = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\u0000]*$")]
Words = Annotated[list[Word], Listed, Field(max_length=MOST_VALUES)]
Priorities = Annotated[
    list[str],
    Listed,
    Field(max_length=MOST_VALUES),
    WithJsonSchema(
        {
            "type": "array",
            "maxItems": MOST_VALUES,
            "items": {
                "anyOf": [
                    {"type": "integer", "minimum": -100, "maximum": 100},
                    {"type": "string", "enum": list(PRIORITIES)},
                ]
            },
        }
    ),
]
Workers = Annotated[list[Annotated[int, Field(ge=1, lt=2**31)]], Listed, Field(max_length=MOST_VALUES)]
Statuses = Annotated[list[JobStatus], Listed, Field(max_length=len(JobStatus))]
Parts = Annotated[list[Literal["payload", "result", "traceback"]], Listed, Field(max_length=3)]


class JobQuery(Query):
    """Which jobs, in which order, and what of them.

    Fields of the payload are parameters too: payload.user.id=42. They are in `model_extra`.
    """

    model_config = ConfigDict(extra="allow")

    q: Annotated[Text, Field(max_length=LONGEST)] | None = None
    """A search, as the command line takes it: `status:failed task:send_* payload.user.id:42 since:1h`. What a parameter
    says it may not say again."""
    status: Statuses = Field(default_factory=list)
    queue: Words = Field(default_factory=list)
    task: Words = Field(default_factory=list)
    """`*` stands for any text."""
    type: Words = Field(default_factory=list)
    """The same as `task`."""
    tag: Words = Field(default_factory=list)
    priority: Priorities = Field(default_factory=list)
    worker: Workers = Field(default_factory=list)
    """Ids of the workers that run the jobs, or ran them last."""
    schedule: Words = Field(default_factory=list)
    """Names of schedules."""
    created_after: Instant | None = None
    created_before: Instant | None = None
    sort: Sort = Sort.NEWEST
    """`-created` and `created` are the order of ids. `-finished` lists only ended jobs, `scheduled` only those that
    wait, the first to be due in front."""
    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    cursor: Annotated[Text, Field(max_length=1000)] | None = None
    """`next_cursor` of a page with the same filter and sort; or an id, below which to go on, the newest first."""
    count: Literal["capped"] | None = None
    """`capped` adds `count` and `count_exact`, counted up to 10,000."""
    include: Parts = Field(default_factory=list)
    """What may be large and is left out otherwise."""

    @model_validator(mode="after")
    def _check(self) -> JobQuery:
        for name in self.model_extra or ():
            if not name.startswith(_PAYLOAD):
                raise refused(name, "this list has no such parameter")
        if self.task and self.type:
            raise ValueError("task and type are the same: give one")
        for priority in self.priority:
            parse_priority(priority)
        return self

    def wanted(self, queues: frozenset[str] | None) -> JobFilter:
        """The filter for a caller who may see these queues. Raises SearchError."""
        given = JobFilter(
            statuses=frozenset(self.status),
            queue=tuple(self.queue),
            task=tuple(self.task or self.type),
            tag=tuple(self.tag),
            priorities=tuple(map(parse_priority, self.priority)),
            workers=tuple(self.worker),
            schedule=tuple(self.schedule),
            created_after=self.created_after,
            created_before=self.created_before,
            payload=payload_terms(self._payload()),
            queues=queues,
        )
        return merge(given, parse_search(self.q or ""))

    def _payload(self) -> list[PayloadTerm]:
        extra = self.model_extra or {}
        return [payload_term(name.removeprefix(_PAYLOAD).split("."), value) for name, value in extra.items()]


class JobItem(JobShape):
    """A job in a list."""

    model_config = ConfigDict(title="JobItem")

    payload: Any = None
    """The arguments, an object. Only with include=payload."""
    result: Any = None
    """Only with include=result."""
    traceback: str | None = None
    """Only with include=traceback."""


class JobList(Page[JobItem]):
    """A page of jobs."""

    model_config = ConfigDict(title="JobList")

    count: int = 0
    """How many jobs match, 10,000 standing for that many or more. Only with count=capped."""
    count_exact: bool = True
    """Whether `count` is all of them. Only with count=capped."""


def _place(query: JobQuery) -> dict[str, Any]:
    # An id is what `--before` of the command line takes.
    cursor = query.cursor or ""
    if query.sort == Sort.NEWEST and re.fullmatch(r"[1-9][0-9]{0,17}", cursor, re.ASCII):
        return {"before": int(cursor)}
    return {"cursor": query.cursor}


@section.get("/jobs", answer=JobList, aliases=("/tasks",))
def list_jobs(connection: Connection, query: JobQuery) -> Answer:
    """Jobs that have something in common.

    A list goes on where its cursor says, whatever happens to the jobs meanwhile. The header Link leads to the next
    page. Fields of the payload are searched by `payload.user.id=42`: numbers, true, false and null also find the same
    as text, text in quotes finds text only. Such a search looks at the jobs that fit all else, so give it a status, a
    queue, a task or a time.
    """
    wanted = query.wanted(caller().queues)
    include = frozenset(query.include)
    page = listing.list_jobs(connection, wanted, sort=query.sort, **_place(query), include=include, limit=query.limit)
    left_out = listing.EVERYTHING - include
    jobs = (shown(job_as_json(job)) for job in page.jobs)
    items = [{name: value for name, value in job.items() if name not in left_out} for job in jobs]
    content = page_as_json(items, page.next_cursor)
    if query.count:
        counted = listing.count_jobs(connection, wanted)
        content |= {"count": counted.number, "count_exact": counted.exact}
    headers = {}
    if page.next_cursor is not None:
        asked_for = {name: value for name, value in request.args.items() if name != "cursor"}
        place = f"{request.script_root}{request.path}?{urlencode(asked_for | {'cursor': page.next_cursor})}"
        headers["Link"] = f'<{place}>; rel="next"'
    return Answer(content, headers=headers)
