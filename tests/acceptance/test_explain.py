"""What pgtask.explain says of jobs that real workers leave lying, run or lose."""

from __future__ import annotations

import re
import signal
from typing import Any

import psycopg

from tests.acceptance.fleet import Make, Worker
from tests.command_line import answer, on_terminal, run
from tests.reasons import Reason, codes, headline, reason, reasons
from tests.rows import ended, final, insert
from tests.rows import number as number_of
from tests.scene import Scene
from tests.support import eventually

Connection = psycopg.Connection[Any]


def await_headline(connection: Connection, id: int, code: str) -> Reason:
    """Waits until what matters most has this code."""

    def found() -> Reason | None:
        first = headline(connection, id)
        return first if first.code == code else None

    chosen = eventually(found, 20)
    assert chosen is not None
    return chosen


def murder(worker: Worker) -> None:
    """Ends all processes of a worker at once, as a host does that loses its power."""
    executors = worker.executors()
    worker.freeze()
    for process in executors:
        process.kill()
    worker.kill()


def test_a_task_that_no_worker_knows(make_worker: Make, connection: Connection) -> None:
    make_worker()
    (id,) = insert(connection, "mispelt")

    found = await_headline(connection, id, "task_unknown")

    assert found.blocking
    assert found.text == "No worker has ever registered task mispelt. Is its name right? Look: pgtask tasks list"


def test_a_task_that_only_a_worker_knew_which_is_gone(make_worker: Make, connection: Connection) -> None:
    """The one that is left began before, so only what it tells of itself shows that it does not know the task."""
    left = make_worker(name="left").ready()
    gone = make_worker(name="gone", app="tests.acceptance.apps.stoppable")
    number = gone.ready()
    told = "SELECT count(*) FROM pgtask.workers WHERE tasks IS NOT NULL"
    eventually(lambda: number_of(connection, told) == 2)
    assert gone.stop() == 0
    (id,) = insert(connection, "spin")

    found = await_headline(connection, id, "task_unknown")

    assert re.fullmatch(
        rf"No live worker knows task spin: it was last registered .* ago, and gone \(worker {number}\) on \S+, "
        r"which knew it, shut down .* ago\. Deploy its code again, or look: pgtask tasks list",
        found.text,
    )
    assert left < number


def test_no_worker_is_alive(make_worker: Make, connection: Connection) -> None:
    worker = make_worker(name="web-1")
    number = worker.ready()
    (known,) = insert(connection, "quick")
    eventually(lambda: final(connection, known) is not None)
    assert worker.stop() == 0
    (id,) = insert(connection, "quick")

    found = await_headline(connection, id, "no_worker")

    assert found.text.startswith(f"No worker is alive. The last one, web-1 (worker {number}) on ")
    assert found.text.endswith(" ago. Start one: pgtask worker")
    make_worker()
    eventually(lambda: codes(connection, id) == ["completed"])


def test_all_slots_are_busy_until_one_ends(make_worker: Make, scene: Scene, connection: Connection) -> None:
    make_worker(name="web-1", processes=1, concurrency=2)
    held = insert(connection, "hold", {"gate": "g"}, count=2)
    eventually(lambda: scene.started() == set(held))
    first, second = insert(connection, "quick", count=2)

    found = await_headline(connection, first, "slots_busy")

    assert found.text.startswith("All 2 slots of web-1 (worker 1) are busy (as of ")
    assert reason(connection, second, "jobs_ahead").text == "1 job of queue default is ahead of it."
    assert codes(connection, held[0]) == ["running"]
    scene.open("g")
    eventually(lambda: codes(connection, second) == ["completed"])


def test_a_key_is_held_by_the_jobs_that_run_with_it(make_worker: Make, scene: Scene, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, max_workers_per_key) VALUES ('default', 2)")
    make_worker()
    held = insert(connection, "hold", {"gate": "g"}, concurrency_key="customer:42", count=2)
    eventually(lambda: scene.started() == set(held))
    (id,) = insert(connection, "quick", concurrency_key="customer:42")

    found = await_headline(connection, id, "key_held")

    assert found.text == (
        f"Concurrency key customer:42 is held by jobs {held[0]} and {held[1]}; "
        "queue default lets 2 jobs of a key run at once."
    )
    assert reason(connection, held[0], "holds").text == (
        "It counts against concurrency key customer:42: others wait until it ends."
    )
    scene.open("g")
    eventually(lambda: codes(connection, id) == ["completed"])


