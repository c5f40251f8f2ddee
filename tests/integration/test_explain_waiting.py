"""Why a pending job waits: one test for each rule by which jobs are claimed, and for what comes first of several."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.command_line import add_live_worker, add_run
from tests.reasons import add_limit, codes, headline, reason, reasons
from tests.rows import Connection, add_row, ago, insert

IN_A_MINUTE = sql.SQL("now() + interval '1 minute'")
SPAN = r"\d+ (?:µs|ms|s|m|h)(?: \d+ s)?"


@pytest.fixture
def connection(standing_connection: Connection) -> Connection:
    """No time passes, so that what is told of an instant is exact."""
    return standing_connection


def add_able_worker(connection: Connection, name: str = "web-1", **columns: Any) -> int:
    """A live worker that serves all queues, knows task t and has free slots."""
    return add_live_worker(connection, name, **{"tasks": ["t"], **columns})


def add_job(connection: Connection, **columns: Any) -> int:
    """A job of task t in queue mail, due a moment ago."""
    return insert(connection, "t", **{"queue": "mail", "scheduled_at": ago(0.5), **columns})[0]


# Nothing in the way


def test_a_job_that_nothing_holds_is_next(connection: Connection) -> None:
    add_able_worker(connection)
    id = add_job(connection)

    (found,) = reasons(connection, id)

    assert (found.code, found.blocking) == ("next", False)
    assert found.text == "It is next in queue mail and should start within a second or so."


def test_a_job_that_nothing_holds_but_that_waits_long_sends_to_the_logs(connection: Connection) -> None:
    add_able_worker(connection)
    id = add_job(connection, scheduled_at=ago(185))

    assert headline(connection, id).text == (
        "Nothing that pgtask can see stands in its way, yet it has been due for 3 m 5 s. "
        "Look into the logs of the workers: pgtask workers list"
    )


# What was decided


@pytest.mark.parametrize(("by", "said"), [("dana", " by dana"), (None, "")])
def test_a_paused_queue(connection: Connection, by: str | None, said: str) -> None:
    add_able_worker(connection)
    id = add_job(connection, queue="q one")
    add_row(connection, "queues", name="q one", paused_at=ago(3 * 3600), paused_by=by)

    found = headline(connection, id)

    assert (found.code, found.blocking) == ("queue_paused", True)
    assert found.text == f"Queue q one has been paused for 3 h{said}. Resume it: pgtask queues resume 'q one'"
    assert found.details["paused_by"] == by
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found.details["paused_at"])


def test_a_job_that_is_not_due(connection: Connection) -> None:
    id = add_job(connection, scheduled_at=ago(-7200))

    found = headline(connection, id)

    assert (found.code, found.blocking) == ("not_due", True)
    assert re.fullmatch(r"It is not due yet: due in 2 h, at (\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d \w+\.", found.text)
    assert found.details["due_in_seconds"] == pytest.approx(7200, abs=5)


def test_a_retry_that_is_not_due_names_the_failure_before(connection: Connection) -> None:
    add_row(connection, "queues", name="mail", max_retries=7)
    id = add_job(connection, scheduled_at=ago(-42), retry_count=2, attempt=3)
    add_run(connection, id, None, attempt=2, error_type="ValueError", error="bad\nvalue", finished_at=ago(20))
    add_run(connection, id, None, attempt=3, outcome="lost", error="Its worker died.", finished_at=ago(10))

    found = headline(connection, id)

    assert found.code == "retry_not_due"
    assert re.match(r"Retry 2 of 7 is due in 4\d s, at .*\. Attempt 2 ended with: ValueError: bad\.$", found.text)
    connection.execute("UPDATE pgtask.jobs SET max_retries = -1")
    assert headline(connection, id).text.startswith("Retry 2, of any number, is due in 4")


def test_a_retry_of_which_no_run_is_left(connection: Connection) -> None:
    id = add_job(connection, scheduled_at=ago(-42), retry_count=1, attempt=1)

    assert re.fullmatch(r"Retry 1 of 3 is due in 4\d s, at [^.]*\.", headline(connection, id).text)


def test_a_snoozed_job(connection: Connection) -> None:
    id = add_job(connection, scheduled_at=ago(-42), retry_count=1, attempt=2)
    add_run(connection, id, None, attempt=1, error="bad", finished_at=ago(20))
    add_run(connection, id, None, attempt=2, outcome="snoozed", finished_at=ago(10))

    found = headline(connection, id)

    assert (found.code, found.blocking) == ("snoozed", True)
    assert found.text.startswith("Its handler put it off (snoozed): it is due in 4")


def test_a_retry_that_a_retry_budget_postponed(connection: Connection) -> None:
    id = add_job(connection, scheduled_at=ago(-600), retry_count=1, attempt=1)
    add_run(connection, id, None, attempt=1, error="bad", finished_at=ago(1))
    assert "retry_budget" not in codes(connection, id)
    add_row(connection, "queues", name="mail", retry_budget=0.2)

    assert codes(connection, id)[:2] == ["retry_not_due", "retry_budget"]
    assert re.fullmatch(
        r"That is later than its backoff of at most 1[67] s: retries of queue mail are held to 20 % of its starts .*",
        reason(connection, id, "retry_budget").text,
    )
    connection.execute("UPDATE pgtask.jobs SET scheduled_at = now() + interval '16 s'")
    assert "retry_budget" not in codes(connection, id)


def test_a_job_whose_start_by_is_over(connection: Connection) -> None:
    add_able_worker(connection)
    id = add_job(connection, start_by=ago(180))
    add_row(connection, "queues", name="mail", paused_at=ago(60))

    found = headline(connection, id)

    assert (found.code, found.blocking) == ("expired", True)
    assert found.text.startswith("Its time to start ran out 3 m ago, at ")


def test_a_start_by_ahead_says_how_long_is_left(connection: Connection) -> None:
    add_able_worker(connection)
    id = add_job(connection, start_by=ago(-240))

    assert codes(connection, id) == ["next", "start_by"]
    found = reason(connection, id, "start_by")
    assert not found.blocking
    assert re.match(r"It must start within (4 m|3 m 59 s), by .* \(start_by\), else it is cancelled", found.text)


def test_a_job_due_only_after_its_start_by_will_not_run(connection: Connection) -> None:
    id = add_job(connection, start_by=ago(-60), scheduled_at=ago(-120))

    assert codes(connection, id, blocking=True)[:2] == ["start_by", "not_due"]
    assert "too late: it will not run" in headline(connection, id).text


def test_a_suspect_runs_alone_next(connection: Connection) -> None:
    add_able_worker(connection)
    id = add_job(connection, suspect=True)

    found = headline(connection, id)

    assert (found.code, found.blocking) == ("suspect", True)
    assert "It next runs alone in a process of its own" in found.text


def test_a_row_that_a_session_holds_locked(connection: Connection, database: str) -> None:
    add_able_worker(connection)
    id = add_job(connection)
    connection.commit()
    with psycopg.connect(database, application_name="forgotten psql") as other:
        other.execute("SELECT FROM pgtask.jobs WHERE id = %s FOR UPDATE", [id])

        found = headline(connection, id)

        assert (found.code, found.blocking) == ("row_locked", True)
        pid = other.info.backend_pid
        assert re.match(
            rf"Session {pid} of \w+ \(forgotten psql\) holds its row locked, in a transaction of ", found.text
        )
        assert found.text.endswith(f"SELECT pg_terminate_backend({pid})")
    connection.commit()
    assert codes(connection, id) == ["next"]


# Who could run it


def test_no_worker_at_all(connection: Connection) -> None:
    id = add_job(connection)

    found = headline(connection, id)

    assert (found.code, found.blocking) == ("no_worker", True)
    assert found.text == "No worker is alive. Start one: pgtask worker"


@pytest.mark.parametrize(
    ("columns", "fate"),
    [
        ({"expires_at": ago(60), "heartbeat_at": ago(90)}, r"was last heard of 1 m 30 s ago, at .*"),
        (
            {"expires_at": ago(60), "heartbeat_at": ago(90), "dead_at": ago(30)},
            r"was last heard of 1 m 30 s ago, at .*",
        ),
        ({"expires_at": ago(60), "dead_at": ago(60)}, "shut down 1 m ago"),
    ],
)
def test_no_worker_names_the_last_one(connection: Connection, columns: dict[str, Any], fate: str) -> None:
    worker = add_able_worker(connection, host="alpha", **columns)
    add_live_worker(connection, "scheduler", slots=0)
    id = add_job(connection)

    found = headline(connection, id)

    assert found.code == "no_worker"
    last = rf"The last one, web-1 \(worker {worker}\) on alpha, {fate}\."
    assert re.fullmatch(rf"No worker is alive\. {last} Start one: pgtask worker", found.text)
    assert found.details["last_worker_id"] == worker


def test_a_queue_that_no_worker_serves(connection: Connection) -> None:
    add_able_worker(connection, queues=["reports"])
    id = add_job(connection)

    found = headline(connection, id)

    assert (found.code, found.blocking) == ("queue_unserved", True)
    assert found.text == (
        "No live worker serves queue mail, only others such as reports. Start one: pgtask worker --queues mail"
    )
    add_able_worker(connection, "old", queues=["mail"], dead_at=ago(60), expires_at=ago(60))
    assert "The last that did, old (worker 2) on h, shut down 1 m ago." in headline(connection, id).text


def test_a_task_that_nobody_ever_registered(connection: Connection) -> None:
    add_live_worker(connection)
    id = add_job(connection)

    found = headline(connection, id)

    assert (found.code, found.blocking) == ("task_unknown", True)
    assert found.text == "No worker has ever registered task t. Is its name right? Look: pgtask tasks list"


def test_a_task_that_only_a_dead_worker_registered(connection: Connection) -> None:
    """The other one began before the task was registered, which alone would say that it may know it."""
    add_live_worker(connection, "web-2", tasks=["other"], started_at=ago(7200))
    old = add_able_worker(
        connection, started_at=ago(3700), expires_at=ago(600), heartbeat_at=ago(630), dead_at=ago(590)
    )
    add_row(connection, "tasks", name="t", last_seen_at=ago(3600))
    id = add_job(connection)

    found = headline(connection, id)

    assert found.code == "task_unknown"
    assert re.fullmatch(
        rf"No live worker knows task t: it was last registered 1 h ago, and web-1 \(worker {old}\) on h, which knew "
        r"it, was last heard of 10 m 30 s ago, at .*\. Deploy its code again, or look: pgtask tasks list",
        found.text,
    )


def test_a_task_that_is_known_only_where_the_queue_is_not_served(connection: Connection) -> None:
    add_live_worker(connection, "web-2", tasks=["other"])
    able = add_able_worker(connection, queues=["reports"])
    id = add_job(connection)

    assert headline(connection, id).text == (
        f"Task t is known to web-1 (worker {able}), but not to a worker that serves queue mail. "
        "Have one of those serve it: pgtask worker --queues mail"
    )


def test_a_worker_that_has_not_told_its_tasks_counts_as_knowing_what_was_registered_since(
    connection: Connection,
) -> None:
    add_live_worker(connection, started_at=ago(60))
    add_row(connection, "tasks", name="t", last_seen_at=ago(30))
    id = add_job(connection)
    assert headline(connection, id).code == "next"

    connection.execute("UPDATE pgtask.tasks SET last_seen_at = now() - interval '2 minutes'")
    assert headline(connection, id).code == "task_unknown"


def test_workers_that_shut_down_or_are_quiet_take_no_jobs(connection: Connection) -> None:
    stopping = add_able_worker(connection, stopping_at=ago(40))
    id = add_job(connection)

    found = headline(connection, id)
    assert (found.code, found.blocking) == ("workers_stopping", True)
    assert found.text == (
        f"No worker takes jobs of queue mail now: web-1 (worker {stopping}) has been shutting down for 40 s. "
        "Start another: pgtask worker"
    )

    quiet = add_able_worker(connection, "web-2", quiet_at=ago(60))
    found = headline(connection, id)
    assert found.code == "workers_quiet"
    assert f"and web-2 (worker {quiet}) has been told to take no jobs (TSTP) for 1 m. Send it CONT" in found.text

    add_able_worker(connection, "web-3")
    assert codes(connection, id) == ["next", "workers_quiet"]
    assert not reason(connection, id, "workers_quiet").blocking


def test_all_slots_are_busy(connection: Connection) -> None:
    add_able_worker(connection, slots=1, running=1, heartbeat_at=ago(4))
    add_able_worker(connection, "web-2", slots=19, running=18, heartbeat_at=ago(4))
    add_live_worker(connection, "idle, but knows nothing", slots=50)
    id = add_job(connection)
    assert headline(connection, id).code == "next"
    connection.execute("UPDATE pgtask.workers SET running = 19 WHERE name = 'web-2'")

    found = headline(connection, id)

    assert (found.code, found.blocking) == ("slots_busy", True)
    assert re.fullmatch(
        r"All 20 slots of web-1 \(worker 1\) and web-2 \(worker 2\) are busy \(as of 4(\.\d)? s ago\)\. "
        r"It waits until a job ends\. For more room start another worker: pgtask worker",
        found.text,
    )


# Limits


def test_a_queue_that_runs_as_many_as_it_may(connection: Connection) -> None:
    add_able_worker(connection)
    id = add_job(connection)
    add_row(connection, "queues", name="mail", max_workers=12)
    assert headline(connection, id).code == "next"
    add_limit(connection, scope="queue", name="mail", used=11)
    for holder in range(81, 93):
        add_row(connection, "limit_holds", job_id=holder, attempt=1, in_queue=True, queue="mail")
    assert headline(connection, id).code == "next"
    connection.execute("UPDATE pgtask.limits SET used = 12")

    found = headline(connection, id)

    assert (found.code, found.blocking) == ("queue_full", True)
    assert found.text == (
        "Queue mail runs as many jobs as it may, 12 of 12: jobs 81, 82, 83, 84, 85, 86, 87, 88, 89, 90 and 2 more. "
        "It waits until one ends. To allow more: pgtask queues set mail --max-workers N"
    )
    assert found.details["job_ids"] == list(range(81, 91))


def test_a_queue_that_may_run_none(connection: Connection) -> None:
    add_able_worker(connection)
    id = add_job(connection, scheduled_at=ago(-60))
    add_row(connection, "queues", name="mail", max_workers=0)

    assert codes(connection, id) == ["queue_full", "not_due"]
    assert "its max_workers is 0" in headline(connection, id).text


def test_a_concurrency_key_that_other_jobs_hold(connection: Connection) -> None:
    add_able_worker(connection)
    before = add_job(connection, concurrency_key="customer:42", scheduled_at=ago(5))
    id = add_job(connection, concurrency_key="customer:42")
    add_row(connection, "queues", name="mail", max_workers_per_key=2)
    add_limit(connection, scope="key", name="mail", key="customer:42", used=1)
    add_row(
        connection, "limit_holds", job_id=81, attempt=1, in_queue=False, queue="mail", concurrency_key="customer:42"
    )
    assert "key_held" not in codes(connection, id)
    connection.execute("UPDATE pgtask.limits SET used = 2")
    add_row(
        connection, "limit_holds", job_id=90, attempt=2, in_queue=False, queue="mail", concurrency_key="customer:42"
    )

    found = headline(connection, id)

    assert (found.code, found.blocking) == ("key_held", True)
    assert found.text == (
        "Concurrency key customer:42 is held by jobs 81 and 90; queue mail lets 2 jobs of a key run at once. "
        "With this key 1 more job is ahead of it."
    )
    assert "With this key" not in headline(connection, before).text
    other = add_job(connection, concurrency_key="customer:43")
    assert "key_held" not in codes(connection, other)


def test_a_key_of_a_queue_without_settings_is_held_by_one_job(connection: Connection) -> None:
    add_able_worker(connection)
    id = add_job(connection, concurrency_key="k")
    add_limit(connection, scope="key", name="mail", key="k", used=1)

    assert headline(connection, id).text == (
        "Concurrency key k is held by 1 job; queue mail lets 1 job of a key run at once."
    )


RATE = {"rate_limit": 60, "rate_period": 60.0, "rate_burst": 5}


@pytest.mark.parametrize(
    ("scope", "table", "name", "ahead", "wait"),
    [
        # T is 1 s and B is 5: a start is allowed while free_at lies no more than 4 s ahead.
        ("queue", "queues", "mail", 3.5, None),
        ("queue", "queues", "mail", 14.0, 10),
        ("task", "tasks", "t", 3.5, None),
        ("task", "tasks", "t", 14.0, 10),
    ],
)
def test_a_rate_that_is_used_up(
    connection: Connection, scope: str, table: str, name: str, ahead: float, wait: float | None
) -> None:
    add_able_worker(connection)
    id = add_job(connection)
    add_row(connection, table, name=name, **RATE)
    add_limit(connection, scope=scope, name=name, free_at=ago(-ahead))

    found = headline(connection, id)

    if wait is None:
        assert found.code == "next"
        return
    assert (found.code, found.blocking) == ("rate_limited", True)
    assert re.fullmatch(
        rf"The rate of {scope} {name} is used up: 60 starts in 1 m\. The next may start in (10|9\.\d) s\.", found.text
    )
    assert found.details["next_start_in_seconds"] == pytest.approx(wait, abs=1)
    assert codes(connection, id) == ["rate_limited", "next", "estimated_start"]
    add_job(connection, scheduled_at=ago(9))
    # One start later, as the other one comes first.
    assert reason(connection, id, "estimated_start").details["in_seconds"] == pytest.approx(wait + 1, abs=1)


def test_a_rate_that_was_never_used_holds_nothing(connection: Connection) -> None:
    add_able_worker(connection)
    id = add_job(connection)
    add_row(connection, "queues", name="mail", **RATE)
    add_limit(connection, scope="queue", name="mail")

    assert codes(connection, id) == ["next"]


def test_an_open_circuit(connection: Connection) -> None:
    add_able_worker(connection)
    id = add_job(connection)
    add_row(
        connection,
        "circuits",
        task="t",
        state="open",
        changed_at=ago(180),
        reason="5 failures in a row.",
        hold_until=ago(-20),
    )

    found = headline(connection, id)

    assert (found.code, found.blocking) == ("circuit_open", True)
    assert re.fullmatch(
        "The circuit of task t has been open for 3 m: 5 failures in a row, so none of its jobs starts, and none is "
        r"charged\. One job may try in (20|19|1\d\.\d) s, at .*\. Close it sooner: pgtask tasks close t",
        found.text,
    )
    connection.execute("UPDATE pgtask.circuits SET state = 'closed'")
    assert codes(connection, id) == ["next"]


def test_a_circuit_that_may_be_probed_does_not_block(connection: Connection) -> None:
    add_able_worker(connection)
    id = add_job(connection)
    add_row(connection, "circuits", task="t", state="open", hold_until=ago(1))

    found = headline(connection, id)

    assert (found.code, found.blocking) == ("circuit_open", False)
    assert "which may be this one, tries whether it works again" in found.text


def test_a_circuit_opened_by_hand_outranks_the_due_time(connection: Connection) -> None:
    id = add_job(connection, scheduled_at=ago(-60))
    add_row(
        connection, "circuits", task="t", state="open", changed_at=ago(60), changed_by="dana", reason="provider down"
    )

    found = headline(connection, id)

    assert found.code == "circuit_open"
    assert "open for 1 m (by dana): provider down, so none" in found.text
    assert found.text.endswith("It stays open until somebody closes it: pgtask tasks close t")


def test_a_half_open_circuit_names_its_probe(connection: Connection) -> None:
    add_able_worker(connection)
    id = add_job(connection)
    add_row(connection, "circuits", task="t", state="half_open", probe_job_id=81, probe_attempt=2)

    found = headline(connection, id)

    assert (found.code, found.blocking) == ("circuit_half_open", True)
    assert "half open: job 81 tries whether it works again" in found.text


# Whose turn it is


def test_jobs_ahead_by_lane(connection: Connection) -> None:
    add_able_worker(connection)
    urgent = insert(connection, "t", queue="mail", priority=3, count=4, scheduled_at=ago(1))
    insert(connection, "t", queue="mail", priority=3, scheduled_at=ago(-60))
    insert(connection, "t", queue="mail", priority=0, scheduled_at=ago(5))
    insert(connection, "t", queue="mail", priority=1, status="running", scheduled_at=ago(5))
    before, id, after = insert(connection, "t", queue="mail", count=3, scheduled_at=ago(0.5))

    found = headline(connection, id)

    assert (found.code, found.blocking) == ("jobs_ahead", False)
    assert found.text == (
        "5 jobs of queue mail are ahead of it: 4 of priority critical and 1 of its own priority normal."
    )
    assert found.details["lanes"] == [{"priority": 3, "lift": 0, "jobs": 4}, {"priority": 1, "lift": 0, "jobs": 1}]
    assert [reason(connection, job, "jobs_ahead").details["jobs"] for job in (before, after)] == [4, 6]
    assert headline(connection, urgent[0]).code == "next"
    assert headline(connection, urgent[1]).text == "1 job of queue mail is ahead of it."


def test_ageing_lifts_a_lane_above_another(connection: Connection) -> None:
    add_able_worker(connection)
    low = add_job(connection, priority=0, scheduled_at=ago(130))
    high = add_job(connection, priority=1)

    assert codes(connection, low) == ["next", "ageing"]
    assert reason(connection, low, "ageing").text == (
        "Its priority 0 counts as 2, because a job of that priority has waited for 2 m 10 s (ageing)."
    )
    assert headline(connection, high).text == "1 job of queue mail is ahead of it, of priority low, lifted by 2."
    connection.execute("UPDATE pgtask.settings SET value = '0' WHERE name = 'ageing_step'")
    assert codes(connection, low)[:1] == ["jobs_ahead"]
    assert "ageing" not in codes(connection, low)
    assert headline(connection, high).code == "next"


def test_jobs_ahead_are_counted_up_to_a_cap(connection: Connection) -> None:
    add_able_worker(connection, running=20)
    insert(connection, "t", queue="mail", count=6_000, priority=2, scheduled_at=ago(1))
    id = insert(connection, "t", queue="mail", count=6_000, scheduled_at=ago(0.5))[-1]

    found = reason(connection, id, "jobs_ahead")

    assert found.text.startswith("10,000+ jobs of queue mail are ahead of it: 6,000 of priority high and ")
    assert (found.details["jobs"], found.details["exact"]) == (10_000, False)


def test_queues_of_higher_priority_come_first_and_equal_ones_share(connection: Connection) -> None:
    add_able_worker(connection, queues=["mail", "vip", "bulk", "held", "none due"])
    id = add_job(connection)
    add_row(connection, "queues", name="vip", priority=5)
    add_row(connection, "queues", name="held", priority=9, paused_at=ago(1))
    add_row(connection, "queues", name="bulk", weight=3)
    add_row(connection, "queues", name="below", priority=-1)
    for queue in ("vip", "held", "bulk", "below", "served by nobody"):
        insert(connection, "t", queue=queue, count=2)
    insert(connection, "t", queue="none due", scheduled_at=ago(-60))

    assert codes(connection, id) == ["next", "queues_ahead", "queues_sharing"]
    assert reason(connection, id, "queues_ahead").text == (
        "Its workers serve queue vip (priority 5) first: 2 jobs that are due wait there."
    )
    assert reason(connection, id, "queues_sharing").text == (
        "Queue mail (weight 1) shares its workers with bulk (weight 3)."
    )


# When it should start


def ended(connection: Connection, minutes_ago: int, number: int, queue: str = "mail") -> None:
    """So many jobs ended in a minute of the statistics."""
    minute = sql.SQL("date_trunc('minute', now()) - make_interval(mins => {})").format(sql.Literal(minutes_ago))
    add_row(connection, "stats_minute", minute=minute, queue=queue, task="t", completed=number)


def test_the_estimated_start_follows_from_the_pace(connection: Connection) -> None:
    add_able_worker(connection, running=20)
    insert(connection, "t", queue="mail", count=9, scheduled_at=ago(5))
    id = add_job(connection)
    ended(connection, 1, 50)
    ended(connection, 3, 70)
    ended(connection, 2, 900, queue="other")

    found = reason(connection, id, "estimated_start")

    assert found.details["in_seconds"] == pytest.approx(10)
    assert re.fullmatch(
        r"It should start in about 10 s, at .*, at the pace of queue mail in the last minutes \(60 jobs a minute\)\.",
        found.text,
    )


def test_the_estimated_start_is_unknown_when_there_is_no_pace(connection: Connection) -> None:
    add_able_worker(connection, running=20)
    id = add_job(connection)
    ended(connection, 20, 50)
    ended(connection, 9, 50)

    found = reason(connection, id, "estimated_start")

    assert found.details == {"at": None, "in_seconds": None, "starts_per_second": None}
    assert found.text == "When it will start cannot be told: no job of queue mail has ended in the last minutes."


def test_nothing_is_estimated_for_a_job_that_something_holds(connection: Connection) -> None:
    add_able_worker(connection, running=20)
    id = add_job(connection)
    ended(connection, 1, 50)
    add_row(connection, "queues", name="mail", paused_at=ago(1))

    assert "estimated_start" not in codes(connection, id)


def test_beyond_the_cap_only_the_least_wait_is_told(connection: Connection) -> None:
    add_able_worker(connection, running=20)
    id = insert(connection, "t", queue="mail", count=10_500, scheduled_at=ago(1))[-1]
    ended(connection, 1, 600)

    found = reason(connection, id, "estimated_start")

    assert found.details["at"] is None
    assert found.text.startswith("It starts no sooner than in about 16 m 40 s, at the pace of queue mail")


# What matters most


def test_what_a_person_must_do_comes_before_what_passes_by_itself(connection: Connection) -> None:
    """All rules at once: the order is the order in which an operator should act."""
    id = add_job(connection, suspect=True, concurrency_key="k", start_by=ago(-600))
    add_row(connection, "queues", name="mail", paused_at=ago(60), max_workers=1, **RATE)
    add_row(connection, "tasks", name="t", last_seen_at=ago(999), **RATE)
    add_limit(connection, scope="queue", name="mail", used=1, free_at=IN_A_MINUTE)
    add_limit(connection, scope="task", name="t", free_at=IN_A_MINUTE)
    add_limit(connection, scope="key", name="mail", key="k", used=1)
    add_row(connection, "circuits", task="t", state="open", hold_until=IN_A_MINUTE)

    rest = ["circuit_open", "queue_full", "key_held", "rate_limited", "rate_limited", "suspect"]
    assert codes(connection, id, blocking=True) == ["queue_paused", "no_worker", *rest]
    add_able_worker(connection, running=20)
    assert codes(connection, id, blocking=True) == ["queue_paused", *rest, "slots_busy"]
    assert codes(connection, id)[-2:] == ["next", "start_by"]
    assert [found.position for found in reasons(connection, id)] == list(range(1, len(reasons(connection, id)) + 1))

    # By the time that it is due, what is taken now may be free.
    connection.execute("UPDATE pgtask.jobs SET scheduled_at = now() + interval '5 minutes'")
    assert codes(connection, id, blocking=True) == ["queue_paused", "not_due", "circuit_open", "suspect"]
    connection.execute("DELETE FROM pgtask.workers")
    assert codes(connection, id, blocking=True)[:3] == ["queue_paused", "not_due", "no_worker"]


# Where it comes from


def test_a_unique_key_says_that_others_were_merged_into_the_job(connection: Connection) -> None:
    add_able_worker(connection)
    id = add_job(connection, unique_key="order-17")

    assert reason(connection, id, "unique_key").text == (
        "It holds unique key order-17 (active): whoever enqueues with that key gets this job instead of a new one."
    )


def test_a_scoped_key_is_told_with_its_scope_as_long_as_it_holds(connection: Connection) -> None:
    add_able_worker(connection)
    scope = sql.SQL("'until_success'::pgtask.unique_scope")
    id = add_job(connection, scoped_key="k", unique_scope=scope)
    assert "unique_key" not in codes(connection, id)
    add_row(connection, "unique_keys", unique_key="k", job_id=id, scope="until_success", expires_at=IN_A_MINUTE)

    assert re.match(r"It holds unique key k \(until_success\) until \d", reason(connection, id, "unique_key").text)
    connection.execute("UPDATE pgtask.unique_keys SET expires_at = now()")
    assert "unique_key" not in codes(connection, id)


def test_a_tick_names_its_schedule_and_the_ticks_skipped_for_it(connection: Connection) -> None:
    add_able_worker(connection)
    connection.execute("SELECT pgtask.schedule('nightly', '@daily', 't')")
    id = add_job(connection, schedule_id=1, tick_at=ago(300), created_at=ago(300))
    for tick, outcome in ((600, "skipped"), (120, "skipped"), (60, "skipped"), (30, "missed")):
        values = {"tick_at": ago(tick), "fired_at": ago(tick), "reason": "job 1 had not ended."}
        add_row(connection, "schedule_ticks", schedule_id=1, outcome=outcome, **values)

    assert re.fullmatch(r"It is the tick of .* of schedule nightly\.", reason(connection, id, "schedule").text)
    assert re.fullmatch(
        r"2 later ticks of its schedule made no job while this one had not ended: from .* to .* \(job 1 had .*\)\.",
        reason(connection, id, "ticks_skipped").text,
    )
    connection.execute("DELETE FROM pgtask.schedules")
    assert "schedule 1, which has been deleted" in reason(connection, id, "schedule").text
    by_hand = add_job(connection, schedule_id=1)
    assert "outside of its ticks, by hand" in reason(connection, by_hand, "schedule").text


def test_a_copy_of_a_dead_letter_names_it(connection: Connection) -> None:
    add_able_worker(connection)
    letter = {"job_id": 17, "queue": "mail", "status": "failed", "error_type": "ValueError", "error": "bad"}
    id = add_job(connection, dead_letter=Jsonb(letter))

    assert reason(connection, id, "dead_letter").text == (
        "It is the copy of a dead letter: job 17 of queue mail, which ended as failed: ValueError: bad."
    )
    connection.execute("UPDATE pgtask.jobs SET dead_letter = '[]'")
    assert "job unknown of queue unknown" in reason(connection, id, "dead_letter").text
