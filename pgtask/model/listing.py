"""What jobs are looked for by, and what is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pgtask.model.dead_letter import Aftermath
from pgtask.model.explanation import Reason
from pgtask.model.job import JobRecord
from pgtask.model.run import LogLine, RunRecord
from pgtask.model.status import FINAL, JobStatus

LIVE = frozenset(JobStatus) - FINAL


class JobPage(NamedTuple):
    """Jobs in the order asked for, whether there are further ones, and the cursor that leads to them."""

    jobs: list[JobRecord]
    more: bool
    next_cursor: str | None = None


class JobCount(NamedTuple):
    """How many jobs match, at least `number` unless `exact`, and the newest of them."""

    number: int
    exact: bool
    newest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDetails:
    """A job with its latest runs and log lines, and why it is where it is; `aftermath` is None until it has ended."""

    job: JobRecord
    runs: list[RunRecord]
    logs: list[LogLine]
    explanation: list[Reason]
    aftermath: Aftermath | None


class JobState(NamedTuple):
    """A job, its latest runs and the log lines not seen before, at one instant."""

    job: JobRecord
    runs: list[RunRecord]
    logs: list[LogLine]
