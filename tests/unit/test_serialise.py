from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

from pgtask.model.job import JobRecord
from pgtask.model.serialise import instant_as_text, job_as_json, page_as_json, statistics_as_json
from pgtask.model.statistics import Statistics, Tally, total

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


def test_a_job_begins_with_the_fields_that_the_api_promises() -> None:
    answer = job_as_json(replace(JOB, task="mail.send", payload={"to": "a"}, result=[1]))
    assert list(answer)[:17] == [
        "id",
        "task",
        "type",
        "queue",
        "payload",
        "priority",
        "status",
        "progress",
        "attempt",
        "retry_count",
        "max_retries",
        "created_at",
        "scheduled_at",
        "started_at",
        "finished_at",
        "result",
        "error",
    ]
    assert set(answer) == {field.name for field in fields(JobRecord)} | {"type"}
    assert (answer["task"], answer["type"]) == ("mail.send", "mail.send")
    assert (answer["payload"], answer["result"]) == ({"to": "a"}, [1])


def test_instants_are_rfc_3339_in_utc() -> None:
    vienna = timezone(timedelta(hours=1))
    assert instant_as_text(datetime(2026, 1, 2, 3, 4, 5, tzinfo=vienna)) == "2026-01-02T02:04:05Z"
    assert instant_as_text(datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)) == "2026-01-02T03:04:05.678901Z"


def test_a_page_says_where_to_go_on() -> None:
    assert page_as_json([1]) == {"items": [1], "next_cursor": None}
    assert page_as_json([1], "1")["next_cursor"] == "1"


def test_tallies_add_up() -> None:
    one = Tally(completed=3, failed=1, run_seconds=8, max_run_seconds=5, lost=1)
    both = total([one, Tally(completed=1, retried=3, run_seconds=2, max_run_seconds=1)])
    assert (both.attempts, both.run_seconds, both.max_run_seconds, both.lost) == (8, 10, 5, 1)
    assert (both.error_rate, both.average_run) == (0.5, 1.25)
    assert (Tally().error_rate, Tally().average_run, Tally().average_wait) == (None, None, None)


def test_statistics_carry_what_follows_from_them() -> None:
    tally = Tally(completed=3, failed=1, run_seconds=8)
    answer = statistics_as_json(Statistics(window=60, total=tally, by_queue={"q": tally}, by_task={}, timeline=[]))
    assert answer["window_seconds"] == 60
    assert answer["by_queue"]["q"] == answer["total"]
    assert answer["total"]["attempts_per_second"] == 4 / 60
    assert answer["total"]["error_rate"] == 0.25
    assert answer["total"]["average_run_seconds"] == 2
