"""How lists of jobs are found in full tables: along an index, as far as a page goes."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

from pgtask.database import finding, statements
from pgtask.database.finding import find
from pgtask.database.reading import reading
from pgtask.model.job_filter import Sort
from pgtask.model.search import parse_search
from tests.rows import ago, insert

Connection = psycopg.Connection[Any]

ROWS = 20_000
OF_RUNS = (
    "find_ended_jobs find_oldest_ended_jobs find_unsuccessful_jobs find_latest_ended_jobs find_latest_unsuccessful_jobs"
)
OF_JOBS = "find_live_jobs find_oldest_live_jobs find_running_jobs find_waiting_jobs"


@pytest.fixture
def full(connection: Connection) -> Connection:
    """So many ended jobs over a day, one in a hundred failed, and so many that wait in ten queues."""
    connection.execute(
        """
        INSERT INTO pgtask.runs (job_id, finished_at, started_at, created_at, scheduled_at, claims, outcome, status,
                                 priority, final, queue, task, unique_key, scoped_key, concurrency_key, worker_id,
                                 error_type, tags)
        SELECT n, now() - (%(rows)s - n) * interval '1 s', now(), now(), now(), 1, 'completed',
               (CASE WHEN n %% 100 = 0 THEN 'failed' ELSE 'completed' END)::pgtask.job_status,
               1, true, 'q' || n %% 10, CASE n WHEN 70 THEN 'rare' ELSE 't' END,
               CASE WHEN n %% 2 = 0 THEN 'key ' || n END, CASE WHEN n %% 2 = 1 THEN 'key ' || n END,
               'concurrency ' || n, CASE n WHEN 70 THEN 5 ELSE 6 END,
               CASE n WHEN 100 THEN 'RareError' END, CASE WHEN n %% 9 = 0 THEN ARRAY['tag ' || n] END
          FROM generate_series(1, %(rows)s) n
        """,
        {"rows": ROWS},
    )
    for queue in range(10):
        # Told by the queue, so that the planner takes lanes for shorter than they are.
        insert(connection, "t", count=ROWS // 10, queue=f"q{queue}", priority=queue, scheduled_at=ago(100))
    connection.execute("VACUUM ANALYZE pgtask.runs")
    connection.execute("VACUUM ANALYZE pgtask.jobs")
    return connection


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many blocks each statement that finds jobs looks at."""
    read: list[int] = []

    def explained(connection: Connection, query: bytes, values: dict[str, Any]) -> None:
        row = connection.execute(b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + query, values, prepare=False).fetchone()
        assert row is not None
        plan = row[0][0]["Plan"]
        read.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

    for name in ("_ids", "_rows"):
        fetch = getattr(finding, name)

        def both(connection: Connection, query: bytes, values: dict[str, Any], fetch: Any = fetch) -> Any:
            explained(connection, query, values)
            return fetch(connection, query, values)

        monkeypatch.setattr(finding, name, both)
    return read


@pytest.mark.parametrize(
    ("sort", "search"),
    [
        (Sort.NEWEST, ""),
        (Sort.NEWEST, "queue:q3"),
        (Sort.NEWEST, "status:failed"),
        (Sort.OLDEST, ""),
        (Sort.OLDEST, "queue:q3 status:completed"),
        (Sort.FINISHED, ""),
        (Sort.FINISHED, "status:failed"),
        (Sort.FINISHED, "queue:q3 since:1h"),
        (Sort.SCHEDULED, ""),
        (Sort.SCHEDULED, "status:pending"),
        (Sort.SCHEDULED, "queue:q3"),
    ],
)
def test_a_page_reads_next_to_nothing(full: Connection, read: list[int], sort: Sort, search: str) -> None:
    with reading(full):
        found = find(full, parse_search(search), sort=sort, limit=51)

    assert len(found) == 51
    # All of either table is more, and all rows by an index are thousands.
    assert sum(read) < 400


@pytest.mark.parametrize(
    "search",
    [
        *("task:rare", "queue:nothing", "worker:5", 'tag:"tag 1800"', "error:RareError", "error:NoError"),
        *('unique_key:"key 2000"', 'unique_key:"key 2001"', 'concurrency_key:"concurrency 2000"'),
    ],
)
def test_what_is_rare_is_found_without_reading_the_history(full: Connection, read: list[int], search: str) -> None:
    with reading(full):
        found = find(full, parse_search(f"{search} status:completed,failed"), limit=51)

    assert len(found) == ("no" not in search.lower())
    # All that failed is 200 blocks, all of the history 357 or, by an index, thousands.
    assert sum(read) < 250


def conditions(name: str) -> set[str]:
    """What a statement asks for by a filter, without the spaces."""
    text = re.sub(r"--.*", "", statements.load(name).decode())
    found = re.findall(r"AND \((%\((\w+)\)s::\S+ IS NULL\s+OR .*)\)$", text, flags=re.MULTILINE)
    apart = {"before", "after", "before_time", "after_time", "statuses"}
    return {" ".join(condition.split()) for condition, parameter in found if parameter not in apart}


@pytest.mark.parametrize("names", [OF_RUNS, OF_JOBS])
def test_all_lists_understand_the_same_filters(names: str) -> None:
    first, *others = names.split()

    assert len(conditions(first)) > 15
    for other in others:
        assert conditions(other) >= conditions(first)


def test_ended_jobs_are_sorted_by_their_end_however_many_ended_at_once(
    full: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "MOST", 30)
    full.execute("UPDATE pgtask.runs SET finished_at = date_trunc('hour', finished_at) WHERE mod(job_id, 3) = 0")
    expected = full.execute(
        "SELECT job_id FROM pgtask.runs ORDER BY finished_at DESC, job_id DESC LIMIT 2000"
    ).fetchall()

    with reading(full):
        found = find(full, parse_search("status:completed,failed"), sort=Sort.FINISHED, limit=2000)

    assert [place.id for place in found] == [id for (id,) in expected]
