"""Leases, heartbeats, and who may free whose jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest

from pgtask.database import ownership
from tests.integration.conftest import Work
from tests.rows import add_worker, ago, ended, expire, insert, job, live, number, runs
from tests.support import eventually

Connection = psycopg.Connection


def beat(connection: Connection, worker_id: int, *held: tuple[int, int]) -> ownership.Beat:
    return ownership.heartbeat(connection, worker_id, held, running=len(held), cpu_percent=12.5, rss_bytes=1000)


# Registration and heartbeat


def test_every_registration_gets_an_id_of_its_own(connection: Connection) -> None:
    def register() -> int:
        return ownership.register(
            connection, name="same", host="h", pid=1, version="1", queues=["a"], executors=2, slots=20, lease=30.0
        )

    first, second = register(), register()
    connection.execute("DELETE FROM pgtask.workers")

    assert len({first, second, register()}) == 3


def test_a_heartbeat_renews_the_lease_and_tells_the_usage(connection: Connection) -> None:
    worker = add_worker(connection, lease=30)
    connection.execute("UPDATE pgtask.workers SET expires_at = now() + interval '1 s'")

    answer = beat(connection, worker, (1, 1), (2, 1))

    assert answer.alive
    assert not answer.stop
    left = number(connection, "SELECT extract(epoch FROM expires_at - now()) FROM pgtask.workers")
    assert 20 < left <= 30
    row = connection.execute("SELECT running, cpu_percent, rss_bytes FROM pgtask.workers").fetchone()
    assert row == (2, 12.5, 1000)


def test_a_heartbeat_tells_how_many_slots_there_are_where_that_changes(connection: Connection) -> None:
    worker = add_worker(connection, lease=30)
    query = "SELECT executors, slots FROM pgtask.workers"
    connection.execute("UPDATE pgtask.workers SET executors = 2, slots = 20")

    beat(connection, worker)
    assert connection.execute(query).fetchone() == (2, 20)

    ownership.heartbeat(connection, worker, [], size=(3, 75), running=0, cpu_percent=None, rss_bytes=None)
    assert connection.execute(query).fetchone() == (3, 75)


def test_a_worker_declared_dead_is_told_so_and_cannot_come_back(connection: Connection) -> None:
    worker = add_worker(connection)
    connection.execute("UPDATE pgtask.workers SET dead_at = now()")

    assert not beat(connection, worker).alive
    assert number(connection, "SELECT count(*) FROM pgtask.workers WHERE dead_at IS NOT NULL") == 1


def test_a_worker_whose_row_is_gone_is_told_that_it_is_dead(connection: Connection) -> None:
    assert not beat(connection, 4711).alive


def test_a_worker_asked_to_stop_is_told_so(connection: Connection) -> None:
    worker = add_worker(connection)
    connection.execute("UPDATE pgtask.workers SET stopping_at = now()")

    answer = beat(connection, worker)

    assert answer.alive
    assert answer.stop


def test_a_heartbeat_names_the_jobs_lost_and_to_be_cancelled(
    work: Work, make_work: Callable[..., Work], connection: Connection
) -> None:
    mine, cancelled, newer, given_back, stolen, done = ids = insert(connection, "t", count=6)
    work.claim()
    connection.execute("SELECT pgtask.cancel(%s)", [cancelled])
    connection.execute("UPDATE pgtask.jobs SET attempt = 2 WHERE id = %s", [newer])
    work.end(given_back, 1, "released")
    connection.execute("UPDATE pgtask.jobs SET worker_id = %s WHERE id = %s", [make_work().worker_id, stolen])
    work.complete((done, 1))

    answer = beat(connection, work.worker_id, *[(id, 1) for id in ids])

    assert answer.alive
    assert answer.cancel == [(cancelled, 1)]
    assert sorted(answer.lost) == [(newer, 1), (given_back, 1), (stolen, 1), (done, 1)]
    assert live(connection, mine)["status"] == "running"


def test_a_lease_that_ran_out_begins_a_new_unbroken_life(connection: Connection) -> None:
    worker = add_worker(connection, age=1000)
    unbroken = "SELECT extract(epoch FROM now() - live_since) FROM pgtask.workers"

    beat(connection, worker)
    assert number(connection, unbroken) >= 1000

    expire(connection, worker)
    beat(connection, worker)
    assert number(connection, unbroken) < 100


def test_a_worker_ends_its_own_lease(connection: Connection) -> None:
    worker = add_worker(connection)

    ownership.end_worker(connection, worker)

    assert number(connection, "SELECT count(*) FROM pgtask.workers WHERE dead_at = expires_at") == 1
    assert ownership.died_within(connection, 5)
    connection.execute("UPDATE pgtask.workers SET dead_at = now() - interval '10 s'")
    assert not ownership.died_within(connection, 5)


# Declaring the dead, and rescue


def test_a_worker_whose_lease_ran_out_is_declared_dead(connection: Connection) -> None:
    rescuer, dead, alive = (add_worker(connection, age=100) for _ in range(3))
    expire(connection, dead)

    assert ownership.bury_dead(connection, rescuer) == [(dead, "test", "here")]
    assert ownership.bury_dead(connection, rescuer) == []
    assert beat(connection, alive).alive


def test_what_a_dead_worker_ran_is_freed_uncharged_and_recorded_as_lost(work: Work, connection: Connection) -> None:
    first, second = insert(connection, "t", count=2, scheduled_at=ago(50), max_retries=0)
    work.claim()
    before = live(connection, first)
    expire(connection, work.worker_id)
    rescuer = add_worker(connection, age=100)

    assert ownership.rescue(connection, rescuer) == []  # not yet declared dead
    ownership.bury_dead(connection, rescuer)
    assert sorted(ownership.rescue(connection, rescuer)) == [(first, 1), (second, 1)]
    assert ownership.rescue(connection, rescuer) == []

    row = live(connection, first)
    assert (row["status"], row["worker_id"], row["executor"], row["started_at"]) == ("pending", None, None, None)
    assert (row["attempt"], row["retry_count"], row["crash_count"]) == (1, 0, 0)
    assert row["scheduled_at"] == before["scheduled_at"]
    (run,) = runs(connection, first)
    assert (run["outcome"], run["attempt"], run["final"], run["status"]) == ("lost", 1, False, None)
    assert (run["error"], run["worker_id"], run["started_at"]) == (
        "Its worker died.",
        work.worker_id,
        before["started_at"],
    )


def test_jobs_of_the_living_are_not_touched(work: Work, make_work: Callable[..., Work], connection: Connection) -> None:
    insert(connection, "t", count=2)
    work.claim(1)
    other = make_work()
    (alive,) = other.claim(1)
    expire(connection, work.worker_id)
    rescuer = add_worker(connection, age=100)

    ownership.bury_dead(connection, rescuer)
    ownership.rescue(connection, rescuer)

    assert live(connection, alive.id)["status"] == "running"
    assert other.complete((alive.id, 1)) == {alive.id}


def test_jobs_of_a_worker_whose_row_is_gone_are_freed(work: Work, connection: Connection) -> None:
    (id,) = insert(connection, "t")
    work.claim()
    connection.execute("DELETE FROM pgtask.workers")
    rescuer = add_worker(connection, age=100)

    assert ownership.rescue(connection, rescuer) == [(id, 1)]


@pytest.mark.parametrize("flaw", ["young", "expired", "dead", "unknown"])
def test_only_a_worker_whose_lease_was_unbroken_for_its_length_may_rescue(
    flaw: str, work: Work, connection: Connection
) -> None:
    (id,) = insert(connection, "t")
    work.claim()
    dead, lapsed = work.worker_id, add_worker(connection)
    connection.execute("UPDATE pgtask.workers SET dead_at = now() WHERE id = %s", [dead])
    expire(connection, lapsed)
    rescuer = add_worker(connection, lease=30, age=29 if flaw == "young" else 31)
    if flaw == "expired":
        expire(connection, rescuer)
    elif flaw == "dead":
        connection.execute("UPDATE pgtask.workers SET dead_at = now() WHERE id = %s", [rescuer])
    elif flaw == "unknown":
        rescuer = 4711

    assert ownership.bury_dead(connection, rescuer) == []
    assert ownership.rescue(connection, rescuer) == []
    assert live(connection, id)["status"] == "running"

    qualified = add_worker(connection, lease=30, age=31)
    assert ownership.rescue(connection, qualified) == [(id, 1)]


def test_after_an_outage_nobody_is_declared_dead_by_the_first_one_back(connection: Connection) -> None:
    """All leases ran out while nobody could renew one; each is renewed before anybody may judge."""
    workers = [add_worker(connection, age=1000) for _ in range(3)]
    for worker in workers:
        expire(connection, worker)

    assert beat(connection, workers[0]).alive
    assert ownership.bury_dead(connection, workers[0]) == []
    assert all(beat(connection, worker).alive for worker in workers)


def test_a_heartbeat_under_way_and_a_declaration_of_death_do_not_both_win(
    database: str, connection: Connection
) -> None:
    """Whoever has the worker's row first decides; the other sees what was decided."""
    worker, rescuer = add_worker(connection, lease=5), add_worker(connection, age=100)
    expire(connection, worker)
    with psycopg.connect(database) as late:
        beat(late, worker)
        assert ownership.bury_dead(connection, rescuer) == []  # it is locked: skipped, not waited for
        late.commit()
    assert ownership.bury_dead(connection, rescuer) == []

    expire(connection, worker)
    with psycopg.connect(database) as burial, psycopg.connect(database, autocommit=True) as beating:
        assert len(ownership.bury_dead(burial, rescuer)) == 1
        answers: list[ownership.Beat] = []
        thread = threading.Thread(target=lambda: answers.append(beat(beating, worker)))
        thread.start()
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        eventually(lambda: number(connection, blocked, [beating.info.backend_pid]))
        burial.commit()
        thread.join()
    assert not answers[0].alive


