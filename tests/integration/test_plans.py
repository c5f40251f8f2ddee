"""The plans of the hot statements, as an executor's connection gets them on a full table.

With statistics, without, and planned while the table was empty and known to be: a plan stays until the next ANALYZE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pgtask.database import connection as connections
from pgtask.database import statements
from pgtask.database.claims import START
from tests.rows import add_worker, ago, insert, number

Connection = psycopg.Connection[Any]
Plan = dict[str, Any]

ROWS = 50_000
PLACEHOLDER = re.compile(r"%\((\w+)\)s")
STATEMENTS = (
    "advance_lane",
    "claim_jobs",
    "claim_keyed",
    "claim_lanes",
    "claim_suspects",
    "complete_jobs",
    "end_jobs",
    "heartbeat",
    "sweep_lanes",
    "write_progress",
)


@pytest.fixture(params=["analysed", "not analysed", "planned when empty"])
def hot(request: pytest.FixtureRequest, database: str, connection: Connection) -> Iterator[Connection]:
    """A connection with an executor's settings on a database with so many waiting jobs, some of them running."""
    connection.execute("ALTER TABLE pgtask.jobs SET (autovacuum_enabled = off)")
    worker = add_worker(connection)
    with connections.connect(database, application_name="test", settings=connections.HOT_SETTINGS) as hot:
        if request.param == "planned when empty":
            connection.execute("VACUUM ANALYZE pgtask.jobs")
            for name in STATEMENTS:
                nothing = sql.SQL(", ").join([sql.NULL] * len(prepare(hot, name)))
                hot.execute(sql.SQL("EXPLAIN EXECUTE {} ({})").format(sql.Identifier(name), nothing))
        fill(connection, worker)
        if request.param == "analysed":
            connection.execute("ANALYZE pgtask.jobs")
        yield hot


def fill(connection: Connection, worker: int) -> None:
    insert(connection, "t", count=1000, scheduled_at=ago(500), status="running", worker_id=worker, attempt=1)
    insert(connection, "t", count=ROWS, scheduled_at=ago(100))
    insert(connection, "t", count=1000, queue="q", priority=7)


def prepare(connection: Connection, name: str) -> list[str]:
    """Prepares a statement under its name, unless that was done; returns its arguments in their order."""
    text = statements.load(name).decode()
    order = list(dict.fromkeys(PLACEHOLDER.findall(text)))
    if not connection.execute("SELECT FROM pg_prepared_statements WHERE name = %s", [name]).rowcount:
        numbered = PLACEHOLDER.sub(lambda match: f"${order.index(match[1]) + 1}", text)
        connection.execute(f"PREPARE {name} AS {numbered}".encode())
    return order


def explain(connection: Connection, name: str, **arguments: Any) -> Plan:
    """What happens when the prepared statement is executed: its plan with what it really read. Nothing is changed."""
    order = prepare(connection, name)
    assert set(order) == set(arguments)
    values = sql.SQL(", ").join(sql.Literal(arguments[name]) for name in order)
    with connection.transaction(force_rollback=True):
        query = sql.SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE {} ({})")
        row = connection.execute(query.format(sql.Identifier(name), values)).fetchone()
    assert row is not None
    plan: Plan = row[0][0]["Plan"]
    return plan


def nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def scans(plan: Plan) -> list[tuple[str, str | None]]:
    """How the jobs table is read, in the order of the plan."""
    return [
        (node["Node Type"], node.get("Index Name"))
        for node in nodes(plan)
        if node.get("Relation Name") == "jobs" and node["Node Type"] != "ModifyTable"
    ]


def blocks(plan: Plan) -> int:
    """Pages looked at."""
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


CLAIM = {"executor": 1, "tasks": ["t", "u"], "limit": 100, "worker_id": 1}


def test_a_claim_reads_its_lanes_by_their_index_and_finds_its_rows_by_their_place(hot: Connection) -> None:
    lanes = {"queues": ["q", "default"], "priorities": [7, 1], "after_times": [START.time] * 2, "after_ids": [0, 0]}

    plan = explain(hot, "claim_jobs", **CLAIM, **lanes)

    assert plan["Actual Rows"] == 100
    assert scans(plan) == [("Index Scan", "jobs_lane"), ("Tid Scan", None)]
    (lane,) = (node for node in nodes(plan) if node.get("Index Name") == "jobs_lane")
    for bound in ("queue =", "priority =", "scheduled_at <=", "ROW(j.scheduled_at, (j.id + 0)) >"):
        assert bound.replace("j.", "") in lane["Index Cond"].replace("j.", "")


