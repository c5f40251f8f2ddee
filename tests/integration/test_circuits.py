"""When the circuits of tasks open and close, as the database decides it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from pgtask import Breaker, PgTask
from pgtask.database import ownership
from pgtask.database.outcomes import Endings, Report
from pgtask.database.work import WorkConnection
from tests.integration.conftest import Work, request
from tests.rows import add_worker, insert, job, live, number

Connection = psycopg.Connection[Any]


def register(work: Work, **options: Any) -> None:
    """Registers the task `t`, declared with these options."""
    task = PgTask("unused").task(name="t", **options)(_nothing)
    work.connection.register_tasks([task.registration(None)])


def _nothing() -> None:
    """Does nothing."""


def report(work: Work, *, successes: int = 0, failures: int = 0, streak: int | None = None) -> None:
    """Hands in counts of the task `t`; unless it is said, the failures came last."""
    counts = Report(["t"], [successes], [failures], [failures if streak is None else streak])
    work.connection.exchange(None, None, None, None, ["t"], report=counts)


def ended(work: Work, id: int, attempt: int, outcome: str) -> None:
    """Hands in how an attempt ended that may be a probe."""
    counts = Report(ids=[id], attempts=[attempt], outcomes=[outcome])
    work.connection.exchange(None, None, None, None, ["t"], report=counts)


def circuit(connection: Connection, task: str = "t") -> dict[str, Any]:
    """The circuit of a task, with the seconds from its last change until it may probe; empty when there is none."""
    row = connection.execute(
        "SELECT to_jsonb(c) || jsonb_build_object('held', round(extract(epoch FROM hold_until - changed_at)))"
        "  FROM pgtask.circuits c WHERE task = %s",
        [task],
    ).fetchone()
    return dict(row[0]) if row else {}


def probe(work: Work, connection: Connection) -> tuple[int, int] | None:
    """Has the hold of `t` pass and claims within limits; the probe, as job id and attempt."""
    connection.execute("UPDATE pgtask.circuits SET hold_until = now() - interval '1 ms' WHERE state = 'open'")
    rows, _ = work.connection.claim_lanes(request(10), [True], ["t"], ["t"], 100)
    assert len(rows) <= 1
    return (rows[0][0], rows[0][1]) if rows else None


@pytest.fixture
def five(work: Work, connection: Connection) -> Work:
    """An executor of the task `t`, whose circuit opens after five failures in a row; some jobs wait."""
    register(work, breaker=Breaker(failures=5, hold=30, max_hold=100))
    insert(connection, "t", count=5)
    return work


# Opening


def test_it_opens_after_so_many_failures_in_a_row(five: Work, connection: Connection) -> None:
    report(five, failures=4)
    assert circuit(connection)["state"] == "closed"
    report(five, failures=1)
    found = circuit(connection)

    assert (found["state"], found["held"], found["reason"]) == ("open", 30, "5 failures in a row")
    assert found["changed_by"] is None


def test_a_success_in_between_begins_the_row_anew(five: Work, connection: Connection) -> None:
    report(five, failures=4)
    report(five, successes=1)
    report(five, failures=4)
    assert circuit(connection)["state"] == "closed"
    report(five, successes=1, failures=6, streak=4)
    assert circuit(connection)["state"] == "closed"
    report(five, failures=1)
    assert circuit(connection)["state"] == "open"


def test_failures_on_all_workers_count_together(
    five: Work, make_work: Callable[..., Work], connection: Connection
) -> None:
    report(five, failures=3)
    report(make_work(), failures=2)

    assert circuit(connection)["state"] == "open"


def test_it_opens_by_the_share_of_failures_once_there_are_enough(work: Work, connection: Connection) -> None:
    register(work, breaker=Breaker(rate=0.5, window="1m", minimum=20))
    report(work, successes=4, failures=15)
    assert circuit(connection)["state"] == "closed"
    report(work, successes=1)

    assert (circuit(connection)["state"], circuit(connection)["reason"]) == ("open", "15 of 20 attempts failed")


def test_a_smaller_share_leaves_it_closed(work: Work, connection: Connection) -> None:
    register(work, breaker=Breaker(rate=0.5, window="1m", minimum=20))
    report(work, successes=51, failures=49)

    assert circuit(connection)["state"] == "closed"


def test_what_is_older_than_the_window_counts_no_more(work: Work, connection: Connection) -> None:
    register(work, breaker=Breaker(rate=0.5, window="1m", minimum=20))
    report(work, failures=19)
    connection.execute("UPDATE pgtask.circuit_tallies SET since = since - interval '61 s'")
    report(work, failures=1)

    assert circuit(connection)["state"] == "closed"
    assert number(connection, "SELECT sum(failures) FROM pgtask.circuit_tallies") == 1


def test_nothing_is_written_for_tasks_without_a_breaker_nor_for_successes_that_change_nothing(
    work: Work, connection: Connection
) -> None:
    report(work, failures=100)
    register(work, breaker=Breaker(failures=5))
    report(work, successes=100)

    assert circuit(connection) == {}


# Probing


def opened(five: Work, connection: Connection) -> tuple[int, int]:
    """Opens the circuit of `t` and has it probe."""
    report(five, failures=5)
    found = probe(five, connection)
    assert found is not None
    return found


def test_an_open_circuit_holds_all_jobs_and_then_lets_one_through(five: Work, connection: Connection) -> None:
    report(five, failures=5)
    assert five.connection.claim_lanes(request(10), [True], ["t"], ["t"], 100)[0] == []

    found = probe(five, connection)

    assert found is not None
    state = circuit(connection)
    assert (state["state"], state["probe_job_id"], state["probe_attempt"]) == ("half_open", *found)
    assert probe(five, connection) is None
    assert number(connection, "SELECT count(*) FROM pgtask.jobs WHERE status = 'pending' AND retry_count = 0") == 4


def test_its_success_closes_the_circuit(five: Work, connection: Connection) -> None:
    id, attempt = opened(five, connection)
    ended(five, id, attempt, "completed")

    state = circuit(connection)
    assert (state["state"], state["failures"], state["hold_until"], state["probe_job_id"]) == ("closed", 0, None, None)
    report(five, failures=4)
    assert circuit(connection)["state"] == "closed"


@pytest.mark.parametrize("outcome", ["failed", "timeout", "crashed"])
def test_its_failure_opens_it_for_twice_as_long_up_to_a_bound(five: Work, connection: Connection, outcome: str) -> None:
    held = []
    report(five, failures=5)
    for _ in range(3):
        found = probe(five, connection)
        assert found is not None
        ended(five, *found, outcome)
        held.append(circuit(connection)["held"])

    assert held == [60, 100, 100]
    assert circuit(connection)["state"] == "open"


@pytest.mark.parametrize("outcome", ["released", "snoozed", "cancelled", "lost"])
def test_a_probe_that_says_nothing_is_followed_by_another_at_once(
    five: Work, connection: Connection, outcome: str
) -> None:
    id, attempt = opened(five, connection)
    ended(five, id, attempt, outcome)

    state = circuit(connection)
    assert (state["state"], state["held"], state["failed_probes"]) == ("open", 0, 0)


def test_only_the_probe_decides(five: Work, connection: Connection) -> None:
    id, attempt = opened(five, connection)
    ended(five, id + 1, attempt, "completed")
    ended(five, id, attempt + 1, "failed")
    report(five, successes=3, failures=9)

    assert circuit(connection)["state"] == "half_open"


def test_a_probe_that_dies_with_its_worker_is_followed_by_another(five: Work, connection: Connection) -> None:
    id, attempt = opened(five, connection)
    ownership.free(connection, [five.worker_id], None, started=None, outcome="lost", error="Its worker died.")

    assert (circuit(connection)["state"], circuit(connection)["held"]) == ("open", 0)
    assert probe(five, connection) == (id, attempt + 1)


def test_upkeep_has_circuits_probe_again_whose_probe_runs_no_more(five: Work, connection: Connection) -> None:
    id, _ = opened(five, connection)
    assert ownership.repair_circuits(connection) == 0
    assert circuit(connection)["state"] == "half_open"
    connection.execute("DELETE FROM pgtask.jobs WHERE id = %s", [id])

    assert ownership.repair_circuits(connection) == 1
    assert (circuit(connection)["state"], circuit(connection)["held"]) == ("open", 0)


def test_a_crash_counts_as_a_failure_though_its_executor_cannot_report_it(five: Work, connection: Connection) -> None:
    report(five, failures=4)
    (claimed,) = five.claim(1)
    endings = Endings(
        [claimed.id], [claimed.attempt], [0.5], [0.0], ["crashed"], [False], [None], [None], [None], [None]
    )
    endings.cpu_seconds, endings.peak_rss_bytes = [None], [None]
    ownership.end(connection, five.worker_id, five.executor, endings)

    assert circuit(connection)["state"] == "open"
    assert live(connection, claimed.id)["retry_count"] == 1


def test_two_executors_that_report_many_tasks_do_not_wait_for_each_other_in_a_circle(
    database: str, connection: Connection
) -> None:
    names = ["a", "b", "c"]
    connection.execute(
        "INSERT INTO pgtask.tasks (name, breaker_failures, breaker_hold, breaker_max_hold)"
        " SELECT unnest(%s::text[]), 1000, 1, 1",
        [names],
    )
    worker = add_worker(connection)
    works = [WorkConnection(database, worker, number) for number in (1, 2)]
    for order in (names, names[::-1]) * 20:
        for work in works:
            counts = Report(list(order), [0] * 3, [1] * 3, [1] * 3)
            work.exchange(None, None, None, None, [], report=counts)
    for work in works:
        work.close()

    assert number(connection, "SELECT sum(failures) FROM pgtask.circuits") == 3 * 2 * 40


# By hand


def test_a_circuit_opened_by_hand_stays_open_until_it_is_closed(work: Work, connection: Connection) -> None:
    insert(connection, "t", count=2)
    connection.execute("SELECT pgtask.open_circuit('t', reason => 'the bank is away')")
    state = circuit(connection)
    assert (state["state"], state["hold_until"], state["reason"]) == ("open", None, "the bank is away")
    assert state["changed_by"]
    assert work.connection.claim_lanes(request(10), [True], ["t"], ["t"], 100)[0] == []

    assert number(connection, "SELECT pgtask.close_circuit('t')::int") == 1
    assert number(connection, "SELECT pgtask.close_circuit('t')::int") == 0
    assert len(work.claim()) == 2


def test_one_opened_for_some_time_probes_then_without_a_breaker_as_well(work: Work, connection: Connection) -> None:
    insert(connection, "t", count=2)
    connection.execute("SELECT pgtask.open_circuit('t', '1 h')")
    assert circuit(connection)["held"] == 3600
    for expected in (60, 120):
        found = probe(work, connection)
        assert found is not None
        ended(work, *found, "failed")
        assert (circuit(connection)["state"], circuit(connection)["held"]) == ("open", expected)


def test_a_circuit_cannot_be_opened_for_no_time(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="longer than nothing"):
        connection.execute("SELECT pgtask.open_circuit('t', '0 s')")


def test_workers_are_told_of_each_change(five: Work, database: str, connection: Connection) -> None:
    with psycopg.connect(database, autocommit=True) as listener:
        listener.execute("LISTEN pgtask")

        def told() -> int:
            return sum(notice.payload == "queues" for notice in listener.notifies(timeout=0.2))

        report(five, failures=4)
        assert told() == 0
        id, attempt = opened(five, connection)
        assert told() == 1
        ended(five, id, attempt, "completed")
        assert told() == 1
        connection.execute("SELECT pgtask.open_circuit('t')")
        assert told() == 1
        connection.execute("SELECT pgtask.close_circuit('t')")
        assert told() == 1


def test_a_draining_worker_does_not_wait_for_what_only_a_person_can_let_go(work: Work, connection: Connection) -> None:
    insert(connection, "t")
    connection.execute("SELECT pgtask.open_circuit('t', '1 h')")
    assert ownership.anything_left(connection, work.worker_id, ["t"], None)
    connection.execute("SELECT pgtask.open_circuit('t')")
    assert not ownership.anything_left(connection, work.worker_id, ["t"], None)


# Rates


def rate(connection: Connection) -> tuple[Any, ...] | None:
    return connection.execute(
        "SELECT rate_limit, rate_period, rate_burst, rate_set_by FROM pgtask.tasks WHERE name = 't'"
    ).fetchone()


def test_registering_does_not_overwrite_a_rate_set_by_hand(work: Work, connection: Connection) -> None:
    register(work, rate_limit="100/min", rate_burst=5)
    assert rate(connection) == (100, 60, 5, None)
    register(work, rate_limit="200/min")
    assert rate(connection) == (200, 60, 3, None)
    connection.execute("UPDATE pgtask.tasks SET rate_limit = 7, rate_set_by = 'dana'")
    register(work, rate_limit="300/min", rate_burst=9)

    assert rate(connection) == (7, 60, 3, "dana")


def test_a_changed_rate_is_told_and_begins_with_its_whole_burst(
    work: Work, database: str, connection: Connection
) -> None:
    register(work, rate_limit="1/h")
    insert(connection, "t", count=5)
    assert len(work.connection.claim_lanes(request(10), [True], ["t"], ["t"], 100)[0]) == 1
    with psycopg.connect(database, autocommit=True) as listener:
        listener.execute("LISTEN pgtask")
        register(work, rate_limit="1/h")
        assert list(listener.notifies(timeout=0.2)) == []
        register(work, rate_limit="100/min", rate_burst=3)
        assert [notice.payload for notice in listener.notifies(timeout=0.2)] == ["queues"]

    assert len(work.connection.claim_lanes(request(10), [True], ["t"], ["t"], 100)[0]) == 3


# Retry budgets


def fail_all(
    work: Work, connection: Connection, count: int, budget: float | None, per_second: float = 50
) -> list[float]:
    """Fails so many jobs of a queue that has had so many starts a second; when they are due, in seconds from now."""
    connection.execute(
        "INSERT INTO pgtask.queues (name, retry_budget, retry_strategy, retry_delay)"
        " VALUES ('default', %s, 'fixed', 10)",
        [budget],
    )
    connection.execute(
        "INSERT INTO pgtask.stats_minute (minute, queue, task, completed)"
        " SELECT m, 'default', 't', %s * extract(epoch FROM now() - m)"
        "   FROM date_trunc('minute', now() - interval '1 min') m",
        [per_second],
    )
    insert(connection, "t", count=count)
    while claimed := work.claim(100):
        ending = (0.5, 0.25, "failed", False, None, None, None, None, None, None)
        same: list[list[Any]] = [[value] * len(claimed) for value in ending]
        work.exchange(endings=Endings([job.id for job in claimed], [job.attempt for job in claimed], *same))
    found = connection.execute("SELECT extract(epoch FROM scheduled_at - now())::float8 FROM pgtask.jobs ORDER BY 1")
    return [row[0] for row in found]


def test_without_a_budget_what_failed_together_comes_back_together(work: Work, connection: Connection) -> None:
    dues = fail_all(work, connection, 1000, None)

    assert len(dues) == 1000
    assert dues[-1] < 11.5


def test_with_a_budget_retries_start_at_no_more_than_its_share(work: Work, connection: Connection) -> None:
    # A fifth of 50 starts a second: ten retries a second.
    dues = fail_all(work, connection, 1000, 0.2)

    assert len(dues) == 1000
    assert number(connection, "SELECT count(*) FROM pgtask.jobs WHERE status = 'pending' AND retry_count = 1") == 1000
    assert 100 < dues[-1] < 125
    seconds = [sum(start <= due < start + 10 for due in dues) for start in range(15, 95, 10)]
    assert all(70 <= count <= 130 for count in seconds), seconds


def test_a_queue_that_starts_little_may_retry_one_a_second(work: Work, connection: Connection) -> None:
    dues = fail_all(work, connection, 50, 0.2, per_second=0.1)

    assert 50 < dues[-1] < 65


def test_a_retry_that_is_within_the_budget_waits_for_its_backoff_alone(work: Work, connection: Connection) -> None:
    assert 8 < fail_all(work, connection, 1, 0.2)[0] < 12


def test_what_is_given_back_uncharged_is_not_postponed(work: Work, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, retry_budget) VALUES ('default', 0)")
    (id,) = insert(connection, "t")
    before = live(connection, id)["scheduled_at"]
    (claimed,) = work.claim()
    assert work.end(claimed.id, claimed.attempt, "released", error=None)

    assert live(connection, id)["scheduled_at"] == before
    assert number(connection, "SELECT count(*) FROM pgtask.limits WHERE scope = 'retry'") == 0


def test_jobs_without_retries_left_fail_as_ever(work: Work, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, retry_budget) VALUES ('default', 0)")
    (id,) = insert(connection, "t", max_retries=0)
    (claimed,) = work.claim()
    assert work.end(claimed.id, claimed.attempt)

    assert job(connection, id) is None


def test_what_is_registered_is_what_was_declared(work: Work, connection: Connection) -> None:
    register(work, breaker=Breaker(failures=3, rate=0.25, window="2m", minimum=8, hold="10s", max_hold="5m"))
    row = connection.execute("SELECT to_jsonb(t) FROM pgtask.tasks t").fetchone()
    assert row is not None
    found = {name: value for name, value in row[0].items() if name.startswith("breaker")}
    assert json.dumps(found, sort_keys=True) == json.dumps(
        {
            "breaker_failures": 3,
            "breaker_hold": 10,
            "breaker_max_hold": 300,
            "breaker_minimum": 8,
            "breaker_rate": 0.25,
            "breaker_window": 120,
        }
    )