def test_a_cancel_request_ends_a_job_that_is_rescued(work: Work, connection: Connection) -> None:
    (id,) = insert(connection, "t", {"a": 1})
    work.claim()
    connection.execute("SELECT pgtask.cancel(%s)", [id])
    connection.execute("UPDATE pgtask.workers SET dead_at = now()")

    ownership.rescue(connection, add_worker(connection, age=100))

    assert job(connection, id) is None
    run = ended(connection, id)
    assert (run["status"], run["outcome"], run["attempt"], run["payload"]) == ("cancelled", "lost", 1, {"a": 1})


# Freeing the jobs of one executor


def test_freeing_an_executor_spares_its_siblings(
    work: Work, make_work: Callable[..., Work], connection: Connection
) -> None:
    started, unstarted, of_sibling = insert(connection, "t", count=3)
    work.claim(2)
    make_work(work.worker_id, executor=2).claim(1)

    freed = ownership.free(connection, [work.worker_id], 1, started=[started], outcome="lost", error="It died.")

    assert sorted(freed) == [(started, 1), (unstarted, 1)]
    assert [run["outcome"] for run in runs(connection, started)] == ["lost"]
    assert runs(connection, unstarted) == []  # claimed but never started: no run
    sibling = live(connection, of_sibling)
    assert (sibling["status"], sibling["attempt"], sibling["executor"]) == ("running", 1, 2)


