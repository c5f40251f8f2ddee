"""Jobs that kill their process, will not stop or leave things behind; beside others or alone in their process."""

from __future__ import annotations

from typing import Any

import psutil
import psycopg
import pytest

from tests import rows
from tests.acceptance.operated import Fleet, Worker
from tests.support import eventually

Connection = psycopg.Connection[Any]

MODES = {"beside others": (), "alone": ("--isolation", "process")}
PATIENCE = 40.0


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The flags for jobs that run beside others in threads, or each alone."""
    return MODES[request.param]


def start(workers: Fleet, *flags: str) -> Worker:
    return workers.start("--processes", "1", *flags, app="culprits")


def culprit(connection: Connection, task: str, **columns: Any) -> int:
    policy: dict[str, Any] = {"max_retries": 9, "retry_strategy": "fixed", "retry_delay": 0.05}
    return rows.insert(connection, task, **policy | columns)[0]


def final(connection: Connection, id: int) -> dict[str, Any]:
    return eventually(lambda: rows.final(connection, id) or {}, PATIENCE)


def assert_unharmed(connection: Connection, ids: list[int]) -> None:
    for id in ids:
        record = final(connection, id)
        assert (record["status"], record["retry_count"], record["crash_count"]) == ("completed", 0, 0)


@pytest.mark.parametrize(
    ("task", "evidence"), [("segfault", "signal SIGSEGV"), ("leave", "exit code 0"), ("killed", "signal SIGKILL")]
)
def test_a_job_that_kills_its_process_again_and_again_is_quarantined_and_harms_nobody(
    task: str, evidence: str, mode: tuple[str, ...], workers: Fleet, connection: Connection
) -> None:
    worker = start(workers, *mode)
    good = rows.insert(connection, "good", count=100)
    bad = culprit(connection, task)
    good += rows.insert(connection, "good", count=100)

    record = final(connection, bad)

    assert (record["status"], record["outcome"], record["crash_count"]) == ("quarantined", "crashed", 3)
    assert evidence in record["error"]
    assert record["peak_rss_bytes"] > 1_000_000
    assert_unharmed(connection, good)
    crashed = [run for run in rows.runs(connection, bad) if run["outcome"] == "crashed"]
    assert len(crashed) == 3
    if task == "segfault":
        assert "in segfault" in record["traceback"]
        assert "last words" in record["traceback"]
    assert worker.process.poll() is None


def test_jobs_that_ran_beside_a_crash_next_run_one_at_a_time(workers: Fleet, connection: Connection) -> None:
    start(workers)
    neighbours = rows.insert(connection, "good", {"gate": "gate"}, count=5)
    running = "SELECT count(*) FROM pgtask.jobs WHERE status = 'running'"
    eventually(lambda: rows.number(connection, running) == 5)

    bad = culprit(connection, "segfault")

    eventually(lambda: any(run["outcome"] == "lost" for run in rows.runs(connection, bad)))
    eventually(lambda: rows.number(connection, "SELECT count(*) FROM pgtask.jobs WHERE suspect") >= 5)
    eventually(lambda: rows.number(connection, running) == 1)
    workers.ledger.open_gate()
    assert_unharmed(connection, neighbours)
    assert final(connection, bad)["status"] == "quarantined"


def test_suspects_run_one_at_a_time_in_an_executor_that_goes_with_the_last(
    workers: Fleet, connection: Connection
) -> None:
    ids = rows.insert(connection, "good", {"gate": "gate"}, count=3, suspect=True)
    worker = start(workers, "--lease", "3s")
    eventually(lambda: rows.number(connection, "SELECT count(*) FROM pgtask.jobs WHERE status = 'running'") == 1)
    kinds = 3
    assert len(worker.executors()) == kinds, "one for suspects, one for isolated tasks, one for all others"

    workers.ledger.open_gate()

    assert_unharmed(connection, ids)
    eventually(lambda: len(worker.executors()) == kinds - 1)


def test_a_suspect_that_kills_its_process_has_no_other_in_hand(workers: Fleet, connection: Connection) -> None:
    before = rows.insert(connection, "good", count=20, suspect=True, scheduled_at=rows.ago(30))
    bad = culprit(connection, "segfault", suspect=True, scheduled_at=rows.ago(20), crash_count=2)
    after = rows.insert(connection, "good", count=20, suspect=True, scheduled_at=rows.ago(10))
    start(workers)

    assert final(connection, bad)["status"] == "quarantined"

    assert_unharmed(connection, before + after)
    assert {final(connection, id)["attempt"] for id in after} == {1}, "none was claimed with it and given back"


def test_an_executor_for_one_job_at_a_time_dies_with_its_supervisor_and_the_job_runs_elsewhere(
    workers: Fleet, connection: Connection
) -> None:
    other = start(workers, "--lease", "2s", "--queues", "other")
    doomed = start(workers, "--lease", "2s", "--isolation", "process")
    (id,) = rows.insert(connection, "good", {"gate": "gate"})
    eventually(lambda: rows.live(connection, id)["status"] == "running")
    (executor,) = doomed.executors()

    doomed.process.kill()

    psutil.wait_procs([executor], timeout=10)
    assert not executor.is_running()
    workers.ledger.open_gate()
    start(workers, "--lease", "2s")
    assert_unharmed(connection, [id])
    assert [run["outcome"] for run in rows.runs(connection, id)] == ["lost", "completed"]
    assert other.process.poll() is None


def test_what_the_application_started_for_itself_is_no_leftover(workers: Fleet, connection: Connection) -> None:
    worker = workers.start("--processes", "1", "--isolation", "process", app="helped")

    ids = rows.insert(connection, "helped", {"litter": True}, count=2)

    (first, second) = [final(connection, id)["result"] for id in ids]
    assert first == second
    assert first[0] is None
    lines = [row[0] for row in connection.execute("SELECT message FROM pgtask.job_logs")]
    assert len([line for line in lines if "left processes behind, which were ended: sleep" in line]) == 2
    assert worker.terminate() == 0
    assert not psutil.pid_exists(first[1])


def test_an_operator_may_retry_a_quarantined_job(workers: Fleet, connection: Connection) -> None:
    start(workers, "--isolation", "process")
    bad = culprit(connection, "leave")
    final(connection, bad)

    assert connection.execute("SELECT pgtask.retry(%s)", [bad]).fetchone() == ("pending",)

    eventually(lambda: len([run for run in rows.runs(connection, bad) if run["outcome"] == "crashed"]) == 6, PATIENCE)
    assert final(connection, bad)["status"] == "quarantined"


@pytest.mark.parametrize("task", ["deaf", "frozen"])
def test_a_job_that_never_returns_is_ended_after_its_timeout_and_harms_nobody(
    task: str, mode: tuple[str, ...], workers: Fleet, connection: Connection
) -> None:
    worker = start(workers, "--kill-after", "0.3s", "--grace", "1s", *mode)
    bad = culprit(connection, task, timeout=0.3, max_retries=0)
    eventually((workers.folder / task).exists)
    good = rows.insert(connection, "good", count=50)

    record = final(connection, bad)

    assert (record["status"], record["outcome"], record["crash_count"]) == ("failed", "timeout", 0)
    assert "would not stop" in record["error"]
    assert_unharmed(connection, good)
    assert worker.said("will not stop (timeout)")


def test_what_runs_beside_a_job_that_never_returns_may_end_first(workers: Fleet, connection: Connection) -> None:
    worker = start(workers, "--kill-after", "0.2s", "--grace", "60s")
    (first,) = rows.insert(connection, "good")
    overdue = final(connection, first)["result"]
    neighbours = rows.insert(connection, "good", {"gate": "gate"}, count=3)
    bad = culprit(connection, "deaf", timeout=0.2, max_retries=0)
    eventually(lambda: worker.said("will not stop (timeout)"))

    def another_takes_jobs() -> bool:
        (id,) = rows.insert(connection, "good")
        return bool(final(connection, id)["result"] != overdue)

    eventually(another_takes_jobs)
    assert {rows.live(connection, id)["status"] for id in neighbours} == {"running"}

    workers.ledger.open_gate()

    assert final(connection, bad)["outcome"] == "timeout"
    assert_unharmed(connection, neighbours)
    assert [len(rows.runs(connection, id)) for id in neighbours] == [1, 1, 1]


def test_a_job_alone_in_its_process_that_ignores_a_cancel_request_is_ended(
    workers: Fleet, connection: Connection
) -> None:
    start(workers, "--kill-after", "0.3s", "--isolation", "process")
    bad = culprit(connection, "deaf")
    eventually((workers.folder / "deaf").exists)

    connection.execute("SELECT pgtask.cancel(%s)", [bad])

    record = final(connection, bad)
    assert (record["status"], record["outcome"]) == ("cancelled", "cancelled")


def test_what_a_job_has_started_is_asked_to_end_before_it_is_killed(workers: Fleet, connection: Connection) -> None:
    start(workers, "--kill-after", "0.1s", "--isolation", "process")
    bad = culprit(connection, "employ")
    eventually((workers.folder / "employed").exists)

    connection.execute("SELECT pgtask.cancel(%s)", [bad])

    assert final(connection, bad)["outcome"] == "cancelled"
    assert (workers.folder / "heeded").exists()


@pytest.mark.parametrize("then", ["return", "die"])
def test_a_daemon_left_behind_with_all_descriptors_is_ended(
    then: str, mode: tuple[str, ...], workers: Fleet, connection: Connection
) -> None:
    # With heartbeats so far apart nothing but the death of its process or of its executor ends it in time.
    worker = start(workers, "--lease", "1h", *mode)
    bad = culprit(connection, "litter", payload={"then": then})
    record = final(connection, bad)
    daemon = int((workers.folder / "daemon").read_text())
    good = rows.insert(connection, "good", count=20)

    assert record["status"] == ("completed" if then == "return" else "quarantined")
    assert_unharmed(connection, good)
    if then == "return" and not mode:
        # Beside others nobody can tell whose it is; it goes when its executor does.
        assert worker.terminate() == 0
    eventually(lambda: not psutil.pid_exists(daemon))
    if then == "die":
        eventually(lambda: worker.said("processes that jobs had left behind were ended: "))


def test_what_a_job_prints_alone_in_its_process_is_kept_with_it(workers: Fleet, connection: Connection) -> None:
    start(workers, "--isolation", "process")
    few, many, wide = (
        rows.insert(connection, "chatter", payload)[0]
        for payload in ({"lines": 3}, {"lines": 5000}, {"lines": 200, "width": 1000})
    )
    final(connection, few)
    record = final(connection, many)
    final(connection, wide)

    def logged(id: int) -> list[str]:
        query = "SELECT message FROM pgtask.job_logs WHERE job_id = %s ORDER BY line"
        return [row[0] for row in connection.execute(query, [id])]

    assert logged(few) == ["line 0", "line 1", "line 2", "from below"]
    lines = logged(many)
    assert lines[:500] == [f"line {number}" for number in range(500)]
    assert "bytes of output" in lines[500]
    assert len(lines) == 501
    *kept, last = logged(wide)
    assert 60_000 < sum(map(len, kept)) < 65_536
    assert "in 65536 bytes are kept" in last
    assert record["cpu_seconds"] > 0


@pytest.mark.parametrize(("task", "flags"), [("hog", ()), ("good", MODES["alone"])])
def test_what_has_a_process_to_itself_shares_it_with_no_other(
    task: str, flags: tuple[str, ...], workers: Fleet, connection: Connection
) -> None:
    payload = {"gate": "gate"} | ({"size": 1} if task == "hog" else {})
    ids = rows.insert(connection, task, payload, count=3)
    start(workers, *flags)

    eventually(lambda: "running" in rows.statuses(connection, ids).values())

    assert sorted(rows.statuses(connection, ids).values()) == ["pending", "pending", "running"]
    workers.ledger.open_gate()
    assert_unharmed(connection, ids)


def test_output_without_end_is_thrown_away_as_it_comes(workers: Fleet, connection: Connection) -> None:
    start(workers, "--isolation", "process")

    (id,) = rows.insert(connection, "flood", max_retries=0)

    assert final(connection, id)["status"] == "completed"


def test_each_attempt_alone_in_its_process_has_its_own_use_of_processor_and_memory(
    workers: Fleet, connection: Connection
) -> None:
    start(workers, "--isolation", "process")
    ids = [rows.insert(connection, task)[0] for task in ("good", "toil", "good")]

    first, heavy, last = [final(connection, id) for id in ids]

    assert heavy["cpu_seconds"] >= 1
    assert heavy["peak_rss_bytes"] > first["peak_rss_bytes"] + 30_000_000
    assert last["cpu_seconds"] < 1
    assert last["peak_rss_bytes"] < heavy["peak_rss_bytes"] - 30_000_000


def test_an_executor_is_replaced_after_so_many_jobs_and_loses_none(workers: Fleet, connection: Connection) -> None:
    worker = start(workers, "--max-jobs", "10")
    first = worker.executors()[0].pid

    def replaced() -> bool:
        rows.insert(connection, "good", count=10)
        return first not in {process.pid for process in worker.executors()}

    eventually(replaced, PATIENCE)

    ids = [row[0] for row in connection.execute("SELECT id FROM pgtask.all_jobs")]
    assert_unharmed(connection, ids)
    assert all(len(rows.runs(connection, id)) == 1 for id in ids)
    assert worker.said("is replaced: it has run")


def test_an_executor_is_replaced_when_it_has_grown(workers: Fleet, connection: Connection) -> None:
    worker = start(workers, "--max-rss", "10MB")
    first = worker.executors()[0].pid

    eventually(lambda: first not in {process.pid for process in worker.executors()}, PATIENCE)

    assert worker.said("MB of memory")
    assert_unharmed(connection, rows.insert(connection, "good", count=5))


def test_a_task_may_have_a_process_and_a_limit_of_memory_to_itself(workers: Fleet, connection: Connection) -> None:
    start(workers)
    small, large, after, other = (
        rows.insert(connection, "hog", {"size": 1000})
        + rows.insert(connection, "hog", {"size": 500_000_000}, max_retries=0)
        + rows.insert(connection, "hog", {"size": 1000})
        + rows.insert(connection, "good")
    )

    records = [final(connection, id) for id in (small, large, after, other)]

    assert [record["status"] for record in records] == ["completed", "failed", "completed", "completed"]
    assert records[1]["error_type"] == "MemoryError"
    assert (records[1]["cpu_seconds"] > 0, records[1]["peak_rss_bytes"] > 0) == (True, True)
    assert records[0]["result"] == records[2]["result"] != records[3]["result"]
    assert records[0]["peak_rss_bytes"] > 0
    assert records[3]["peak_rss_bytes"] is None
