from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from pgtask.database import following
from pgtask.database.connection import connect
from pgtask.database.following import Follower, JobFollower
from pgtask.model.errors import JobNotFoundError
from pgtask.model.job_filter import JobFilter
from pgtask.model.status import JobStatus
from tests.command_line import add_run, run
from tests.rows import Connection, ago, insert


def following_now(database: str, connection: Connection, **wanted: object) -> Follower:
    """A follower that has seen how things stand."""
    follower = Follower(JobFilter(**wanted))  # type: ignore[arg-type]
    assert follower.look(connection) == []
    return follower


@pytest.fixture
def reading(database: str) -> Iterator[Connection]:
    with connect(database, application_name="test") as opened:
        yield opened


def ids(follower: Follower, connection: Connection) -> list[int]:
    return [event.id for event in follower.look(connection)]


def test_what_was_there_before_is_not_told(database: str, connection: Connection, reading: Connection) -> None:
    add_run(connection, 1, finished_at=ago(1))
    insert(connection, "t", status="running", attempt=1, worker_id=1, started_at=ago(1))
    follower = following_now(database, reading)
    assert ids(follower, reading) == []


def test_an_attempt_is_told_once_when_it_starts_and_once_when_it_ends(
    database: str, connection: Connection, reading: Connection
) -> None:
    follower = following_now(database, reading)
    (id,) = insert(connection, "t", status="running", attempt=1, worker_id=7, started_at=ago(5))
    (started,) = follower.look(reading)
    assert (started.event, started.status, started.id, started.worker_id) == ("started", "running", id, 7)
    connection.execute("DELETE FROM pgtask.jobs")
    add_run(connection, id, "failed", task="t", worker_id=7, error_type="ValueError", error="bad")
    (ended,) = follower.look(reading)
    assert (ended.event, ended.status, ended.outcome, ended.error) == ("ended", "failed", "failed", "bad")
    assert ended.seconds is not None
    assert follower.look(reading) == []


@pytest.mark.parametrize("overlap", [1, 15])
def test_whatever_commits_late_and_out_of_order_is_told_exactly_once(
    database: str, connection: Connection, reading: Connection, overlap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PAGE", 3)
    monkeypatch.setattr(following, "FIRST_OVERLAP", timedelta(seconds=20))
    monkeypatch.setattr(following, "LEAST_OVERLAP", timedelta(seconds=overlap))
    monkeypatch.setattr(following, "LONGEST_OVERLAP", timedelta(seconds=20))
    rng = random.Random(overlap)
    follower = following_now(database, reading)
    told: list[int] = []
    open_ones: list[psycopg.Connection] = []
    next_id = 1
    for _ in range(150):
        match rng.choice(["begin", "commit", "write", "look"]):
            case "begin" if len(open_ones) < 6:
                open_ones.append(psycopg.connect(database))
                open_ones[-1].execute("SELECT pg_current_xact_id()")
            case "write":
                target = rng.choice([connection, *open_ones])
                # In a subtransaction at times: its number is not its parent's.
                with target.transaction() if rng.random() < 0.5 else target.cursor():
                    for _ in range(rng.randrange(1, 6)):
                        add_run(target, next_id, finished_at=ago(rng.uniform(0, 0.5)))
                        next_id += 1
            case "commit" if open_ones:
                with open_ones.pop(rng.randrange(len(open_ones))) as done:
                    done.commit()
            case _:
                told += ids(follower, reading)
    for done in open_ones:
        done.commit()
        done.close()
    told += ids(follower, reading)
    told += ids(follower, reading)
    assert sorted(told) == list(range(1, next_id))


def test_a_run_that_is_retried_by_hand_is_not_told_again(
    database: str, connection: Connection, reading: Connection
) -> None:
    add_run(connection, 1, "failed", task="t", finished_at=ago(1))
    follower = following_now(database, reading)
    add_run(connection, 2, "failed", task="t")
    assert ids(follower, reading) == [2]
    connection.execute("SELECT pgtask.retry(1), pgtask.retry(2)")
    assert ids(follower, reading) == []


def test_what_happened_during_an_outage_is_told_after_it(
    database: str, connection: Connection, reading: Connection
) -> None:
    follower = following_now(database, reading)
    reading.close()
    with pytest.raises(Exception, match=r".*"):
        follower.look(reading)
    add_run(connection, 1)
    with connect(database, application_name="test") as again:
        assert ids(follower, again) == [1]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"queue": "mail"}, [2]),
        ({"task": "mail.*"}, [1]),
        ({"tag": "vip"}, [3, 4]),
        ({"statuses": frozenset({JobStatus.FAILED})}, [2]),
        ({"statuses": frozenset({JobStatus.RETRYING})}, [4]),
        ({"statuses": frozenset({JobStatus.RUNNING})}, [5]),
        ({"statuses": frozenset({JobStatus.COMPLETED, JobStatus.RUNNING})}, [1, 3, 5]),
    ],
)
def test_filters_hold(
    database: str, connection: Connection, reading: Connection, wanted: dict[str, object], expected: list[int]
) -> None:
    follower = following_now(database, reading, **wanted)
    add_run(connection, 1, task="mail.send")
    add_run(connection, 2, "failed", queue="mail")
    add_run(connection, 3, tags=["vip"])
    insert(connection, "t", id=4, tags=["vip"], retry_count=1, scheduled_at=ago(-60))
    add_run(connection, 4, None, task="t", attempt=1)
    insert(connection, "t", id=5, status="running", attempt=1, worker_id=1, started_at=ago(1))
    assert sorted(ids(follower, reading)) == expected