def test_freeing_rewinds_the_lanes(work: Work, connection: Connection) -> None:
    insert(connection, "t", count=3, queue="q")
    work.claim(3, ("q", 1))
    connection.execute("LISTEN pgtask")

    ownership.free(connection, [work.worker_id], None, started=None, outcome="lost", error=None)

    (notice,) = connection.notifies(timeout=5, stop_after=1)
    assert '"rewind" : "q"' in notice.payload


def test_freeing_cancels_an_unstarted_job_that_was_to_be_cancelled(work: Work, connection: Connection) -> None:
    (id,) = insert(connection, "t")
    work.claim()
    connection.execute("SELECT pgtask.cancel(%s)", [id])

    ownership.free(connection, [work.worker_id], 1, started=[], outcome="released", error="x")

    run = ended(connection, id)
    assert (run["status"], run["outcome"], run["attempt"]) == ("cancelled", "cancelled", None)


def test_two_rescuers_free_each_job_once(work: Work, database: str, connection: Connection) -> None:
    ids = insert(connection, "t", count=200)
    work.claim(200)
    connection.execute("UPDATE pgtask.workers SET dead_at = now()")
    rescuers = [add_worker(connection, age=100) for _ in range(2)]
    freed: list[ownership.Pair] = []
    start = threading.Barrier(2)

    def rescue(rescuer: int) -> None:
        with psycopg.connect(database, autocommit=True) as own:
            start.wait()
            freed.extend(ownership.rescue(own, rescuer))

    threads = [threading.Thread(target=rescue, args=(rescuer,)) for rescuer in rescuers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(freed) == [(id, 1) for id in ids]
    assert number(connection, "SELECT count(*) FROM pgtask.runs") == 200


# What a draining worker asks, and leadership


def test_what_a_draining_worker_takes_for_left(work: Work, connection: Connection) -> None:
    def left(queues: list[str] | None = None) -> bool:
        return ownership.anything_left(connection, work.worker_id, ["t"], queues)

    assert not left()
    insert(connection, "unknown")
    insert(connection, "t", scheduled_at=ago(-60))
    connection.execute("INSERT INTO pgtask.queues (name, paused_at) VALUES ('paused', now())")
    insert(connection, "t", queue="paused")
    connection.execute("INSERT INTO pgtask.queues (name, max_workers) VALUES ('closed', 0)")
    insert(connection, "t", queue="closed")
    insert(connection, "t", start_by=ago(1))
    assert not left()

    (id,) = insert(connection, "t", queue="q")
    assert left()
    assert left(["q"])
    assert not left(["other"])
    work.claim(1, ("q", 1))
    assert left()  # it runs here
    work.end(id, 1)
    assert left()  # it waits for its retry
    connection.execute("DELETE FROM pgtask.jobs WHERE id = %s", [id])
    assert not left()


def test_one_leads_at_a_time(connection: Connection) -> None:
    def term() -> int:
        return number(connection, "SELECT term FROM pgtask.leader")

    one, two = (add_worker(connection, age=60) for _ in range(2))
    assert ownership.lead(connection, "x", one, 30)
    assert ownership.lead(connection, "x", one, 30)
    assert not ownership.lead(connection, "x", two, 30)
    assert ownership.lead(connection, "y", two, 30)
    connection.execute("DELETE FROM pgtask.leader WHERE name = 'y'")
    assert term() == 1

    ownership.resign(connection, "x", two)
    assert not ownership.lead(connection, "x", two, 30)
    ownership.resign(connection, "x", one)
    assert ownership.lead(connection, "x", two, 30)
    assert term() == 2
    connection.execute("UPDATE pgtask.leader SET expires_at = now() - interval '1 s'")
    assert ownership.lead(connection, "x", one, 30)
    assert term() == 3


def test_a_leadership_given_by_a_clock_that_was_put_back_binds_nobody(connection: Connection) -> None:
    one, two = (add_worker(connection, age=60) for _ in range(2))
    assert ownership.lead(connection, "x", one, 30)
    connection.execute("UPDATE pgtask.leader SET expires_at = expires_at + interval '8 h'")
    assert ownership.lead(connection, "x", two, 30)
    assert not ownership.lead(connection, "x", one, 30)


def test_only_a_worker_whose_lease_was_unbroken_for_a_whole_period_leads(connection: Connection) -> None:
    young, expired, old = add_worker(connection), add_worker(connection, age=60), add_worker(connection, age=60)
    expire(connection, expired)

    assert not ownership.lead(connection, "x", young, 30)
    assert not ownership.lead(connection, "x", expired, 30)
    assert ownership.lead(connection, "x", old, 30)


def test_one_whose_lease_is_young_stands_in_while_nobody_leads(connection: Connection) -> None:
    young, old = add_worker(connection), add_worker(connection, age=60)

    def stands_in(worker: int) -> bool:
        return ownership.lead(connection, "stand-in", worker, 30, unbroken=False, beside=["x"])

    assert stands_in(young)
    assert ownership.lead(connection, "x", old, 30)
    assert not stands_in(young)
    ownership.resign(connection, "x", old)
    assert stands_in(young)
