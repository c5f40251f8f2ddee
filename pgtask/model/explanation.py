"""Why a live job is where it is: the facts, and the one sentence that matters most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pgtask.model.job import JobRecord
from pgtask.model.status import JobStatus
from pgtask.model.wording import duration, plural

AHEAD_CAP = 10_000
"""Jobs ahead of a job are counted up to here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What surrounds a live job at one instant. Durations are seconds."""

    due_in: float
    suspect: bool
    queue_paused_by: str | None
    queue_paused_for: float | None
    live_workers: int
    queue_workers: int
    task_known: bool
    worker_name: str | None
    worker_silent_for: float | None
    worker_lost: bool
    jobs_ahead: int


class Explanation(NamedTuple):
    """A word for programs and a sentence for people."""

    reason: str
    text: str


def explain(job: JobRecord, now: Circumstances) -> Explanation:
    """What a waiting job waits for, or how a running one fares."""
    if job.status == JobStatus.RUNNING:
        return _explain_running(job, now)
    if now.queue_paused_for is not None:
        by = f" by {now.queue_paused_by}" if now.queue_paused_by else ""
        length = duration(now.queue_paused_for)
        return Explanation("queue_paused", f"Queue {job.queue} has been paused for {length}{by}.")
    if now.due_in > 0:
        return _explain_due(job, now.due_in)
    return _explain_no_worker(job, now) or _explain_suspect(now) or _explain_turn(job, now.jobs_ahead)


def _explain_no_worker(job: JobRecord, now: Circumstances) -> Explanation | None:
    if now.live_workers == 0:
        return Explanation("no_worker", "No worker is alive.")
    if now.queue_workers == 0:
        return Explanation("queue_unserved", f"No live worker serves queue {job.queue}.")
    if not now.task_known:
        return Explanation("task_unknown", f"No live worker knows task {job.task}.")
    return None


def _explain_suspect(now: Circumstances) -> Explanation | None:
    if not now.suspect:
        return None
    return Explanation("suspect", "It was running when its process died, and will next run in a process of its own.")


def _explain_turn(job: JobRecord, jobs_ahead: int) -> Explanation:
    if jobs_ahead == 0:
        return Explanation("next", f"It is next in queue {job.queue}.")
    ahead = plural(min(jobs_ahead, AHEAD_CAP), "job", jobs_ahead <= AHEAD_CAP)
    verb = "is" if jobs_ahead == 1 else "are"
    return Explanation("jobs_ahead", f"{ahead} {verb} ahead of it in queue {job.queue}.")


def _explain_due(job: JobRecord, due_in: float) -> Explanation:
    due = f"due in {duration(due_in)}"
    if job.status != JobStatus.RETRYING:
        return Explanation("not_due", f"It is {due}.")
    limit = f" of {job.max_retries}" if job.max_retries is not None and job.max_retries > 0 else ""
    return Explanation("retry_not_due", f"Retry {job.retry_count}{limit} is {due}.")


def _explain_running(job: JobRecord, now: Circumstances) -> Explanation:
    worker = f"worker {job.worker_id}"
    if now.worker_name:
        worker = f"{now.worker_name} ({worker})"
    if now.worker_lost:
        silence = f" for {duration(now.worker_silent_for)}" if now.worker_silent_for else ""
        text = f"Nothing heard{silence} from {worker}: the job will be taken back."
        return Explanation("worker_lost", text)
    if job.cancel_requested_at is not None:
        return Explanation("cancel_requested", f"It runs on {worker} and was asked to stop.")
    return Explanation("running", f"It runs on {worker}.")
