from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pgtask.model.diagnosis import Check, Verdict, listing, worst
from pgtask.model.fleet import WorkerRecord
from pgtask.model.fleet_checks import UnknownTask, check_queues, check_tasks, check_workers
from pgtask.model.queue import QueueRecord
from pgtask.model.schema_checks import (
    INDEXES,
    GrantFacts,
    IndexFacts,
    PartitionFacts,
    SequenceFacts,
    TableFacts,
    check_grants,
    check_indexes,
    check_partitions,
    check_sequences,
    check_tables,
)
from pgtask.model.server_checks import (
    Holder,
    Route,
    ServerFacts,
    check_connections,
    check_horizon,
    check_route,
    check_server,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
GOOD = {
    "autovacuum": "on",
    "autovacuum_naptime": "10000",
    "fsync": "on",
    "full_page_writes": "on",
    "idle_in_transaction_session_timeout": "600000",
    "max_connections": "100",
    "max_wal_size": str(4 * 2**30),
    "shared_buffers": str(2**30),
    "statement_timeout": "0",
    "superuser_reserved_connections": "3",
    "synchronous_commit": "on",
    "track_counts": "on",
}
SERVER = ServerFacts(
    version="18.1",
    version_number=180001,
    in_recovery=False,
    settings=GOOD,
    sessions=5,
    transaction_age=1000,
    notification_queue=0.0,
)
TABLE = TableFacts(name="jobs", live_rows=10, dead_rows=5, vacuumed=60.0, heap_bytes=8192, total_bytes=16384)


def verdicts(checks: Any) -> dict[str, Verdict]:
    return {check.name: check.status for check in checks if check.status != Verdict.OK}


def holder(kind: str, **values: Any) -> Holder:
    empty: dict[str, Any] = {
        "name": "n",
        "pid": 7,
        "state": "idle in transaction",
        "age": None,
        "xid_age": None,
        "retained": None,
    }
    return Holder(kind=kind, **empty | values)


def worker(**values: Any) -> WorkerRecord:
    usual: dict[str, Any] = {
        "id": 1,
        "name": "w",
        "host": "h",
        "pid": 1,
        "version": "0",
        "state": "running",
        "queues": None,
    }
    usual |= {"executors": 2, "slots": 20, "running": 3, "lease": 30.0, "started_at": NOW - timedelta(hours=1)}
    usual |= {"heartbeat_at": NOW, "expires_at": NOW, "stopping_at": None, "dead_at": None, "cpu_percent": None}
    return WorkerRecord(**usual | {"rss_bytes": None, "completed": 0, "unsuccessful": 0, "leader": True} | values)


def queue(**values: Any) -> QueueRecord:
    usual: dict[str, Any] = dict.fromkeys(QueueRecord.__slots__)
    usual |= {"name": "mail", "priority": 0, "pending": 0, "scheduled": 0, "retrying": 0, "running": 0, "workers": 1}
    return QueueRecord(**usual | {"pending_estimated": False, "counts_exact": True} | values)


def test_a_well_kept_server_gives_no_cause_for_concern() -> None:
    assert verdicts(check_server(SERVER)) == {}


@pytest.mark.parametrize(
    ("settings", "name", "verdict"),
    [
        ({"fsync": "off"}, "durability", "problem"),
        ({"full_page_writes": "off"}, "durability", "problem"),
        ({"synchronous_commit": "off"}, "durability", "warning"),
        ({"autovacuum": "off"}, "autovacuum", "problem"),
        ({"track_counts": "off"}, "autovacuum", "problem"),
        ({"autovacuum_naptime": "300000"}, "autovacuum", "warning"),
        ({"shared_buffers": str(128 * 2**20)}, "shared_buffers", "warning"),
        ({"max_wal_size": str(2**30)}, "max_wal_size", "warning"),
        ({"idle_in_transaction_session_timeout": "0"}, "timeouts", "warning"),
    ],
)
def test_each_setting_that_matters_is_judged(settings: dict[str, str], name: str, verdict: str) -> None:
    assert verdicts(check_server(replace(SERVER, settings=GOOD | settings))) == {name: verdict}


@pytest.mark.parametrize(
    ("changes", "name", "verdict"),
    [
        ({"version_number": 140010}, "server", "problem"),
        ({"in_recovery": True}, "server", "problem"),
        ({"transaction_age": 900_000_000}, "wraparound", "warning"),
        ({"transaction_age": 1_900_000_000}, "wraparound", "problem"),
        ({"notification_queue": 0.1}, "notifications", "warning"),
        ({"notification_queue": 0.9}, "notifications", "problem"),
    ],
)
def test_the_server_itself_is_judged(changes: dict[str, Any], name: str, verdict: str) -> None:
    assert verdicts(check_server(replace(SERVER, **changes))) == {name: verdict}


def test_connections_must_suffice_for_the_workers() -> None:
    assert check_connections(SERVER, workers=2, executors=4).status == Verdict.OK
    assert check_connections(SERVER, workers=10, executors=50).status == Verdict.WARNING
    assert check_connections(SERVER, workers=20, executors=40).status == Verdict.PROBLEM
    assert check_connections(replace(SERVER, sessions=95), workers=0, executors=0).status == Verdict.WARNING


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (holder("transaction", age=10.0), "ok"),
        (holder("transaction", age=600.0), "warning"),
        (holder("transaction", age=7200.0), "problem"),
        (holder("prepared", age=600.0), "warning"),
        (holder("slot", xid_age=5), "ok"),
        (holder("slot", xid_age=2_000_000), "warning"),
        (holder("slot", retained=200 * 2**30), "problem"),
        (holder("standby", xid_age=20_000_000), "problem"),
    ],
)
def test_who_holds_back_vacuum_is_named_once_it_matters(found: Holder, verdict: str) -> None:
    (check,) = check_horizon([found], hidden=0)
    assert check.status == verdict
    assert verdict == "ok" or (check.remedy and ("7" in check.remedy or "n" in check.remedy))


