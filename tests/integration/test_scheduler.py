"""Which ticks fire, which do not and why, and that none fires twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from pgtask.database import ticking
from pgtask.database.connection import connect
from pgtask.engine import scheduler
from pgtask.engine.scheduler import Scheduler, fire_due
from tests.rows import Connection, add_worker, ago, live, number
from tests.schedules import add, column, jobs, pass_time, ticks
from tests.support import eventually


def outcomes(connection: Connection, id: int) -> list[str]:
    return [tick.outcome for tick in ticks(connection, id)]


def start(connection: Connection, id: int) -> None:
    connection.execute("UPDATE pgtask.jobs SET status = 'running' WHERE id = %s", [id])


def in_future(connection: Connection, seconds: float) -> datetime:
    row = connection.execute("SELECT now() + make_interval(secs => %s)", [seconds]).fetchone()
    assert row is not None
    return row[0]  # type: ignore[no-any-return]


# Firing


def test_a_due_tick_becomes_a_job_with_the_policy_of_the_schedule(connection: Connection) -> None:
    policy: dict[str, Any] = {
        "queue": "q",
        "priority": 7,
        "max_retries": 2,
        "timeout": 30.0,
        "tags": ["a"],
        "payload": {"n": 1},
    }
    id = add(connection, age=11, **policy)

    assert fire_due(connection) == 1

    (tick,) = ticks(connection, id)
    assert (tick.outcome, tick.backfill, tick.reason) == ("fired", False, None)
    job = live(connection, tick.job_id or 0)
    assert {name: job[name] for name in policy} == policy
    assert (job["task"], job["schedule_id"], job["tick_at"]) == ("t", id, tick.tick_at)
    assert tick.tick_at == column(connection, id, "anchor") + timedelta(seconds=10)
    assert column(connection, id, "last_tick_at") == column(connection, id, "due_after") == tick.tick_at
    assert column(connection, id, "next_tick_at") == tick.tick_at + timedelta(seconds=10)


def test_what_a_schedule_leaves_open_is_the_tasks(connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.tasks (name, queue, priority) VALUES ('t', 'of task', 9)")
    id = add(connection, age=11)
    fire_due(connection)
    (job,) = jobs(connection, id)
    assert [live(connection, job)[name] for name in ("queue", "priority", "max_retries")] == ["of task", 9, None]


def test_a_new_schedule_fires_nothing_for_the_time_before(connection: Connection) -> None:
    id = add(connection, "* * * * *")
    fire_due(connection)
    assert ticks(connection, id) == []
    assert column(connection, id, "next_tick_at") > column(connection, id, "due_after")


def test_ticks_are_counted_from_the_last_one_not_from_now(connection: Connection) -> None:
    id = add(connection, "@every 10s", age=35, overlap="allow")
    fire_due(connection)
    anchor = column(connection, id, "anchor")
    assert [(tick.tick_at - anchor).total_seconds() for tick in ticks(connection, id)] == [10, 20, 30]
    assert len(jobs(connection, id)) == 3


def test_a_late_job_is_due_now_so_that_workers_find_it(connection: Connection) -> None:
    id = add(connection, age=40)
    fire_due(connection)
    (job,) = jobs(connection, id)
    assert number(connection, "SELECT count(*) FROM pgtask.jobs WHERE scheduled_at > now() - interval '5 s'") == 1
    assert live(connection, job)["scheduled_at"] > live(connection, job)["tick_at"]


def test_start_and_end_bound_the_ticks(connection: Connection) -> None:
    id = add(connection, "@every 10s", age=55, overlap="allow", starts_at=ago(38), ends_at=ago(12))
    fire_due(connection)
    anchor = column(connection, id, "anchor")
    assert [(tick.tick_at - anchor).total_seconds() for tick in ticks(connection, id)] == [20, 30, 40]
    assert number(connection, "SELECT count(*) FROM pgtask.schedules WHERE next_tick_at = 'infinity'") == 1
    assert fire_due(connection) == 0


def test_a_schedule_that_starts_later_waits_for_it(connection: Connection) -> None:
    id = add(connection, "@every 10s", age=55, starts_at=ago(-3600))
    fire_due(connection)
    assert ticks(connection, id) == []
    assert column(connection, id, "next_tick_at") >= column(connection, id, "starts_at")


def test_jitter_puts_the_job_off_and_not_the_tick(connection: Connection) -> None:
    first = add(connection, age=11, name="a", jitter=3600)
    fire_due(connection)
    (tick,) = ticks(connection, first)
    (job,) = jobs(connection, first)
    put_off = live(connection, job)["scheduled_at"] - tick.tick_at
    assert timedelta(seconds=1) < put_off < timedelta(hours=1)

    connection.execute("DELETE FROM pgtask.schedule_ticks")
    connection.execute(
        "UPDATE pgtask.schedules SET due_after = anchor, next_tick_at = anchor, overlap = 'allow' WHERE id = %s",
        [first],
    )
    fire_due(connection)
    again = live(connection, jobs(connection, first)[-1])
    assert again["tick_at"] == tick.tick_at
    assert again["scheduled_at"] - tick.tick_at == put_off


# Misfire


def test_without_catchup_missed_ticks_are_recorded_and_do_not_fire(connection: Connection) -> None:
    id = add(connection, "@every 30s", age=185, catchup="none", overlap="allow")
    fire_due(connection)
    found = ticks(connection, id)
    assert [tick.outcome for tick in found] == ["missed"] * 4 + ["fired"] * 2
    assert "catchup is none" in (found[0].reason or "")
    assert [tick.job_id is None for tick in found] == [True] * 4 + [False] * 2


def test_with_catchup_one_the_latest_missed_tick_fires(connection: Connection) -> None:
    id = add(connection, "@every 100s", age=390)
    fire_due(connection)
    found = ticks(connection, id)
    assert [(tick.outcome, tick.backfill) for tick in found] == [("missed", False)] * 2 + [("fired", True)]


def test_with_catchup_all_missed_ticks_fire_up_to_a_limit(connection: Connection) -> None:
    id = add(connection, "@every 100s", age=1050, catchup="all", catchup_limit=4, overlap="allow")
    fire_due(connection)
    found = ticks(connection, id)
    # The tenth came 50 s ago, in time.
    assert [tick.outcome for tick in found] == ["missed"] * 5 + ["fired"] * 5
    assert [tick.backfill for tick in found] == [False] * 5 + [True] * 4 + [False]
    assert len(jobs(connection, id)) == 5


def test_with_catchup_all_missed_ticks_fire_up_to_an_age(connection: Connection) -> None:
    id = add(connection, "@every 100s", age=1050, catchup="all", catchup_max_age=420.0, overlap="allow")
    fire_due(connection)
    assert outcomes(connection, id) == ["missed"] * 6 + ["fired"] * 4


def test_years_of_seconds_are_seen_to_at_once(connection: Connection) -> None:
    id = add(connection, "* * * * * *", seconds_field="last", age=3 * 365 * 86400.0, overlap="allow", catchup="all")
    fire_due(connection)
    found = ticks(connection, id)
    assert sum(tick.backfill for tick in found) == 100
    missed = [tick for tick in found if tick.outcome == "missed"]
    assert len(missed) <= 100
    assert "not listed" in (missed[0].reason or "")
    assert column(connection, id, "next_tick_at") - column(connection, id, "due_after") == timedelta(seconds=1)


# Pausing and editing


@pytest.mark.parametrize(
    "edit",
    [
        "expression = '@every 7s'",
        "timezone = 'Europe/Vienna'",
        "starts_at = now() - interval '1 d'",
        "ends_at = now() + interval '1 d'",
        "orphaned_at = NULL",
    ],
)
def test_an_edit_fires_nothing_for_the_past(connection: Connection, edit: str) -> None:
    id = add(connection, "@every 10s", age=3600, catchup="all", orphaned_at=ago(1) if "orphaned" in edit else None)
    connection.execute(f"UPDATE pgtask.schedules SET {edit}, updated_at = now()".encode())
    fire_due(connection)
    assert ticks(connection, id) == []
    assert column(connection, id, "next_tick_at") > column(connection, id, "due_after")


def test_other_changes_leave_the_ticks_as_they_are(connection: Connection) -> None:
    id = add(connection, "@every 10s", age=11)
    connection.execute(
        "UPDATE pgtask.schedules SET payload = '{\"n\": 2}', expression = expression, updated_at = now()"
    )
    fire_due(connection)
    assert outcomes(connection, id) == ["fired"]


def test_a_paused_schedule_fires_nothing_then_and_nothing_of_then(connection: Connection) -> None:
    id = add(connection, "@every 10s", age=11, name="p", overlap="allow", catchup="all")
    connection.execute("SELECT pgtask.pause_schedule('p', 'me')")
    assert fire_due(connection) == 0
    pass_time(connection, id, 3600)
    assert fire_due(connection) == 0

    connection.execute("SELECT pgtask.resume_schedule('p')")
    fire_due(connection)
    assert ticks(connection, id) == []
    pass_time(connection, id, 11)
    fire_due(connection)
    assert outcomes(connection, id) == ["fired"]


def test_an_orphan_does_not_fire(connection: Connection) -> None:
    id = add(connection, age=11, orphaned_at=ago(1))
    assert fire_due(connection) == 0
    assert ticks(connection, id) == []


# Overlap


def test_allow_fires_beside_any_number_of_jobs(connection: Connection) -> None:
    id = add(connection, "@every 10s", age=35, overlap="allow")
    fire_due(connection)
    pass_time(connection, id, 20)
    fire_due(connection)
    assert outcomes(connection, id) == ["fired"] * 5


@pytest.mark.parametrize("running", [True, False])
def test_skip_fires_only_when_no_job_is_left(connection: Connection, running: bool) -> None:
    id = add(connection, "@every 10s", age=11, overlap="skip")
    fire_due(connection)
    (job,) = jobs(connection, id)
    if running:
        start(connection, job)
    pass_time(connection, id, 10)
    fire_due(connection)

    found = ticks(connection, id)
    assert [tick.outcome for tick in found] == ["fired", "skipped"]
    assert found[1].reason == f"job {job} of this schedule has not ended; overlap is skip"

    connection.execute("DELETE FROM pgtask.jobs")
    pass_time(connection, id, 10)
    fire_due(connection)
    assert outcomes(connection, id) == ["fired", "skipped", "fired"]


def test_queue_one_lets_one_wait_beside_those_that_run(connection: Connection) -> None:
    id = add(connection, "@every 10s", age=11)
    fire_due(connection)
    start(connection, jobs(connection, id)[0])
    for _ in range(2):
        pass_time(connection, id, 10)
        fire_due(connection)

    found = ticks(connection, id)
    assert [tick.outcome for tick in found] == ["fired", "fired", "skipped"]
    assert found[2].reason == f"job {found[1].job_id} of this schedule still waits; overlap is queue_one"


def test_queue_one_holds_among_ticks_that_come_due_together(connection: Connection) -> None:
    id = add(connection, "@every 10s", age=35)
    fire_due(connection)
    assert outcomes(connection, id) == ["fired", "skipped", "skipped"]


def test_cancel_running_leaves_only_the_newest(connection: Connection) -> None:
    id = add(connection, "@every 10s", age=35, overlap="cancel_running")
    fire_due(connection)
    assert outcomes(connection, id) == ["skipped", "skipped", "fired"]
    (running,) = jobs(connection, id)
    start(connection, running)
    pass_time(connection, id, 10)
    fire_due(connection)

    waiting = ticks(connection, id)[-1].job_id
    assert live(connection, running)["cancel_requested_at"] is not None
    assert jobs(connection, id) == [running, waiting]
    pass_time(connection, id, 10)
    fire_due(connection)
    ended = "SELECT job_id FROM pgtask.runs WHERE status = 'cancelled'"
    assert connection.execute(ended).fetchall() == [(waiting,)]


def test_cancel_running_ends_no_job_for_a_tick_that_fired_before(connection: Connection) -> None:
    id = add(connection, age=11, overlap="cancel_running")
    fire_due(connection)
    made = jobs(connection, id)
    connection.execute("UPDATE pgtask.schedules SET due_after = anchor, next_tick_at = anchor")
    fire_due(connection)
    assert jobs(connection, id) == made != []


def test_a_job_that_somebody_holds_keeps_only_its_own_schedule_waiting(
    database: str, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    held, other = add(connection, age=11, overlap="cancel_running"), add(connection, "@every 9s", overlap="allow")
    fire_due(connection)
    (job,) = jobs(connection, held)
    pass_time(connection, held, 11)
    pass_time(connection, other, 10)
    connection.execute("SET statement_timeout = '5 s'")
    with psycopg.connect(database) as holder:
        holder.execute("SELECT FROM pgtask.jobs WHERE id = %s FOR UPDATE", [job])
        assert fire_due(connection) == 1
        assert outcomes(connection, held) == ["fired"]
        assert "fired" in outcomes(connection, other)
    assert "due to lock timeout" in caplog.text, "and not until the statement is ended"
    fire_due(connection)
    assert outcomes(connection, held) == ["fired", "fired"]
    assert job not in jobs(connection, held)


def test_jobs_of_other_schedules_do_not_count(connection: Connection) -> None:
    one, other = (add(connection, age=11, name=name, overlap="skip") for name in "ab")
    fire_due(connection)
    assert outcomes(connection, one) == outcomes(connection, other) == ["fired"]


# Faults


def test_an_expression_that_cannot_be_read_is_said_and_holds_up_nobody(connection: Connection) -> None:
    bad = add(connection, "no such thing", age=11)
    good = add(connection, age=11)
    fire_due(connection)
    assert "five" in column(connection, bad, "error")
    assert outcomes(connection, good) == ["fired"]
    assert fire_due(connection) == 0

    connection.execute("UPDATE pgtask.schedules SET expression = '@every 5s' WHERE id = %s", [bad])
    fire_due(connection)
    assert column(connection, bad, "error") is None
    assert column(connection, bad, "next_tick_at") is not None


def test_a_job_that_is_refused_holds_up_nobody(connection: Connection) -> None:
    connection.execute("ALTER TABLE pgtask.jobs ADD CONSTRAINT no_evil CHECK (task <> 'evil')")
    bad = add(connection, age=11, name="bad", task="evil")
    good = add(connection, age=11, name="good")
    assert fire_due(connection) == 2
    assert "no_evil" in column(connection, bad, "error")
    assert (ticks(connection, bad), outcomes(connection, good)) == ([], ["fired"])


@pytest.mark.parametrize("edit", ["task = 'good'", "updated_at = now()"])
def test_an_edit_gives_a_schedule_whose_job_was_refused_another_chance(connection: Connection, edit: str) -> None:
    connection.execute("ALTER TABLE pgtask.jobs ADD CONSTRAINT no_evil CHECK (task <> 'evil')")
    id = add(connection, age=11, task="evil")
    fire_due(connection)
    assert column(connection, id, "error")
    pass_time(connection, id, 60)
    connection.execute("ALTER TABLE pgtask.jobs DROP CONSTRAINT no_evil")
    connection.execute(f"UPDATE pgtask.schedules SET {edit}".encode())
    assert column(connection, id, "error") is None
    fire_due(connection)
    assert ticks(connection, id) == [], "nothing of the time when it was broken"
    pass_time(connection, id, 11)
    fire_due(connection)
    assert outcomes(connection, id) == ["fired"]


def test_a_clock_that_was_put_back_silences_no_schedule(connection: Connection) -> None:
    ahead, weekly = add(connection, "@every 10s", age=25), add(connection, "@every 7d")
    fire_due(connection)
    pass_time(connection, ahead, -86400)
    fire_due(connection)
    assert column(connection, ahead, "next_tick_at") > in_future(connection, 3600)
    before = column(connection, weekly, "next_tick_at")

    assert ticking.heed_clock(connection) == ["schedule @every 10s"]
    fire_due(connection)
    assert column(connection, ahead, "next_tick_at") < in_future(connection, 3600)
    assert column(connection, weekly, "next_tick_at") == before
    assert ticking.heed_clock(connection) == []


def test_an_edit_plans_from_now_even_if_the_clock_was_put_back(connection: Connection) -> None:
    id = add(connection, "@every 10s", age=25, name="s")
    fire_due(connection)
    pass_time(connection, id, -86400)
    connection.execute("SELECT pgtask.pause_schedule('s', 'me'), pgtask.resume_schedule('s')")
    fire_due(connection)
    assert column(connection, id, "next_tick_at") < in_future(connection, 3600)


def test_a_tick_and_its_job_are_there_together_or_not_at_all(connection: Connection) -> None:
    id = add(connection, age=11)
    with connection.transaction(force_rollback=True):
        fire_due(connection)
        assert len(ticks(connection, id)) == len(jobs(connection, id)) == 1
    assert (ticks(connection, id), jobs(connection, id)) == ([], [])
    fire_due(connection)
    assert len(ticks(connection, id)) == len(jobs(connection, id)) == 1


def test_a_tick_that_is_there_fires_no_second_time(connection: Connection) -> None:
    id = add(connection, age=11, overlap="allow")
    fire_due(connection)
    connection.execute("UPDATE pgtask.schedules SET due_after = anchor, next_tick_at = anchor")
    fire_due(connection)
    assert len(ticks(connection, id)) == len(jobs(connection, id)) == 1


def test_a_schedule_that_another_scheduler_sees_to_is_left_to_it(database: str, connection: Connection) -> None:
    id = add(connection, age=11)
    with psycopg.connect(database) as other:
        other.execute("BEGIN")
        assert fire_due(other) == 1
        assert fire_due(connection) == 0
        assert ticks(connection, id) == []
    assert outcomes(connection, id) == ["fired"]


def test_schedulers_side_by_side_fire_each_tick_once(database: str, connection: Connection) -> None:
    ids = [add(connection, "@every 1s", age=50, name=f"s{n}", overlap="allow") for n in range(20)]
    begin = threading.Barrier(4)

    def serve() -> None:
        with psycopg.connect(database, autocommit=True) as own:
            begin.wait()
            for _ in range(15):
                fire_due(own, 3)

    threads = [threading.Thread(target=serve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for id in ids:
        found = [tick.tick_at for tick in ticks(connection, id)]
        assert len(found) >= 50
        assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(seconds=1)}
        assert len(jobs(connection, id)) == len(found)


def test_a_deleted_schedule_fires_no_more(database: str, connection: Connection) -> None:
    add(connection, age=11, name="gone")
    with psycopg.connect(database) as firing:
        firing.execute("BEGIN")
        fire_due(firing)
        deletion = threading.Thread(target=connection.execute, args=("SELECT pgtask.unschedule('gone')",))
        deletion.start()
        blocked = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        with psycopg.connect(database, autocommit=True) as watcher:
            eventually(lambda: number(watcher, blocked) == 1)
    deletion.join()
    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 1
    assert fire_due(connection) == 0


def test_all_times_are_the_databases(connection: Connection) -> None:
    id = add(connection, "@every 10s", age=11)
    fire_due(connection)
    recent = "SELECT count(*) FROM pgtask.schedule_ticks WHERE fired_at BETWEEN now() - interval '1 min' AND now()"
    assert number(connection, recent) == len(ticks(connection, id)) == 1


# The thread


@pytest.fixture
def served(database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scheduler]:
    """A scheduler that leads and, unless it is woken, rests."""
    monkeypatch.setattr(scheduler, "_LONGEST_PAUSE", 60.0)
    made = Scheduler(database, add_worker(connection))
    made.start()
    leads = "SELECT count(*) FROM pgtask.leader WHERE name = 'scheduler' AND expires_at > now()"
    eventually(lambda: number(connection, leads) == 1)
    # Until it rests: its last statement is the question for the next tick.
    resting = """
        SELECT count(*) FROM pg_stat_activity
         WHERE application_name ~ '^pgtask scheduler' AND state = 'idle' AND query ~ 'Seconds until the next'
    """
    eventually(lambda: number(connection, resting) == 1)
    yield made
    made.stop()
    assert number(connection, leads) == 0


def test_news_are_looked_at_at_once(served: Scheduler, connection: Connection) -> None:
    id = add(connection, age=11)
    served.wake()
    eventually(lambda: outcomes(connection, id) == ["fired"])


def test_ticks_fire_when_they_are_due(served: Scheduler, connection: Connection) -> None:
    id = add(connection, "@every 1s", overlap="allow")
    served.wake()
    eventually(lambda: len(ticks(connection, id)) >= 3)
    late = "SELECT count(*) FROM pgtask.schedule_ticks WHERE fired_at < tick_at"
    assert number(connection, late) == 0, "none fires early"


def test_a_lost_connection_is_replaced(served: Scheduler, connection: Connection) -> None:
    id = add(connection, age=11)
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ '^pgtask scheduler'"
    )
    served.wake()
    eventually(lambda: outcomes(connection, id) == ["fired"])


def test_a_pooled_connection_serves_as_well(database: str, connection: Connection) -> None:
    id = add(connection, age=11, overlap="cancel_running")
    pooled = Scheduler(database, add_worker(connection), pooled=True)
    pooled.start()
    eventually(lambda: outcomes(connection, id)[:1] == ["fired"])
    pooled.stop()


def test_only_the_leader_looks(served: Scheduler, database: str, connection: Connection) -> None:
    id = add(connection, age=11)
    other = Scheduler(database, add_worker(connection))
    with connect(database, application_name="test", pooled=False) as own:
        assert other._step(own) > 1
        assert ticks(connection, id) == []
        connection.execute("UPDATE pgtask.leader SET expires_at = now() - interval '1 s'")
        other._step(own)
    assert outcomes(connection, id) == ["fired"]
    connection.execute("UPDATE pgtask.leader SET expires_at = now() - interval '1 s'")