def test_a_look_at_a_long_history_reads_only_its_end(connection: Connection, reading: Connection) -> None:
    rows = "generate_series(1, 50000) AS n"
    connection.execute(
        "INSERT INTO pgtask.runs (job_id, finished_at, outcome, status, priority, final, queue, task) "
        "SELECT n, now() - interval '6 h' + n * interval '400 ms', 'completed', 'completed', 1, true, 'q', 't' "
        f"FROM {rows}"
    )
    connection.execute("VACUUM ANALYZE pgtask.runs")
    now, horizon, newest = connection.execute(
        "SELECT now(), pg_snapshot_xmin(pg_current_snapshot())::text::int8, "
        "pg_snapshot_xmax(pg_current_snapshot())::text::int8"
    ).fetchone() or (None, 0, 0)
    from pgtask.database import statements

    values = dict.fromkeys(("statuses", "queue", "task", "tag")) | {"since": now, "horizon": horizon, "newest": newest}
    values |= {"after_time": now, "after_id": 0, "after_attempt": 0, "limit": 100}
    query = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statements.load("follow_runs")
    plan = (reading.execute(query, values, prepare=False).fetchone() or [None])[0][0]["Plan"]
    pages = connection.execute("SELECT sum(pg_relation_size(inhrelid)) / 8192 FROM pg_inherits").fetchone()
    assert pages is not None
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 100 < int(pages[0])


def test_log_lines_of_a_job_come_once_whatever_attempt_they_belong_to(
    connection: Connection, reading: Connection
) -> None:
    (id,) = insert(connection, "t", status="running", attempt=2, worker_id=1)

    def log(attempt: int, line: int) -> None:
        query = "INSERT INTO pgtask.job_logs (job_id, attempt, line, level, message) VALUES (%s, %s, %s, 'info', 'x')"
        connection.execute(query, [id, attempt, line])

    follower = JobFollower(id)
    seen: list[list[tuple[int, int]]] = []
    for lines in ([(1, 1), (2, 1)], [(1, 2), (2, 2)], []):
        for attempt, line in lines:
            log(attempt, line)
        seen.append([(line.attempt, line.line) for line in follower.look(reading).logs])
    assert seen == [[(1, 1), (2, 1)], [(1, 2), (2, 2)], []]


def test_following_a_job_that_is_not_there_says_so(database: str, reading: Connection) -> None:
    with pytest.raises(JobNotFoundError):
        JobFollower(7).look(reading)
    result = run(database, "jobs", "tail", "7")
    assert (result.exit_code, result.stdout) == (3, "")


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("failed", 1), ("cancelled", 1)])
def test_following_a_job_that_has_ended_says_how_and_exits_so(
    database: str, connection: Connection, status: str, code: int
) -> None:
    add_run(connection, 9, status, error="first\nsecond" if status == "failed" else None)
    result = run(database, "jobs", "tail", "9")
    assert result.exit_code == code
    assert [line.split("\t")[1:3] for line in result.stdout.splitlines()] == [["9", "ended"], ["9", "status"]]


def test_an_id_and_a_filter_do_not_go_together(database: str) -> None:
    assert run(database, "jobs", "tail", "9", "--queue", "x").exit_code == 2
