"""The plans of the hot statements, as an executor's connection gets them on a full table, statistics or none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pgtask.database import connection as connections
from pgtask.database import statements
from pgtask.database.work import START
from tests.rows import add_worker, ago, insert, number

Connection = psycopg.Connection[Any]
Plan = dict[str, Any]

ROWS = 50_000
PLACEHOLDER = re.compile(r"%\((\w+)\)s")


@pytest.fixture(params=["analysed", "not analysed"])
def hot(request: pytest.FixtureRequest, database: str, connection: Connection) -> Iterator[Connection]:
    """A connection with an executor's settings on a database with so many waiting jobs, some of them running."""
    connection.execute("ALTER TABLE pgtask.jobs SET (autovacuum_enabled = off)")
    worker = add_worker(connection)
    insert(connection, "t", count=1000, scheduled_at=ago(500), status="running", worker_id=worker, attempt=1)
    insert(connection, "t", count=ROWS, scheduled_at=ago(100))
    insert(connection, "t", count=1000, queue="q", priority=7)
    if request.param == "analysed":
        connection.execute("ANALYZE pgtask.jobs")
    with connections.connect(database, application_name="test", settings=connections.HOT_SETTINGS) as hot:
        yield hot


def explain(connection: Connection, name: str, **arguments: Any) -> Plan:
    """What happens when the prepared statement is executed: its plan with what it really read. Nothing is changed."""
    text = statements.load(name).decode()
    order = list(dict.fromkeys(PLACEHOLDER.findall(text)))
    assert set(order) == set(arguments)
    numbered = PLACEHOLDER.sub(lambda match: f"${order.index(match[1]) + 1}", text)
    connection.execute(f"PREPARE tested AS {numbered}".encode())
    values = sql.SQL(", ").join(sql.Literal(arguments[name]) for name in order)
    with connection.transaction(force_rollback=True):
        query = sql.SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE tested ({})").format(values)
        row = connection.execute(query).fetchone()
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
    for bound in ("queue =", "priority =", "scheduled_at <=", "ROW(j.scheduled_at, j.id) >"):
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

    plan = explain(hot, "complete_jobs", ids=ids, worker_id=worker, **done)

    assert plan["Actual Rows"] == 100
    # A condition of the index, not a filter: the other way round the whole index is read for each batch.
    (scan,) = (node for node in nodes(plan) if "Index Name" in node)
    assert scan["Index Name"] == "jobs_pkey"
    assert scan["Index Cond"].startswith("(id = ANY")
    assert "Seq Scan" not in {node["Node Type"] for node in nodes(plan)}
    assert not [node for node in nodes(plan) if "Join" in node["Node Type"] or "Loop" in node["Node Type"]]


def test_ending_finds_each_job_by_its_id(hot: Connection, connection: Connection) -> None:
    ids = [row[0] for row in connection.execute("SELECT id FROM pgtask.jobs WHERE status = 'running' LIMIT 100")]
    worker = number(connection, "SELECT id FROM pgtask.workers")
    names = ("error_types", "errors", "tracebacks")
    ends = {"attempts": [1] * 100, "started": [1.0] * 100, "ended": [0.5] * 100, "outcomes": ["failed"] * 100}
    ends |= {"finals": [False, True] * 50, "delays": [None] * 100} | {name: ["x"] * 100 for name in names}

    plan = explain(hot, "end_jobs", ids=ids, worker_id=worker, executor=1, **ends)

    assert plan["Actual Rows"] == 100
    assert set(scans(plan)) == {("Index Scan", "jobs_pkey")}


def test_a_heartbeat_finds_each_job_by_its_id(database: str, hot: Connection, connection: Connection) -> None:
    """Its connection has no settings of its own, so the planner decides by the table's statistics."""
    ids = [row[0] for row in connection.execute("SELECT id FROM pgtask.jobs WHERE status = 'running' LIMIT 100")]
    values = {"worker_id": 1, "running": 1, "cpu_percent": 1.0, "rss_bytes": 1, "ids": ids, "attempts": [1] * 100}

    with connections.connect(database, application_name="test") as plain:
        plan = explain(plain, "heartbeat", **values)

    assert scans(plan) == [("Index Scan", "jobs_pkey")]


def test_a_sweep_probes_each_lane_by_its_index(hot: Connection) -> None:
    plan = explain(hot, "sweep_lanes", queues=None)

    assert plan["Actual Rows"] == 2
    assert {index for _, index in scans(plan)} == {"jobs_lane"}
    assert blocks(plan) < 200


def test_the_live_holder_of_a_unique_key_is_found_by_its_index(database: str, hot: Connection) -> None:
    with connections.connect(database, application_name="test") as plain:
        plan = explain(plain, "find_unique_job", unique_key="k")

    assert [index for _, index in scans(plan)] == ["jobs_unique_key"]
