from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pgtask.model.explanation import Circumstances, explain
from pgtask.model.job import JobRecord

NOW = datetime.now(UTC)

JOB = JobRecord(
    id=1,
    task="echo",
    queue="mail",
    payload={},
    priority=1,
    status="pending",
    attempt=0,
    retry_count=0,
    crash_count=0,
    max_retries=None,
    retry_strategy=None,
    retry_delay=None,
    max_retry_delay=None,
    timeout=None,
    unique_key=None,
    tags=None,
    traceparent=None,
    created_at=NOW,
    scheduled_at=NOW,
    started_at=None,
    finished_at=None,
    worker_id=None,
    executor=None,
    progress=None,
    progress_message=None,
    cancel_requested_at=None,
    outcome=None,
    result=None,
    error_type=None,
    error=None,
    traceback=None,
)
CALM = Circumstances(
    suspect=False,
    due_in=-5,
    queue_paused_by=None,
    queue_paused_for=None,
    live_workers=1,
    queue_workers=1,
    task_known=True,
    worker_name=None,
    worker_silent_for=None,
    worker_lost=True,
    jobs_ahead=0,
)


@pytest.mark.parametrize(
    ("job", "circumstances", "reason", "text"),
    [
        ({}, {}, "next", "It is next in queue mail."),
        ({}, {"jobs_ahead": 1}, "jobs_ahead", "1 job is ahead of it in queue mail."),
        ({}, {"jobs_ahead": 1284}, "jobs_ahead", "1,284 jobs are ahead of it in queue mail."),
        ({}, {"jobs_ahead": 20002}, "jobs_ahead", "10,000+ jobs are ahead of it in queue mail."),
        ({}, {"task_known": False}, "task_unknown", "No live worker knows task echo."),
        ({}, {"queue_workers": 0}, "queue_unserved", "No live worker serves queue mail."),
        ({}, {"live_workers": 0}, "no_worker", "No worker is alive."),
        (
            {},
            {"suspect": True, "jobs_ahead": 3},
            "suspect",
            "It was running when its process died, and will next run in a process of its own.",
        ),
        ({}, {"suspect": True, "task_known": False}, "task_unknown", "No live worker knows task echo."),
        ({}, {"suspect": True, "due_in": 42}, "not_due", "It is due in 42 s."),
        ({"status": "scheduled"}, {"due_in": 7200, "live_workers": 0}, "not_due", "It is due in 2 h."),
        (
            {"status": "retrying", "retry_count": 2, "max_retries": 3},
            {"due_in": 42},
            "retry_not_due",
            "Retry 2 of 3 is due in 42 s.",
        ),
        (
            {"status": "retrying", "retry_count": 2, "max_retries": -1},
            {"due_in": 42},
            "retry_not_due",
            "Retry 2 is due in 42 s.",
        ),
        (
            {},
            {"queue_paused_for": 10800, "queue_paused_by": "dana", "due_in": 9},
            "queue_paused",
            "Queue mail has been paused for 3 h by dana.",
        ),
        ({}, {"queue_paused_for": 60}, "queue_paused", "Queue mail has been paused for 1 m."),
        (
            {"status": "running", "worker_id": 3},
            {"worker_name": "web-1", "worker_lost": False},
            "running",
            "It runs on web-1 (worker 3).",
        ),
        (
            {"status": "running", "worker_id": 3, "cancel_requested_at": NOW},
            {"worker_name": "web-1", "worker_lost": False},
            "cancel_requested",
            "It runs on web-1 (worker 3) and was asked to stop.",
        ),
        (
            {"status": "running", "worker_id": 3},
            {"worker_name": "web-1", "worker_silent_for": 95},
            "worker_lost",
            "Nothing heard for 1 m 35 s from web-1 (worker 3): the job will be taken back.",
        ),
        (
            {"status": "running", "worker_id": 3},
            {},
            "worker_lost",
            "Nothing heard from worker 3: the job will be taken back.",
        ),
    ],
)
def test_the_sentence_that_matters_most(
    job: dict[str, object], circumstances: dict[str, object], reason: str, text: str
) -> None:
    found = explain(replace(JOB, **job), replace(CALM, **circumstances))  # type: ignore[arg-type]
    assert found == (reason, text)