def test_a_queue_is_full_of_the_jobs_that_run_in_it(make_worker: Make, scene: Scene, connection: Connection) -> None:
    connection.execute("INSERT INTO pgtask.queues (name, max_workers) VALUES ('default', 1)")
    make_worker()
    (held,) = insert(connection, "hold", {"gate": "g"})
    eventually(lambda: scene.started() == {held})
    (id,) = insert(connection, "quick")

    found = await_headline(connection, id, "queue_full")

    assert found.text == (
        f"Queue default runs as many jobs as it may, 1 of 1: job {held}. It waits until one ends. "
        "To allow more: pgtask queues set default --max-workers N"
    )
    scene.open("g")
    eventually(lambda: codes(connection, id) == ["completed"])


def test_a_rate_says_when_the_next_may_start(make_worker: Make, connection: Connection) -> None:
    connection.execute(
        "INSERT INTO pgtask.queues (name, rate_limit, rate_period, rate_burst) VALUES ('default', 1, 3600, 1)"
    )
    make_worker()
    (first,) = insert(connection, "quick")
    eventually(lambda: codes(connection, first) == ["completed"])
    (id,) = insert(connection, "quick")

    found = await_headline(connection, id, "rate_limited")

    assert re.fullmatch(
        r"The rate of queue default is used up: 1 start in 1 h\. The next may start in (1 h|59 m .*)\.", found.text
    )


def test_a_quiet_worker_says_so_until_it_goes_on(make_worker: Make, connection: Connection) -> None:
    worker = make_worker(name="web-1")
    worker.signal(signal.SIGTSTP)
    eventually(lambda: worker.said("no more jobs are taken until CONT"))
    (id,) = insert(connection, "quick")

    found = await_headline(connection, id, "workers_quiet")

    assert "web-1 (worker 1) has been told to take no jobs (TSTP) for " in found.text
    worker.signal(signal.SIGCONT)
    eventually(lambda: codes(connection, id) == ["completed"])


def test_why_a_job_ran_twice_when_its_worker_was_killed(
    make_worker: Make, scene: Scene, connection: Connection, database: str
) -> None:
    doomed = make_worker(name="doomed", lease=1.5)
    number = doomed.ready()
    (id,) = insert(connection, "hold", {"gate": "g"})
    eventually(lambda: scene.started() == {id})
    murder(doomed)

    silent = await_headline(connection, id, "worker_lost")
    assert silent.text.startswith(f"The worker that runs it is silent: doomed (worker {number}) on ")
    assert silent.text.endswith("No other is alive to take the job back. Start one: pgtask worker")
    heir = make_worker(name="heir", lease=1.5).ready()
    scene.open("g")
    eventually(lambda: final(connection, id) is not None, 20)

    rows = reasons(connection, id)
    assert [row.code for row in rows] == ["completed", "ran_more_than_once", "attempt", "attempt"]
    assert rows[0].text.endswith(f" on heir (worker {heir}).")
    assert rows[1].text == "It has been started twice: 1 completed and 1 lost."
    assert re.fullmatch(
        rf"Attempt 1 was lost because its worker died: doomed \(worker {number}\) was last heard of .* ago, at .*\. "
        r"It was not charged\.",
        rows[3].text,
    )
    shown = on_terminal(database, "jobs", "explain", str(id), columns=200)
    printed = answer(run(database, "jobs", "explain", str(id), "--json"))["items"]
    assert "· It has been started twice: 1 completed and 1 lost." in shown
    assert [item["code"] for item in printed] == [row.code for row in rows]


def test_why_a_job_was_killed(make_worker: Make, scene: Scene, connection: Connection) -> None:
    worker = make_worker(name="web-1", processes=1)
    (id,) = insert(connection, "hold", {"gate": "g"}, max_retries=0)
    eventually(lambda: scene.started() == {id})
    (executor,) = worker.executors()
    executor.kill()
    eventually(lambda: final(connection, id) is not None, 20)

    found = headline(connection, id)

    assert ended(connection, id)["outcome"] == "crashed"
    assert re.fullmatch(
        r"It failed for good .* ago, after .* on web-1 \(worker 1\): ProcessDied: Its process died: .*SIGKILL.*\. "
        rf"It has no retries\. Put it back: pgtask jobs retry {id}",
        found.text,
    )