def test_sessions_that_cannot_be_seen_are_said_to_be_unseen() -> None:
    checks = list(check_horizon([], hidden=3))
    assert [check.status for check in checks] == [Verdict.OK, Verdict.UNKNOWN]
    assert "3 sessions" in checks[1].found
    assert worst(checks) == Verdict.OK


def test_poolers_and_clocks_are_told() -> None:
    direct = Route(pooled=False, indirect=False, clock_offset=0.2, round_trip=0.01)
    assert verdicts(check_route(direct)) == {}
    assert verdicts(check_route(replace(direct, pooled=True, indirect=True))) == {"route": "warning"}
    assert verdicts(check_route(replace(direct, pooled=True), pooled=True)) == {}
    assert "session pooler" in next(check_route(replace(direct, indirect=True))).found
    for offset, word in ((5.0, "ahead of"), (-5.0, "behind")):
        checks = list(check_route(replace(direct, clock_offset=offset)))
        assert verdicts(checks) == {"clock": "warning"}
        assert word in checks[1].found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"dead_rows": 25_000}, {"dead rows": "warning"}),
        ({"dead_rows": 600_000}, {"dead rows": "problem"}),
        ({"dead_rows": 600_000, "live_rows": 1_000_000}, {}),
        ({"heap_bytes": 10**9}, {"bloat": "warning"}),
        ({"heap_bytes": 10**9, "live_rows": 1_000_000}, {}),
    ],
)
def test_dead_rows_and_bloat_are_judged_against_the_live_rows(
    changes: dict[str, Any], expected: dict[str, str]
) -> None:
    assert verdicts(check_tables([replace(TABLE, **changes)])) == expected


def test_a_missing_or_invalid_index_is_a_problem() -> None:
    every = [IndexFacts(name=name, table="t", valid=True) for name in INDEXES]
    assert verdicts(check_indexes(every)) == {}
    assert verdicts(check_indexes(every[1:])) == {"indexes": "problem"}
    broken = [*every, IndexFacts(name="runs_1", table="runs_20261122", valid=False)]
    (check,) = check_indexes(broken)
    assert (check.status, check.remedy) == ("problem", "REINDEX INDEX pgtask.runs_1;")


def test_a_sequence_near_its_end_is_told() -> None:
    ids = SequenceFacts(name="workers_id_seq", last_value=10, max_value=1000)
    assert verdicts(check_sequences([ids])) == {}
    assert verdicts(check_sequences([replace(ids, last_value=800)])) == {"sequences": "warning"}
    assert verdicts(check_sequences([replace(ids, last_value=990)])) == {"sequences": "problem"}


