"""The plans by which dead letters are found, in a history in which one of a hundred jobs has failed."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from pgtask.database import statements
from tests.integration.test_plans import Plan, blocks, nodes

Connection = psycopg.Connection[Any]

RUNS = 100_000
FAILED = RUNS // 100
NOTHING = dict.fromkeys(("before_time", "before_id", "since", "status", "queue", "queues", "task", "error_type", "tag"))


@pytest.fixture
def history(connection: Connection) -> Connection:
    """A connection to a database with so many runs; one in ten failures is resolved."""
    connection.execute(
        """
        INSERT INTO pgtask.runs (job_id, finished_at, created_at, scheduled_at, claims, retry_count, crash_count,
                                 outcome, status, priority, final, queue, task, payload, error_type)
        SELECT n, now() - make_interval(secs => n * 0.06), now(), now(), 1, 0, 0, ended::pgtask.run_outcome,
               ended::pgtask.job_status, 1, true, 'q', 't', '{}',
               CASE WHEN ended = 'failed' THEN 'E' || n %% 7 END
          FROM generate_series(1, %s) n
         CROSS JOIN LATERAL (SELECT CASE WHEN n %% 100 = 0 THEN 'failed' ELSE 'completed' END) AS r (ended)
        """,
        [RUNS],
    )
    connection.execute(
        "INSERT INTO pgtask.resolutions (job_id) SELECT n FROM generate_series(1000, %s, 1000) n", [RUNS]
    )
    connection.execute("ANALYZE pgtask.runs, pgtask.resolutions")
    return connection


def explain(connection: Connection, name: str, **arguments: Any) -> Plan:
    query = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statements.load(name)
    row = connection.execute(query, arguments, prepare=False).fetchone()
    assert row is not None
    plan: Plan = row[0][0]["Plan"]
    return plan


def assert_dead_letters_only(plan: Plan) -> None:
    """No partition is read whole but empty ones, and no more pages than a few for each that failed."""
    for node in nodes(plan):
        read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        assert not (node["Node Type"] == "Seq Scan" and node["Relation Name"].startswith("runs") and read)
    assert blocks(plan) < 3 * FAILED


def place(connection: Connection, id: int) -> dict[str, Any]:
    row = connection.execute("SELECT finished_at FROM pgtask.runs WHERE job_id = %s", [id]).fetchone()
    assert row is not None
    return {"time": row[0], "id": id}


def test_a_page_reads_nothing_that_completed(history: Connection) -> None:
    plan = explain(history, "find_dead_letters", **NOTHING | {"limit": 50})

    assert plan["Actual Rows"] == 50
    assert_dead_letters_only(plan)


def test_a_late_page_does_neither(history: Connection) -> None:
    before = place(history, RUNS * 9 // 10)
    bounds = {"before_time": before["time"], "before_id": before["id"], "limit": 50}

    plan = explain(history, "find_dead_letters", **NOTHING | bounds)

    assert plan["Actual Rows"] == 50
    assert_dead_letters_only(plan)


def test_a_batch_is_found_from_where_the_one_before_ended(history: Connection) -> None:
    after, until = place(history, RUNS // 2), place(history, 100)
    values = {
        "after_time": after["time"],
        "after_id": after["id"],
        "until_time": until["time"],
        "until_id": until["id"],
    }
    known = {name: value for name, value in NOTHING.items() if not name.startswith("before")}

    plan = explain(history, "find_oldest_dead_letters", **known, **values, limit=50)

    assert plan["Actual Rows"] == 50
    assert_dead_letters_only(plan)


def test_counting_and_grouping_do_not_read_what_completed(history: Connection) -> None:
    known = {name: value for name, value in NOTHING.items() if not name.startswith("before")}

    plan = explain(history, "group_dead_letters", **known, limit=100)

    assert plan["Actual Rows"] == 7
    assert_dead_letters_only(plan)