def test_a_claim_does_not_look_at_what_lies_before_the_watermark(hot: Connection, connection: Connection) -> None:
    last = connection.execute(
        "SELECT scheduled_at, max(id) FROM pgtask.jobs WHERE status = 'running' GROUP BY 1"
    ).fetchone()
    assert last is not None
    lanes = {"queues": ["default"], "priorities": [1], "after_times": [last[0]], "after_ids": [last[1]]}

    plan = explain(hot, "claim_jobs", **CLAIM, **lanes)

    (lane,) = (node for node in nodes(plan) if node.get("Index Name") == "jobs_lane")
    assert (plan["Actual Rows"], lane["Actual Rows"]) == (100, 100)
    assert lane.get("Rows Removed by Filter", 0) == 0
    assert blocks(plan) < 2500


def test_a_claim_that_finds_nothing_costs_next_to_nothing(hot: Connection) -> None:
    lanes = {"queues": ["none"], "priorities": [1], "after_times": [START.time], "after_ids": [0]}

    plan = explain(hot, "claim_jobs", **CLAIM, **lanes)

    assert plan["Actual Rows"] == 0
    assert blocks(plan) < 10


def test_looking_at_a_stretch_of_a_lane_uses_its_index(hot: Connection) -> None:
    lane = {"queue": "default", "priority": 1, "after_time": START.time, "after_id": 0, "examine": 2000}

    plan = explain(hot, "advance_lane", **CLAIM, **lane)

    assert plan["Actual Rows"] == 100 + 1
    assert sorted(scans(plan), key=str) == [("Index Scan", "jobs_lane"), ("Tid Scan", None), ("Tid Scan", None)]
    (stretch,) = (node for node in nodes(plan) if node.get("Index Name") == "jobs_lane")
    assert stretch["Actual Rows"] == 2000


def test_completing_finds_each_job_by_its_id(hot: Connection, connection: Connection) -> None:
    ids = sorted(row[0] for row in connection.execute("SELECT id FROM pgtask.jobs WHERE status = 'running' LIMIT 100"))
    worker = number(connection, "SELECT id FROM pgtask.workers")
    done = {"attempts": [1] * 100, "started": [1.0] * 100, "ended": [0.5] * 100, "results": ["1"] * 100}
    done |= {"cpu_seconds": None, "peak_rss_bytes": None}

    plan = explain(hot, "complete_jobs", ids=ids, worker_id=worker, **done)

    assert plan["Actual Rows"] == 100
    assert_reached_by_id(plan, 1)
    assert "Seq Scan" not in {node["Node Type"] for node in nodes(plan)}
    assert not [node for node in nodes(plan) if "Join" in node["Node Type"] or "Loop" in node["Node Type"]]


def test_ending_finds_each_job_by_its_id(hot: Connection, connection: Connection) -> None:
    ids = sorted(row[0] for row in connection.execute("SELECT id FROM pgtask.jobs WHERE status = 'running' LIMIT 100"))
    worker = number(connection, "SELECT id FROM pgtask.workers")
    names = ("error_types", "errors", "tracebacks")
    ends = {"attempts": [1] * 100, "started": [1.0] * 100, "ended": [0.5] * 100, "outcomes": ["failed"] * 100}
    ends |= {"cpu_seconds": [None] * 100, "peak_rss_bytes": [None] * 100}
    ends |= {"finals": [False, True] * 50, "delays": [None] * 100, "advised": [False] * 100}
    ends |= {name: ["x"] * 100 for name in names}

    plan = explain(hot, "end_jobs", ids=ids, worker_id=worker, executor=1, **ends)

    assert plan["Actual Rows"] == 100
    assert set(scans(plan)) == {("Index Scan", "jobs_pkey")}
    assert_reached_by_id(plan, 3)


def test_progress_finds_each_job_by_its_id(hot: Connection, connection: Connection) -> None:
    ids = sorted(row[0] for row in connection.execute("SELECT id FROM pgtask.jobs WHERE status = 'running' LIMIT 100"))
    worker = number(connection, "SELECT id FROM pgtask.workers")
    news = {"attempts": [1] * 100, "progress": [50] * 100, "messages": ["half"] * 100}

    plan = explain(hot, "write_progress", ids=ids, worker_id=worker, **news)

    assert_reached_by_id(plan, 1)