def partitions(*days: float, **values: Any) -> PartitionFacts:
    ends = [NOW + timedelta(days=day) for day in days]
    usual: dict[str, Any] = {"now": NOW, "ends": ends, "retention_days": 14.0, "in_default": 0}
    return PartitionFacts(**usual | values)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (partitions(0.5, 1.5, 2.5), {}),
        (partitions(0.5), {"partitions": "warning"}),
        (partitions(-0.5), {"partitions": "problem"}),
        (partitions(), {"partitions": "problem"}),
        (partitions(2.0, in_default=3), {"default partition": "warning"}),
        (partitions(2.0, in_default=None), {"default partition": "unknown"}),
        (partitions(-20.0, 2.0), {"retention": "warning"}),
        (partitions(-14.5, 2.0), {}),
        (partitions(2.0, retention_days=None), {"retention": "warning"}),
    ],
)
def test_partitions_must_be_there_ahead_and_be_dropped_in_time(facts: PartitionFacts, expected: dict[str, str]) -> None:
    assert verdicts(check_partitions(facts)) == expected


def test_grants_are_told_by_what_the_role_may_do() -> None:
    facts = GrantFacts(role="r", superuser=False, enqueue=True, read=True, work=True, maintain=True)
    assert check_grants(facts).status == Verdict.OK
    assert check_grants(replace(facts, maintain=False)).status == Verdict.WARNING
    reader = replace(facts, enqueue=False, work=False, maintain=False)
    assert check_grants(reader).status == Verdict.OK
    assert check_grants(replace(reader, read=False)).status == Verdict.PROBLEM


@pytest.mark.parametrize(
    ("workers", "waiting", "expected"),
    [
        ([worker()], 5, {}),
        ([], 0, {"workers": "warning"}),
        ([], 5, {"workers": "problem"}),
        ([worker(slots=0)], 5, {"workers": "problem"}),
        ([worker(), worker(slots=0, leader=False)], 5, {}),
        ([worker(), worker(state="lost")], 0, {"lost workers": "problem"}),
        ([worker(), worker(state="dead")], 0, {"dead workers": "warning"}),
        ([worker(), worker(state="stopped")], 0, {}),
        ([worker(leader=False)], 0, {"leader": "warning"}),
        ([worker(leader=False, started_at=NOW)], 0, {}),
    ],
)
def test_workers_that_are_missing_lost_or_dead_are_told(
    workers: list[WorkerRecord], waiting: int, expected: dict[str, str]
) -> None:
    assert verdicts(check_workers(workers, waiting, NOW)) == expected


def test_a_queue_that_nobody_serves_or_that_is_paused_with_jobs_is_told() -> None:
    assert verdicts(check_queues([queue(pending=5)], NOW)) == {}
    served = queue(name="other")
    (check,) = check_queues([served, queue(pending=5, workers=0)], NOW)
    assert (check.status, check.remedy) == ("problem", "Start one: pgtask worker --queues mail")
    paused = queue(pending=2, retrying=1, paused_at=NOW - timedelta(hours=3), paused_by="dana")
    (check,) = check_queues([paused], NOW)
    assert check.status == Verdict.WARNING
    assert "3 jobs" in check.found
    assert "3 h by dana" in check.found
    assert verdicts(check_queues([queue(paused_at=NOW)], NOW)) == {}


def test_a_task_that_no_live_worker_knows_is_a_problem_while_workers_live() -> None:
    lonely = [UnknownTask(task="it's", jobs=4, oldest=90.0)]
    assert check_tasks(lonely, live_workers=0).status == Verdict.OK
    check = check_tasks(lonely, live_workers=1)
    assert check.status == Verdict.PROBLEM
    assert "4 jobs" in check.found
    assert (check.remedy or "").endswith("""--task 'it'"'"'s'""")


def test_the_gravest_verdict_counts() -> None:
    checks = [Check(name="n", status=verdict, found="") for verdict in Verdict]
    assert worst(checks) == Verdict.PROBLEM
    assert worst(checks[:3]) == Verdict.WARNING
    assert worst(checks[:2]) == worst([]) == Verdict.OK
    assert listing("abcde") == "a, b, c and 2 more"
