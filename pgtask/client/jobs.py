"""Jobs over REST."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pgtask.client.listing import all_of
from pgtask.client.records import record
from pgtask.client.transport import Transport, path_to
from pgtask.model.answer import Answer
from pgtask.model.dead_letter import Aftermath
from pgtask.model.enqueued import EnqueuedByName
from pgtask.model.errors import JobFailedError, JobNotFoundError, NotAllowedError
from pgtask.model.explanation import NOT_FOUND, Reason
from pgtask.model.job import JobRecord
from pgtask.model.job_filter import JobFilter, Sort
from pgtask.model.listing import JobCount, JobDetails, JobPage
from pgtask.model.operations import MOST_IDS
from pgtask.model.payload import encode
from pgtask.model.rate import Rate
from pgtask.model.run import LogLine, RunRecord
from pgtask.model.search import write_search
from pgtask.model.status import JobStatus

LONGEST_WAIT = 30.0
"""Seconds for which one request waits for the end of a job."""

_NEVER = 2**62
"""An id that no job has."""


class JobCalls:
    """Enqueueing, finding and changing jobs. See pgtask.model.operations."""

    _transport: Transport

    def enqueue(
        self,
        task: str,
        payload: Mapping[str, Any] | None = None,
        *,
        priority: int | str | None = None,
        scheduled_at: datetime | None = None,
        tags: Iterable[str] = (),
        unique_by: Iterable[str] | None = None,
        **options: Any,
    ) -> EnqueuedByName:
        """Enqueues a job, once, however often it has to be tried; its `id`, and whether it was `created`.

        `options` are those of POST /jobs: queue, delay, max_retries, timeout, unique_key, … Durations are seconds, or
        text such as "5m". Raises PayloadError, QueueFull, UniqueConflictError where `on_conflict` is "error".
        """
        body = {name: value for name, value in options.items() if value is not None}
        body |= {"task": task} | ({} if priority is None else {"priority": priority})
        if scheduled_at is not None:
            body["scheduled_at"] = scheduled_at.astimezone().isoformat()
        if tuple(tags):
            body["tags"] = list(tags)
        if unique_by is not None:
            body["unique_by"] = list(unique_by)
        text = f'{json.dumps(body)[:-1]}, "payload": {encode(payload or {})}}}'
        made = self._transport.post("/jobs", text)
        return EnqueuedByName(made["id"], made["answer"])

    def may_read_jobs(self) -> bool:
        """Whether the token may read jobs; one that only enqueues may not."""
        try:
            self.read_job(_NEVER)
        except JobNotFoundError:
            return True
        except NotAllowedError:
            return False
        return True

    def read_job(self, job_id: int) -> JobRecord:
        """One job. Raises JobNotFoundError."""
        return record(JobRecord, self._transport.get(path_to("jobs", job_id)))

    def wait(self, job_id: int, timeout: float | None = None) -> Any:
        """Waits until a job has ended and returns its result.

        Raises JobFailedError when it ended otherwise than completed, TimeoutError after `timeout` seconds.
        """
        job = self.await_job(job_id, timeout)
        if not JobStatus(job.status).final:
            raise TimeoutError(f"Job {job_id} has not ended yet: it is {job.status}.")
        if job.status != JobStatus.COMPLETED:
            raise JobFailedError(job_id, job.status, job.error)
        return job.result

    def await_job(self, job_id: int, timeout: float | None) -> JobRecord:
        """The job when it has ended, or as it is after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.05
        while True:
            left = LONGEST_WAIT if deadline is None else max(0.0, min(LONGEST_WAIT, deadline - time.monotonic()))
            begun = time.monotonic()
            found = self._transport.get(path_to("jobs", job_id), {"wait": f"{left:.3f}"}, wait=left)
            job = record(JobRecord, found)
            now = time.monotonic()
            if JobStatus(job.status).final or (deadline is not None and now >= deadline):
                return job
            if now - begun < min(left, pause):
                # A server with too many who wait answers at once.
                time.sleep(pause if deadline is None else max(0.0, min(pause, deadline - now)))
                pause = min(2 * pause, 1.0)

    def list_jobs(
        self,
        wanted: JobFilter | None = None,
        *,
        status: str | Iterable[str] = (),
        queue: str | None = None,
        task: str | None = None,
        tag: str | None = None,
        sort: Sort = Sort.NEWEST,
        before: int | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> JobPage:
        """The first `limit` jobs that match: after a cursor or, newest first, of those with ids below `before`.

        What they must have in common is said by a filter or by the names of what it holds.
        """
        if wanted is None:
            statuses = (status,) if isinstance(status, str) else status
            wanted = JobFilter(statuses=frozenset(map(JobStatus, statuses)), queue=queue, task=task, tag=tag)
        found = self._page(wanted, cursor or before, limit, include="payload,result,traceback", sort=sort.value)
        following = found["next_cursor"]
        return JobPage([record(JobRecord, job) for job in found["items"]], following is not None, following)

    def show_job(self, job_id: int) -> JobDetails:
        """All there is about a job. Raises JobNotFoundError."""
        job = self.read_job(job_id)
        aftermath = self._transport.get(path_to("jobs", job_id, "aftermath")) if JobStatus(job.status).final else None
        return JobDetails(
            job=job,
            runs=self.list_runs(job_id),
            logs=self.list_logs(job_id),
            explanation=self.explain_job(job_id),
            aftermath=aftermath and record(Aftermath, aftermath),
        )

    def list_runs(self, job_id: int) -> list[RunRecord]:
        """The latest runs of a job, oldest first."""
        return all_of(self._transport, path_to("jobs", job_id, "runs"), RunRecord)[-100:]

    def list_logs(self, job_id: int) -> list[LogLine]:
        """The latest log lines of a job, oldest first."""
        return all_of(self._transport, path_to("jobs", job_id, "logs"), LogLine)[-1000:]

    def explain_job(self, job_id: int) -> list[Reason]:
        """Why a job waits, runs or has ended as it did; never empty, whatever the id."""
        try:
            found = self._transport.get(path_to("jobs", job_id, "explain"))
            return [record(Reason, reason) for reason in found["items"]]
        except JobNotFoundError as error:
            return [Reason(position=1, code=NOT_FOUND, blocking=False, text=str(error), details={})]

    def edit_job(self, job_id: int, changes: Mapping[str, Any]) -> JobRecord:
        """Changes a job that waits; `payload` is the text of a JSON object."""
        body = {name: _plain(value) for name, value in changes.items() if name != "payload"}
        if "payload" in changes:
            body["payload"] = json.loads(changes["payload"])
        return record(JobRecord, self._transport.patch(path_to("jobs", job_id), body))

    def run_job_now(self, job_id: int) -> JobRecord:
        """Makes a job that waits due now."""
        return record(JobRecord, self._transport.post(path_to("jobs", job_id, "run-now")))

    def count_jobs(self, wanted: JobFilter) -> JobCount:
        """How many jobs match, as far as the server counts."""
        found = self._page(wanted, None, 1, count="capped")
        newest = found["items"][0]["id"] if found["items"] else 0
        return JobCount(found["count"], found["count_exact"], newest)

    def job_batches(self, wanted: JobFilter, newest: int) -> Iterator[list[int]]:
        """The ids of the jobs that match, newest first from `newest` on, batch by batch."""
        return self._pages(wanted, newest + 1)

    def cancel_jobs(self, ids: Sequence[int]) -> list[Answer]:
        """Cancels jobs."""
        return self._act("/jobs/cancel", ids)

    def retry_jobs(self, ids: Sequence[int], *, rate: Rate | None = None, delay: float | None = None) -> list[Answer]:
        """Puts ended jobs back; with a rate, those of one call become due one by one, the first after `delay` s."""
        paced = {} if rate is None else {"rate": str(rate), "delay": delay}
        return self._act("/jobs/retry", ids, **paced)

    def delete_jobs(self, ids: Sequence[int]) -> list[Answer]:
        """Deletes jobs with their runs and logs."""
        return self._act("/jobs/delete", ids)

    def _act(self, path: str, ids: Sequence[int], **more: Any) -> list[Answer]:
        answers: list[Answer] = []
        for start in range(0, len(ids), MOST_IDS):
            body = {"ids": list(ids[start : start + MOST_IDS])} | more
            answers += [Answer(**answer) for answer in self._transport.post(path, body)["items"]]
        return answers

    def _pages(self, wanted: JobFilter, before: int | None) -> Iterator[list[int]]:
        while True:
            found = self._page(wanted, before, MOST_IDS)
            ids = [job["id"] for job in found["items"]]
            if ids:
                yield ids
            if found["next_cursor"] is None:
                return
            before = ids[-1]

    def _page(self, wanted: JobFilter, cursor: int | str | None, limit: int, **more: str) -> Any:
        query = {"q": write_search(wanted) or None, "limit": limit, "cursor": cursor} | more
        return self._transport.get("/jobs", query)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone().isoformat()
    return list(value) if isinstance(value, tuple) else value