def assert_reached_by_id(plan: Plan, times: int) -> None:
    """A condition of the index, not a filter: the other way round the whole index is read for each batch or row."""
    found = [node for node in nodes(plan) if node.get("Index Name") == "jobs_pkey"]
    assert len(found) == times
    for scan in found:
        assert "id = " in scan["Index Cond"]
        assert scan["Actual Rows"] * scan["Actual Loops"] <= 100
        assert scan.get("Rows Removed by Filter", 0) == 0


def test_a_heartbeat_finds_each_job_by_its_id(hot: Connection, connection: Connection) -> None:
    ids = [row[0] for row in connection.execute("SELECT id FROM pgtask.jobs WHERE status = 'running' LIMIT 100")]
    values = {"worker_id": 1, "running": 1, "cpu_percent": 1.0, "rss_bytes": 1, "ids": ids, "attempts": [1] * 100}
    values |= {"tasks": ["t"], "queues": None, "quiet": False, "executors": None, "slots": None}
    values |= {"completed": 1, "unsuccessful": 0}

    plan = explain(hot, "heartbeat", **values)

    assert_reached_by_id(plan, 1)
    assert [index for _, index in scans(plan) if index != "jobs_pkey"] == ["jobs_suspect"]


def test_suspects_are_found_by_their_index(hot: Connection, connection: Connection) -> None:
    connection.execute("UPDATE pgtask.jobs SET suspect = true WHERE id % 1000 = 7 AND status = 'pending'")

    plan = explain(hot, "claim_suspects", executor=1, tasks=["t"], limit=1, worker_id=1, queues=None)

    assert plan["Actual Rows"] == 1
    assert scans(plan) == [("Index Scan", "jobs_suspect")]


def test_a_sweep_probes_each_lane_by_its_index(hot: Connection) -> None:
    plan = explain(hot, "sweep_lanes", queues=None, tasks=["t"])

    assert plan["Actual Rows"] == 2
    assert {index for _, index in scans(plan)} == {"jobs_lane", "jobs_keyed"}
    assert blocks(plan) < 200


def test_a_claim_within_limits_looks_at_no_more_rows_than_it_may(hot: Connection) -> None:
    lanes = {"queues": ["default"], "priorities": [1], "after_times": [START.time], "after_ids": [0]}

    plan = explain(hot, "claim_lanes", **CLAIM | {"limit": 10}, **lanes, only=[False], gated=["x"], examine=2500)

    assert plan["Actual Rows"] == 11
    (lane,) = (node for node in nodes(plan) if node.get("Index Name") == "jobs_lane")
    # PostgreSQL 15 reads one more to number them.
    assert lane["Actual Rows"] in {2500, 2501}
    assert [scan for scan in scans(plan) if scan[1] != "jobs_lane"] == []


def test_a_claim_by_keys_probes_each_key_by_its_index(hot: Connection, connection: Connection) -> None:
    connection.execute("UPDATE pgtask.jobs SET concurrency_key = 'k' || id % 50 WHERE queue = 'q'")

    plan = explain(hot, "claim_keyed", **CLAIM | {"limit": 10}, queue="q", priority=7, after_key="", keys=20)

    assert plan["Actual Rows"] == 11
    assert {index for _, index in scans(plan) if index in {"jobs_lane", "jobs_keyed"}} == {"jobs_keyed"}


def test_lanes_are_found_without_looking_at_their_jobs(hot: Connection, connection: Connection) -> None:
    """On any connection: commands that read the view have no settings of an executor."""
    for reader in (hot, connection):
        found = reader.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT queue FROM pgtask.lanes").fetchone()

        assert found is not None
        plan = found[0][0]["Plan"]
        assert plan["Actual Rows"] == 2
        assert {index for _, index in scans(plan)} == {"jobs_lane"}
        assert blocks(plan) < 100


def test_the_live_holder_of_a_unique_key_is_found_by_its_index(
    database: str, hot: Connection, connection: Connection
) -> None:
    row = connection.execute("SELECT prosrc FROM pg_proc WHERE proname = 'unique_job'").fetchone()
    assert row is not None
    with connections.connect(database, application_name="test") as plain:
        plain.execute(f"PREPARE unique_job (text) AS {row[0]}".encode())
        found = plain.execute("EXPLAIN (FORMAT JSON) EXECUTE unique_job ('k')").fetchone()

    assert found is not None
    assert [index for _, index in scans(found[0][0]["Plan"])] == ["jobs_unique_key"]
