"""Claiming within limits, seen from the database: what is let through, what is counted, and what is freed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from pgtask.database import ownership
from pgtask.database.claims import START, ClaimedRow, ClaimRequest, Looked, Position, Served
from pgtask.engine.claimer import Claimer
from pgtask.engine.lane import EXAMINE, Kind
from tests.integration.conftest import TASKS, Work, request
from tests.rows import ago, insert, live, number

Connection = psycopg.Connection[Any]

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def lanes(
    work: Work,
    limit: int = 100,
    *,
    queue: str = "q",
    only: bool = False,
    gated: list[str] | None = None,
    **options: int,
) -> tuple[list[ClaimedRow], Looked | None]:
    wanted = ClaimRequest([queue], [options.get("priority", 1)], [START.time], [START.id], limit)
    claimed, looked = work.connection.claim_lanes(wanted, [only], gated or [], TASKS, options.get("examine", EXAMINE))
    return claimed, looked.get(0)


def claim(work: Work, limit: int = 100, *, queue: str = "q") -> list[int]:
    """The ids claimed from a lane within limits."""
    return sorted(row[0] for row in lanes(work, limit, queue=queue)[0])


def keyed(work: Work, after: str = "", limit: int = 100, keys: int = 100) -> tuple[list[int], Served]:
    claimed, served = work.connection.claim_keyed("q", 1, after, keys, limit, TASKS)
    return sorted(row[0] for row in claimed), served


def used(connection: Connection, scope: str = "queue", name: str = "q", key: str = "") -> int:
    found = connection.execute(
        "SELECT used FROM pgtask.limits WHERE scope = %s AND name = %s AND key = %s", [scope, name, key]
    ).fetchone()
    return 0 if found is None else int(found[0])


def free(work: Work, *ids: int, attempt: int = 1) -> None:
    work.connection.exchange(None, None, None, None, TASKS, limited=[(id, attempt) for id in ids])


@pytest.fixture
def narrow(connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, max_workers) VALUES ('q', 3)")


# What is let through


def test_a_queues_limit_holds_over_several_claims(
    work: Work, make_work: Callable[..., Work], narrow: None, connection: Connection
) -> None:
    ids = insert(connection, "t", count=10, queue="q")

    assert claim(work, 2) == ids[:2]
    assert claim(make_work()) == ids[2:3]
    assert claim(work) == []
    assert used(connection) == 3

    assert work.complete((ids[0], 1)) == {ids[0]}
    free(work, ids[0])
    assert claim(work) == ids[3:4]


def test_an_ordinary_claim_takes_nothing_from_a_queue_with_limits_or_with_a_key(
    work: Work, narrow: None, connection: Connection
) -> None:
    insert(connection, "t", queue="q")
    insert(connection, "t", concurrency_key="k")
    (plain,) = insert(connection, "t")

    claimed = work.exchange(claim=request(10, ("q", 1), ("default", 1))).claimed
    advanced = work.connection.advance("q", 1, START, EXAMINE, 10, TASKS)[0]
    advanced += work.connection.advance("default", 1, START, EXAMINE, 10, TASKS)[0]

    assert [row[0] for row in claimed] == [plain]
    assert advanced == []


@pytest.mark.parametrize("change", ["paused_at = now()", "max_workers = 0"])
def test_a_queue_that_is_paused_or_shut_gives_nothing(
    work: Work, narrow: None, connection: Connection, change: str
) -> None:
    insert(connection, "t", queue="q")
    insert(connection, "t", queue="q", concurrency_key="k")
    connection.execute(f"UPDATE pgtask.queues SET {change}".encode())

    assert claim(work) == []
    assert keyed(work)[0] == []


def test_only_a_living_worker_gets_any(work: Work, connection: Connection) -> None:
    (id,) = insert(connection, "t", queue="q")
    connection.execute("UPDATE pgtask.workers SET dead_at = now() WHERE id = %s", [work.worker_id])
    assert claim(work) == []

    connection.execute("UPDATE pgtask.workers SET dead_at = NULL, expires_at = now()")
    assert claim(work) == []

    connection.execute("UPDATE pgtask.workers SET expires_at = now() + interval '1 hour'")
    assert claim(work) == [id]


def test_what_is_not_due_suspect_unknown_too_late_or_keyed_is_passed_over(
    work: Work, narrow: None, connection: Connection
) -> None:
    insert(connection, "t", queue="q", scheduled_at=ago(-60))
    insert(connection, "t", queue="q", suspect=True)
    insert(connection, "unknown", queue="q")
    insert(connection, "t", queue="q", start_by=ago(1))
    insert(connection, "t", queue="q", concurrency_key="k")
    (id,) = insert(connection, "t", queue="q", start_by=ago(-60))

    claimed, looked = lanes(work)

    assert [row[0] for row in claimed] == [id]
    assert looked is not None
    assert (looked.examined, looked.claimable, looked.held_back) == (5, 1, False)


def test_a_deadline_to_start_by_holds_for_ordinary_claims_as_well(work: Work, connection: Connection) -> None:
    insert(connection, "t", start_by=ago(1))
    (id,) = insert(connection, "t", start_by=ago(-60))

    claimed = work.exchange(claim=request(10)).claimed
    insert(connection, "t", start_by=ago(1))

    assert [row[0] for row in claimed] == [id]
    assert work.connection.advance("default", 1, START, EXAMINE, 10, TASKS)[0] == []


def test_each_key_has_its_own_limit_and_the_queues_holds_as_well(work: Work, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, max_workers, max_workers_per_key) VALUES ('q', 5, 2)")
    a = insert(connection, "t", count=4, queue="q", concurrency_key="a")
    b = insert(connection, "t", count=4, queue="q", concurrency_key="b")
    c = insert(connection, "t", count=4, queue="q", concurrency_key="c")

    assert keyed(work)[0] == [*a[:2], *b[:2], c[0]]

    assert [used(connection, "key", key=key) for key in "abc"] == [2, 2, 1]
    assert used(connection) == 5
    assert keyed(work) == ([], Served("", 3, 1))


def test_keys_take_turns_from_where_the_last_claim_ended(work: Work, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, max_workers_per_key) VALUES ('q', 9)")
    ids = {key: insert(connection, "t", count=3, queue="q", concurrency_key=key) for key in "abcd"}

    first, served = keyed(work, limit=2)
    assert (first, served.last_key) == ([ids["a"][0], ids["b"][0]], "b")
    second, served = keyed(work, "b", limit=3)
    assert (second, served.keys) == ([*ids["c"][:2], ids["d"][0]], 2)
    assert keyed(work, "d", limit=3) == ([], Served("", 0, 0))
    assert keyed(work, limit=2, keys=1)[0] == ids["a"][1:]


def test_a_rate_lets_its_burst_through_and_then_what_time_gives(work: Work, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, rate_limit, rate_period, rate_burst) VALUES ('q', 6, 60, 4)")
    ids = insert(connection, "t", count=10, queue="q")
    assert claim(work) == ids[:4]
    assert claim(work) == []

    connection.execute("UPDATE pgtask.limits SET free_at = free_at - interval '10 s'")
    assert claim(work) == ids[4:5]
    connection.execute("UPDATE pgtask.limits SET free_at = free_at - interval '9 s'")
    assert claim(work) == []
    connection.execute("UPDATE pgtask.limits SET free_at = free_at - interval '1 day'")
    assert claim(work) == ids[5:9]
    assert used(connection) == 0


def test_a_tasks_rate_holds_back_its_jobs(work: Work, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.tasks (name, rate_limit, rate_period, rate_burst) VALUES ('t', 1, 60, 2)")
    ids = insert(connection, "t", count=5, queue="q")
    insert(connection, "unknown", count=5, queue="q")

    claimed, looked = lanes(work, only=True, gated=["t"])
    assert sorted(row[0] for row in claimed) == ids[:2]
    assert looked is not None
    assert (looked.examined, looked.claimable, looked.held_back) == (10, 5, False)

    claimed, looked = lanes(work, only=True, gated=["t"])
    assert claimed == []
    assert looked is not None
    assert (looked.examined, looked.claimable, looked.held_back) == (10, 0, True)


def test_a_circuit_that_has_been_open_for_long_enough_lets_one_job_through(
    work: Work, make_work: Callable[..., Work], connection: Connection
) -> None:
    connection.execute("INSERT INTO pgtask.tasks (name) VALUES ('t')")
    connection.execute(
        "INSERT INTO pgtask.circuits (task, state, hold_until) VALUES ('t', 'open', now() + interval '1 h')"
    )
    ids = insert(connection, "t", count=5, queue="q")
    assert lanes(work, only=True, gated=["t"])[0] == []

    connection.execute("UPDATE pgtask.circuits SET hold_until = now()")
    (probe,) = lanes(work, only=True, gated=["t"])[0]

    assert probe[0] == ids[0]
    assert lanes(make_work(), only=True, gated=["t"])[0] == []
    found = connection.execute("SELECT state, probe_job_id, probe_attempt FROM pgtask.circuits").fetchall()
    assert found == [("half_open", ids[0], 1)]


def test_a_suspect_counts_against_limits(work: Work, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, max_workers) VALUES ('q', 1)")
    first, second = insert(connection, "t", count=2, queue="q", suspect=True)
    (free_of_limits,) = insert(connection, "t", suspect=True)

    taken = {row[0] for row in work.connection.claim_suspects(None, 10, TASKS)}

    assert taken == {first, free_of_limits}
    free(work, first)
    assert [row[0] for row in work.connection.claim_suspects(None, 10, TASKS)] == [second]


# What is counted and freed


def test_racing_claims_never_exceed_a_limit(make_work: Callable[..., Work], connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, max_workers, max_workers_per_key) VALUES ('q', 7, 3)")
    for key in ("a", "b", "c", "d"):
        insert(connection, "t", count=150, queue="q", concurrency_key=key)
    insert(connection, "t", count=200, queue="q")

    def serve(work: Work) -> list[Counter[str]]:
        seen = []
        idle = 0
        while idle < 20:
            rows = lanes(work, 5)[0] + work.connection.claim_keyed("q", 1, "", 100, 5, TASKS)[0]
            idle = 0 if rows else idle + 1
            if rows:
                seen.append(work.running_keys("q"))
                work.complete_limited(*sorted((row[0], row[1]) for row in rows))
        return seen

    with ThreadPoolExecutor() as pool:
        seen = [keys for part in pool.map(serve, [make_work() for _ in range(4)]) for keys in part]

    assert number(connection, "SELECT count(*) FROM pgtask.jobs") == 0
    assert max(keys.total() for keys in seen) <= 7
    assert max(keys[key] for keys in seen for key in "abcd") <= 3
    assert number(connection, "SELECT count(*) FROM pgtask.limit_holds") == 0
    assert number(connection, "SELECT sum(used) FROM pgtask.limits") == 0


def test_what_was_freed_is_not_freed_again_nor_by_an_older_attempt(
    work: Work, narrow: None, connection: Connection
) -> None:
    ids = insert(connection, "t", count=4, queue="q", attempt=6)
    assert claim(work) == ids[:3]

    free(work, *ids[:3], attempt=6)
    assert used(connection) == 3
    free(work, *ids[:2], attempt=7)
    free(work, *ids[:2], attempt=7)
    assert used(connection) == 1


def test_the_jobs_of_a_dead_worker_hold_nothing_any_more(work: Work, narrow: None, connection: Connection) -> None:
    insert(connection, "t", count=3, queue="q")
    assert len(claim(work)) == 3

    ownership.free(connection, [work.worker_id], None, started=None, outcome="lost", error=None)

    assert used(connection) == 0
    assert number(connection, "SELECT count(*) FROM pgtask.limit_holds") == 0


def test_repair_frees_what_runs_no_more_and_corrects_counts(work: Work, narrow: None, connection: Connection) -> None:
    ids = insert(connection, "t", count=3, queue="q")
    insert(connection, "t", queue="q", concurrency_key="k")
    claim(work, 2)
    assert len(keyed(work)[0]) == 1
    assert ownership.repair_limits(connection) == 0

    connection.execute("DELETE FROM pgtask.jobs WHERE id = %s", [ids[0]])
    connection.execute("UPDATE pgtask.limits SET used = 9 WHERE scope = 'key'")

    assert ownership.repair_limits(connection) == 2
    assert (used(connection), used(connection, "key", key="k")) == (2, 1)
    assert ownership.repair_limits(connection) == 0


def test_keys_of_which_nothing_runs_are_forgotten(work: Work, connection: Connection) -> None:
    (a,) = insert(connection, "t", queue="q", concurrency_key="a")
    insert(connection, "t", queue="q", concurrency_key="b")
    keyed(work)
    free(work, a)

    ownership.prune_limits(connection)

    assert connection.execute("SELECT key FROM pgtask.limits").fetchall() == [("b",)]


def test_what_runs_when_a_queue_gets_its_limit_counts(work: Work, connection: Connection) -> None:
    ids = insert(connection, "t", count=4, queue="q")
    assert len(work.exchange(claim=request(2, ("q", 1))).claimed) == 2

    connection.execute("INSERT INTO pgtask.queues (name, max_workers) VALUES ('q', 3)")

    assert used(connection) == 2
    assert len(claim(work)) == 1
    connection.execute("UPDATE pgtask.queues SET max_workers = NULL")
    assert len(work.exchange(claim=request(2, ("q", 1))).claimed) == 1
    connection.execute("UPDATE pgtask.queues SET max_workers = 4")
    assert used(connection) == 4
    assert live(connection, ids[3])["status"] == "running"


# What an executor learns of limits


def test_a_claimer_looks_at_everything_anew_when_tasks_get_limits_or_lose_them(
    work: Work, connection: Connection
) -> None:
    insert(connection, "t")
    claimer = Claimer(None, ["t", "u"], 1.0, listen=False)

    def learn(change: str) -> tuple[list[str], dict[Kind, Position]]:
        for lane in claimer.lanes.all():
            lane.watermark = Position(NOW, 5)
        connection.execute(change.encode())
        claimer.queues_changed()
        claimer.look(work.connection, 10)
        return claimer.tasks, {lane.kind: lane.watermark for lane in claimer.lanes.all()}

    assert learn("INSERT INTO pgtask.tasks (name) VALUES ('t'), ('x')") == (["t", "u"], {Kind.PLAIN: START})
    unchanged = "INSERT INTO pgtask.circuits (task, state) VALUES ('x', 'open'), ('u', 'closed')"
    assert learn(unchanged) == (["t", "u"], {Kind.PLAIN: Position(NOW, 5)})
    both = {Kind.PLAIN: START, Kind.GATED: START}
    assert learn("UPDATE pgtask.tasks SET rate_limit = 1, rate_period = 1, rate_burst = 1 WHERE name = 't'") == (
        ["u"],
        both,
    )
    assert learn("UPDATE pgtask.circuits SET state = 'half_open'") == ([], both)
    assert learn(
        "DELETE FROM pgtask.circuits; UPDATE pgtask.tasks SET rate_limit = NULL, rate_period = NULL, rate_burst = NULL"
    ) == (
        ["t", "u"],
        {Kind.PLAIN: START},
    )


# What was found by a review


def test_keys_go_on_taking_turns_where_the_queue_is_full(work: Work, narrow: None, connection: Connection) -> None:
    for key in "abcdef":
        insert(connection, "t", queue="q", concurrency_key=key, count=2)
    first, served = keyed(work)
    assert (len(first), served.last_key) == (3, "c")

    assert keyed(work, served.last_key)[0] == []
    assert keyed(work, served.last_key)[1].last_key == "c", "it does not begin again with the first"


def test_tasks_with_limits_are_told_of_though_nothing_waits(work: Work, connection: Connection) -> None:
    connection.execute(
        "INSERT INTO pgtask.tasks (name, queue, rate_limit, rate_period, rate_burst) VALUES ('t', 'q', 1, 60, 1)"
    )

    assert work.connection.survey(None, TASKS) == ([], ["t"])

    claimer = Claimer(None, TASKS, 1.0, listen=False)
    assert claimer.look(work.connection, 10) == []
    assert "t" not in claimer.tasks, "it is not to be claimed by statements that know no limits"


def test_a_job_that_may_not_start_holds_up_no_other_of_its_key(work: Work, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.tasks (name, queue) VALUES ('u', 'q')")
    connection.execute("SELECT pgtask.open_circuit('u')")
    insert(connection, "u", queue="q", concurrency_key="k")
    (free_one,) = insert(connection, "t", queue="q", concurrency_key="k")

    claimed, _ = work.connection.claim_keyed("q", 1, "", 100, 10, [*TASKS, "u"])
    assert [row[0] for row in claimed] == [free_one]


def test_a_new_rate_of_a_queue_begins_at_once(work: Work, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, rate_limit, rate_period, rate_burst) VALUES ('q', 1, 3600, 1)")
    insert(connection, "t", queue="q", count=5)
    assert len(claim(work)) == 1
    assert claim(work) == []

    connection.execute("UPDATE pgtask.queues SET rate_limit = 100, rate_period = 1, rate_burst = 3 WHERE name = 'q'")
    assert len(claim(work)) == 3
