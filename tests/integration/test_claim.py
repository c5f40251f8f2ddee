"""The claim: what it takes, in which order, how many, and when it takes nothing."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql

from pgtask.database import statements
from pgtask.database.claims import START, ClaimRequest, Position
from pgtask.database.outcomes import Completions
from pgtask.engine.lanes import Lanes
from tests.integration.conftest import TASKS, Work, request
from tests.rows import add_worker, ago, expire, insert, live, number, runs


def test_a_claim_makes_the_job_this_executors_next_attempt(work: Work, connection: psycopg.Connection) -> None:
    (id,) = insert(connection, "t", {"a": 1}, timeout=7.5, priority=1)

    (claimed,) = work.claim()

    assert claimed[:8] == (id, 1, "t", "default", 1, '{"a": 1}', 7.5, 0)
    row = live(connection, id)
    assert (row["status"], row["attempt"], row["worker_id"], row["executor"]) == ("running", 1, work.worker_id, 1)
    assert row["started_at"] is not None
    assert claimed.scheduled_at == row["scheduled_at"]


def test_most_claims_are_hot_updates(connection: psycopg.Connection) -> None:
    worker = add_worker(connection)
    insert(connection, "t", count=50)
    values = {"worker_id": worker, "executor": 1, "tasks": ["t"], "limit": 50}
    values |= {"queues": ["default"], "priorities": [1], "after_times": [START.time], "after_ids": [0]}

    with connection.transaction():
        connection.execute(statements.load("claim_jobs"), values)
        hot = number(connection, "SELECT pg_stat_get_xact_tuples_hot_updated('pgtask.jobs'::regclass)")

    # A claimed version is a little longer than the one before, so the last few of a page find no room on it.
    assert hot >= 40


def test_no_index_mentions_a_column_that_a_claim_changes(connection: psycopg.Connection) -> None:
    changed = ("status", "worker_id", "executor", "started_at", "attempt", "cancel_requested_at", "progress")
    definitions = [row[0] for row in connection.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'jobs'")]

    assert len(definitions) >= 3
    assert [text for text in definitions if any(column in text for column in changed)] == []


BAD_PLANS = [
    dict(zip(("enable_nestloop", "enable_hashjoin", "enable_mergejoin", "enable_tidscan"), choice, strict=True))
    for choice in itertools.product(("on", "off"), repeat=4)
]


@pytest.mark.parametrize("settings", BAD_PLANS, ids=lambda settings: "-".join(settings.values()))
def test_a_claim_never_takes_more_than_its_limit(settings: dict[str, str], connection: psycopg.Connection) -> None:
    worker = add_worker(connection)
    insert(connection, "t", count=60)
    insert(connection, "t", count=60, priority=2)
    bad = settings | {"enable_material": "off", "enable_hashagg": "off", "enable_sort": "off", "enable_memoize": "off"}
    for name, value in bad.items():
        connection.execute(sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
    values = {"worker_id": worker, "executor": 1, "tasks": ["t"], "limit": 7}
    lanes = {"queues": ["default"] * 2, "priorities": [2, 1], "after_times": [START.time] * 2, "after_ids": [0] * 2}

    claimed = connection.execute(statements.load("claim_jobs"), values | lanes).fetchall()
    lane = {"queue": "default", "priority": 1, "after_time": START.time, "after_id": 0, "examine": 50}
    advanced = connection.execute(statements.load("advance_lane"), values | lane).fetchall()

    assert len(claimed) == 7
    assert len(advanced) == 7 + 1  # the last row tells the position
    assert number(connection, "SELECT count(*) FROM pgtask.jobs WHERE status = 'running'") == 14


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_a_claim_takes_as_many_as_there_are_up_to_its_limit(
    limit: int, work: Work, connection: psycopg.Connection
) -> None:
    insert(connection, "t", count=10)

    assert len(work.claim(limit)) == min(limit, 10)


def test_the_order_is_queue_priority_then_priority_then_time_then_id(
    work: Work, connection: psycopg.Connection
) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, priority) VALUES ('first', 5), ('last', -1)")
    (low,) = insert(connection, "t", queue="last", priority=50, scheduled_at=ago(500))
    (middle_late,) = insert(connection, "t", queue="middle", priority=1, scheduled_at=ago(10))
    (middle_early,) = insert(connection, "t", queue="middle", priority=1, scheduled_at=ago(20))
    middle_same = insert(connection, "t", count=3, queue="middle", priority=1, scheduled_at=ago(15))
    (middle_urgent,) = insert(connection, "t", queue="middle", priority=2, scheduled_at=ago(1))
    (top,) = insert(connection, "t", queue="first", priority=-100, scheduled_at=ago(1))
    expected = [top, middle_urgent, middle_early, *middle_same, middle_late, low]
    lanes = Lanes()
    lanes.update(work.connection.sweep(None, TASKS))

    order = []
    for _ in expected:
        claim = lanes.next_claim(1)
        assert claim is not None
        order += [row[0] for row in work.exchange(claim=claim[0]).claimed]

    assert order == expected


def test_the_jobs_of_one_claim_are_started_in_that_order_too(work: Work, connection: psycopg.Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, priority) VALUES ('first', 5)")
    (late,) = insert(connection, "t", scheduled_at=ago(5))
    (early,) = insert(connection, "t", scheduled_at=ago(50))
    (urgent,) = insert(connection, "t", priority=9, scheduled_at=ago(1))
    (first,) = insert(connection, "t", queue="first", scheduled_at=ago(1))
    lanes = Lanes()
    lanes.update(work.connection.sweep(None, TASKS))
    claim = lanes.next_claim(10)
    assert claim is not None

    rows = work.exchange(claim=claim[0]).claimed

    assert [row[0] for row in lanes.in_order(rows)] == [first, urgent, early, late]


def test_jobs_that_are_not_due_or_of_unknown_tasks_or_running_are_left(
    work: Work, make_work: Callable[..., Work], connection: psycopg.Connection
) -> None:
    (running,) = insert(connection, "t")
    assert [row.id for row in make_work().claim()] == [running]
    insert(connection, "t", scheduled_at=ago(-3600))
    insert(connection, "unknown")
    (wanted,) = insert(connection, "t")

    assert [row.id for row in work.claim()] == [wanted]


def test_an_executor_that_knows_no_task_claims_nothing(work: Work, connection: psycopg.Connection) -> None:
    insert(connection, "t")

    assert work.claim(tasks=[]) == []


def test_nothing_is_claimed_from_a_paused_queue(work: Work, connection: psycopg.Connection) -> None:
    (id,) = insert(connection, "t", queue="q")
    connection.execute("INSERT INTO pgtask.queues (name, paused_at) VALUES ('q', now())")

    assert work.claim(10, ("q", 1)) == []
    assert work.advance(queue="q")[0] == []
    assert work.connection.sweep(None, TASKS) == []

    connection.execute("UPDATE pgtask.queues SET paused_at = NULL")
    assert [row.id for row in work.claim(10, ("q", 1))] == [id]


@pytest.mark.parametrize("how", ["expired", "dead", "gone"])
def test_a_worker_without_a_live_lease_claims_nothing(how: str, work: Work, connection: psycopg.Connection) -> None:
    insert(connection, "t", count=3)
    if how == "expired":
        expire(connection, work.worker_id)
    elif how == "dead":
        connection.execute("UPDATE pgtask.workers SET dead_at = now()")
    else:
        connection.execute("DELETE FROM pgtask.workers")

    assert work.claim() == []
    assert work.advance()[0] == []
    assert number(connection, "SELECT count(*) FROM pgtask.jobs WHERE status = 'pending' AND attempt = 0") == 3


def test_rows_that_others_hold_are_skipped_without_waiting(
    database: str, work: Work, connection: psycopg.Connection
) -> None:
    first, second, third = insert(connection, "t", count=3)
    with psycopg.connect(database) as other:
        other.execute("SELECT FROM pgtask.jobs WHERE id = %s FOR UPDATE", [second])

        assert [row.id for row in work.claim()] == [first, third]


def test_two_executors_never_claim_the_same_job(make_work: Callable[..., Work], connection: psycopg.Connection) -> None:
    ids = insert(connection, "t", count=600)
    taken: list[list[int]] = [[], [], []]
    start = threading.Barrier(len(taken))

    def claim_all(work: Work, into: list[int]) -> None:
        start.wait()
        misses = 0
        while misses < 20:
            rows = work.claim(7)
            misses = 0 if rows else misses + 1
            into += [row.id for row in rows]

    threads = [threading.Thread(target=claim_all, args=(make_work(), into)) for into in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(itertools.chain(*taken)) == ids


def test_only_rows_behind_the_watermark_are_looked_at(work: Work, connection: psycopg.Connection) -> None:
    (before,) = insert(connection, "t", scheduled_at=ago(60))
    same = insert(connection, "t", count=2, scheduled_at=ago(30))
    (after,) = insert(connection, "t", scheduled_at=ago(10))
    claim = request(10)
    claim.after_times, claim.after_ids = [live(connection, same[0])["scheduled_at"]], [same[0]]

    assert sorted(row[0] for row in work.exchange(claim=claim).claimed) == [same[1], after]
    assert live(connection, before)["status"] == "pending"


def test_a_payload_that_no_program_can_decode_is_claimed_as_text(work: Work, connection: psycopg.Connection) -> None:
    connection.execute(
        "INSERT INTO pgtask.jobs (task, payload) VALUES ('t', (repeat('[', 5000) || repeat(']', 5000))::jsonb), "
        "('t', ('{\"n\": ' || repeat('9', 5001) || '}')::jsonb), ('t', '{}')"
    )

    assert [len(row.payload) for row in work.claim()] == [10_000, 5001 + 7, 2]


def test_an_exchange_is_all_or_nothing(work: Work, connection: psycopg.Connection) -> None:
    done, refused = insert(connection, "t", count=2)
    work.claim(1)
    connection.execute(sql.SQL("ALTER TABLE pgtask.jobs ADD CHECK (attempt = 0 OR id <> {})").format(refused))

    with pytest.raises(psycopg.errors.CheckViolation):
        work.exchange(Completions([done], [1], [0.1], [0.1], [None]), claim=request(10))

    assert live(connection, done)["status"] == "running"
    assert runs(connection, done) == []


# Looking at a stretch of a lane


def test_advancing_claims_and_tells_how_far_it_looked(work: Work, connection: psycopg.Connection) -> None:
    insert(connection, "unknown", count=3, scheduled_at=ago(30))
    (wanted,) = insert(connection, "t", scheduled_at=ago(20))
    (last,) = insert(connection, "unknown", scheduled_at=ago(10))

    rows, position, more = work.advance()

    assert [row[0] for row in rows] == [wanted]
    assert position == Position(live(connection, last)["scheduled_at"], last)
    assert not more


def test_advancing_stops_after_so_many_rows(work: Work, connection: psycopg.Connection) -> None:
    unknown = insert(connection, "unknown", count=5, scheduled_at=ago(30))
    insert(connection, "t", scheduled_at=ago(20))

    rows, position, more = work.advance(examine=5)

    assert (rows, more) == ([], True)
    assert position == Position(live(connection, unknown[-1])["scheduled_at"], unknown[-1])
    rows, _, more = work.advance(after=position)
    assert (len(rows), more) == (1, False)


def test_advancing_does_not_pass_over_what_it_could_have_claimed(work: Work, connection: psycopg.Connection) -> None:
    insert(connection, "t", count=5)

    rows, position, more = work.advance(limit=2)

    assert (len(rows), position, more) == (2, None, True)


def test_advancing_an_empty_lane_finds_the_end(work: Work) -> None:
    assert work.advance() == ([], None, False)


# Sweeping


def test_a_sweep_lists_the_lanes_with_their_queues_and_next_due_times(
    work: Work, connection: psycopg.Connection
) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, priority, timeout) VALUES ('b', 3, 12)")
    insert(connection, "t", queue="a", count=3)
    insert(connection, "t", queue="a", priority=7)
    insert(connection, "t", queue="b", scheduled_at=ago(-100))
    insert(connection, "t", queue="b", scheduled_at=ago(-50))

    rows = work.connection.sweep(None, TASKS)

    assert [row[:4] for row in rows] == [("a", 1, 0, None), ("a", 7, 0, None), ("b", 1, 3, 12.0)]
    assert [row.due_in is None for row in rows] == [True, True, False]
    assert rows[2].due_in is not None
    assert 40 < rows[2].due_in <= 50
    assert abs(rows[0].instant - datetime.now(UTC)) < timedelta(minutes=1)
    assert [row.queue for row in work.connection.sweep(["b", "c"], TASKS)] == ["b"]


def test_lanes_are_claimed_together_best_first(work: Work, connection: psycopg.Connection) -> None:
    ids = {lane: insert(connection, "t", count=2, queue=lane[0], priority=lane[1]) for lane in [("a", 1), ("b", 2)]}

    claim = ClaimRequest(["b", "a"], [2, 1], [START.time] * 2, [0, 0], 3)

    assert sorted(row[0] for row in work.exchange(claim=claim).claimed) == sorted(ids["b", 2] + ids["a", 1][:1])


@pytest.mark.parametrize(
    ("step", "waited", "lift"), [(60, 59, 0), (60, 61, 1), (60, 130, 2), (60, 9999, 3), (0.5, 1.2, 2), (0, 9999, 0)]
)
def test_a_lane_is_lifted_by_how_long_its_oldest_waiting_job_has_been_due(
    work: Work, connection: psycopg.Connection, step: float, waited: float, lift: int
) -> None:
    connection.execute("UPDATE pgtask.settings SET value = to_jsonb(%s::float8) WHERE name = 'ageing_step'", [step])
    insert(connection, "t", scheduled_at=ago(99999), status="running", attempt=1, worker_id=work.worker_id)
    insert(connection, "t", scheduled_at=ago(99999), suspect=True)
    insert(connection, "unknown here", scheduled_at=ago(99999))
    insert(connection, "t", scheduled_at=ago(waited))
    insert(connection, "t", scheduled_at=ago(-5))
    insert(connection, "t", priority=2)
    insert(connection, "t", queue="alone", scheduled_at=ago(9999))

    lanes = work.connection.sweep(None, TASKS)

    assert {(lane.queue, lane.priority): lane.lift for lane in lanes} == {
        ("default", 1): lift,
        ("default", 2): 0,
        ("alone", 1): 0,
    }


@pytest.mark.parametrize("value", ['"1 min"', "true", "[]", "{}"])
def test_a_setting_that_would_stop_claims_or_ends_is_refused(connection: psycopg.Connection, value: str) -> None:
    for name in ("ageing_step", "max_crashes"):
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("UPDATE pgtask.settings SET value = %s::jsonb WHERE name = %s", [value, name])


def test_without_its_setting_nothing_is_lifted(work: Work, connection: psycopg.Connection) -> None:
    connection.execute("DELETE FROM pgtask.settings WHERE name = 'ageing_step'")
    insert(connection, "t", scheduled_at=ago(9999))
    insert(connection, "t", priority=2)

    lanes = work.connection.sweep(None, TASKS)

    assert {(lane.lift, lane.weight, lane.waited) for lane in lanes} == {(0, 1, 0)}
