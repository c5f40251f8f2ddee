"""The feed: every run once, whatever order transactions end in, and consumers that lose nothing."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgtask.database import feed, partitions
from pgtask.model.errors import ConsumerNotFoundError, PositionError
from pgtask.model.event import FeedEvent
from tests.command_line import add_run
from tests.rows import await_others, insert, number
from tests.support import eventually

Connection = psycopg.Connection[Any]


def ids(found: list[FeedEvent]) -> list[int]:
    """The jobs that events are about."""
    return [each.event.id for each in found if each.event is not None]


def xid(position: str) -> int:
    """The transaction that a position is at."""
    return int(position.split("-")[1])


@pytest.fixture
def beside(database: str) -> Iterator[Connection]:
    """Another connection, in a transaction as soon as it does something."""
    with psycopg.connect(database) as opened:
        yield opened
        opened.rollback()


# What is read


def test_an_ended_attempt_is_told_with_what_came_of_it(connection: Connection) -> None:
    start = feed.position(connection)
    add_run(connection, 7, None, outcome="failed", attempt=1, error="no", error_type="ValueError", queue="mail")
    add_run(connection, 7, "completed", attempt=2, worker_id=3)

    first, second = feed.read(connection, start)

    assert first.event
    assert second.event
    assert (first.event.id, first.event.queue, first.event.attempt, first.event.status) == (7, "mail", 1, "retrying")
    assert (first.event.outcome, first.event.error_type, first.event.error) == ("failed", "ValueError", "no")
    assert (second.event.status, second.event.outcome, second.event.worker_id) == ("completed", "completed", 3)
    assert feed.read(connection, first.position) == [second]
    assert feed.read(connection, second.position) == []


def test_what_was_there_before_is_read_from_the_start_only(connection: Connection) -> None:
    add_run(connection, 1)
    now = feed.position(connection)
    add_run(connection, 2)

    assert ids(feed.read(connection, now)) == [2]
    assert ids(feed.read(connection, feed.position(connection, at_start=True))) == [1, 2]


def test_a_run_of_a_transaction_under_way_holds_back_what_came_later(
    connection: Connection, beside: Connection
) -> None:
    start = feed.position(connection)
    add_run(beside, 1)
    add_run(connection, 2)
    assert feed.read(connection, start) == []

    beside.commit()

    assert ids(feed.read(connection, start)) == [1, 2]


def test_a_subtransaction_is_of_its_transaction(connection: Connection, beside: Connection) -> None:
    start = feed.position(connection)
    beside.execute("SELECT pg_current_xact_id()")
    add_run(connection, 1)
    with beside.transaction():
        add_run(beside, 2)
    beside.commit()
    await_others(connection)

    assert ids(feed.read(connection, start)) == [2, 1]


def test_two_runs_of_one_position_come_together(connection: Connection) -> None:
    start = feed.position(connection)
    with connection.transaction():
        for _ in range(2):
            add_run(connection, 1, "cancelled", attempt=None)
        add_run(connection, 2)
    await_others(connection)

    found = feed.read(connection, start, 1)

    assert ids(found) == [1, 1]
    assert ids(feed.read(connection, found[-1].position, 1)) == [2]


def test_pages_of_any_size_are_the_same_feed(connection: Connection) -> None:
    start = feed.position(connection)
    for batch in range(5):
        with connection.transaction():
            for job in range(7):
                add_run(connection, 10 * batch + job)
    await_others(connection)
    whole = feed.read(connection, start)
    assert len(whole) == 35

    for size in (1, 2, 5, 34):
        paged: list[FeedEvent] = []
        while page := feed.read(connection, paged[-1].position if paged else start, size):
            paged += page
        assert paged == whole


def test_a_retry_by_hand_tells_nothing_until_the_job_ends_again(connection: Connection) -> None:
    [job] = insert(connection, "t")
    start = feed.position(connection)
    connection.execute("SELECT pgtask.cancel(%s)", [job])
    await_others(connection)
    [cancelled] = feed.read(connection, start)

    connection.execute("SELECT pgtask.retry(%s)", [job])

    assert feed.read(connection, cancelled.position) == []
    # Who reads it only now is not told that it was retried of itself.
    assert feed.read(connection, start) == [cancelled]
    connection.execute("SELECT pgtask.cancel(%s)", [job])
    await_others(connection)
    assert ids(feed.read(connection, cancelled.position)) == [job]


@pytest.mark.parametrize("text", ["", "x", "1-2-3", "1-2-3-4-5", "1-2-3--4", "1-99999999999999999999-0-0", "1-2-3-4\n"])
def test_what_is_no_position_is_refused(connection: Connection, text: str) -> None:
    with pytest.raises(PositionError):
        feed.read(connection, text)


# Whatever order transactions end in


@given(
    plan=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["write", "commit", "rollback", "read"])), max_size=30)
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_position_never_passes_what_may_still_commit(plan: list[tuple[int, str]], database: str) -> None:
    with ExitStack() as stack:
        writers = [stack.enter_context(psycopg.connect(database)) for _ in range(4)]
        reader = stack.enter_context(psycopg.connect(database, autocommit=True))
        position = feed.position(reader)
        open_xids: dict[int, int] = {}
        written: dict[int, list[int]] = {}
        committed: list[int] = []
        seen: list[int] = []
        job = number(reader, "SELECT coalesce(max(job_id), 0) FROM pgtask.runs")

        def look() -> None:
            nonlocal position
            for found in feed.read(reader, position, 2):
                assert found.event is not None
                seen.append(found.event.id)
                position = found.position
                assert all(xid(position) < other for other in open_xids.values())

        for writer, action in plan:
            if action == "write":
                job += 1
                add_run(writers[writer], job)
                open_xids[writer] = number(writers[writer], "SELECT pg_current_xact_id()::text::bigint")
                written.setdefault(writer, []).append(job)
            elif action == "read":
                look()
            else:
                getattr(writers[writer], action)()
                open_xids.pop(writer, None)
                committed += written.pop(writer, []) if action == "commit" else []
                written.pop(writer, None)
        for writer in range(4):
            writers[writer].commit()
            committed += written.pop(writer, [])
        open_xids.clear()
        await_others(reader)
        for _ in range(len(committed) + 1):
            look()

        assert sorted(seen) == sorted(committed)


def _write(database: str, writer: int) -> list[int]:
    """Writes runs in transactions, of which every fifth writer's are long and some are undone; what has committed."""
    committed = []
    with psycopg.connect(database) as own:
        for batch in range(12):
            jobs = [writer * 1000 + batch * 10 + n for n in range(1 + batch % 4)]
            for job in jobs:
                add_run(own, job)
                if writer % 5 == 0:
                    own.execute("SELECT pg_sleep(0.005)")
            if (writer + batch) % 7 == 0:
                own.rollback()
            else:
                own.commit()
                committed += jobs
    return committed


def test_twenty_writers_and_a_reader_that_crashes_lose_nothing(database: str, connection: Connection) -> None:
    """Short and long transactions, some undone; the consumer's session dies between a batch and its acknowledgement."""
    feed.consume(connection, "c")
    writers = 20
    finished = threading.Event()
    worked: list[int] = []
    redelivered: Counter[int] = Counter()

    def read() -> None:
        for turn in count():
            over = finished.is_set()
            with psycopg.connect(database, autocommit=True) as own:
                found = feed.consume(own, "c", 7, lease=0.05)
                if turn % 3 == 0:
                    redelivered.update(ids(found))
                elif found:
                    worked.extend(ids(found))
                    feed.acknowledge(own, "c", found[-1].position)
            if over and not feed.consumers(connection)[0].next_event_at:
                return

    with ThreadPoolExecutor(writers + 1) as pool:
        reading = pool.submit(read)
        committed = [job for jobs in pool.map(partial(_write, database), range(writers)) for job in jobs]
        finished.set()
        reading.result()

    assert redelivered, "no batch was lost on the way"
    assert Counter(worked) == Counter(committed)


# Consumers


def test_a_consumer_begins_now_or_at_the_start(connection: Connection) -> None:
    add_run(connection, 1)

    assert feed.consume(connection, "new") == []
    assert ids(feed.consume(connection, "old", from_start=True)) == [1]


def test_until_it_is_acknowledged_a_batch_is_one_sessions(connection: Connection, beside: Connection) -> None:
    feed.consume(connection, "c")
    add_run(connection, 1)
    add_run(connection, 2)

    [first] = feed.consume(connection, "c", 1)
    assert feed.consume(beside, "c", 1) == []
    beside.commit()

    assert feed.acknowledge(connection, "c", first.position)
    assert ids(feed.consume(beside, "c", 1)) == [2]
    # In a transaction it is kept from the others too, and given back when that is undone.
    assert feed.consume(connection, "c", 1) == []
    beside.rollback()
    assert ids(feed.consume(connection, "c", 1)) == [2]


def test_sessions_that_ask_at_the_same_time_get_a_batch_once(database: str, connection: Connection) -> None:
    feed.consume(connection, "c")
    for job in range(40):
        add_run(connection, job)

    def work(_: int) -> list[int]:
        done = []
        with psycopg.connect(database, autocommit=True) as own:
            while feed.consumers(own)[0].next_event_at:
                found = feed.consume(own, "c", 3)
                done += ids(found)
                if found:
                    feed.acknowledge(own, "c", found[-1].position)
        return done

    with ThreadPoolExecutor(6) as pool:
        done = [job for jobs in pool.map(work, range(6)) for job in jobs]

    assert sorted(done) == list(range(40))


def test_a_batch_that_is_not_acknowledged_comes_again_after_its_lease(connection: Connection) -> None:
    feed.consume(connection, "c")
    add_run(connection, 1)
    assert ids(feed.consume(connection, "c", lease=0.05)) == [1]

    assert ids(eventually(lambda: feed.consume(connection, "c"))) == [1]


def test_acknowledging_never_goes_back(connection: Connection) -> None:
    feed.consume(connection, "c")
    add_run(connection, 1)
    add_run(connection, 2)
    first, second = feed.consume(connection, "c")

    assert feed.acknowledge(connection, "c", second.position)
    assert not feed.acknowledge(connection, "c", first.position)
    assert feed.consume(connection, "c") == []


def test_while_nothing_happens_a_consumer_writes_nothing(connection: Connection) -> None:
    feed.consume(connection, "c")
    with connection.transaction():
        feed.consume(connection, "c")
        assert connection.execute("SELECT pg_current_xact_id_if_assigned()").fetchone() == (None,)


def test_what_is_no_consumer_or_position_is_refused(connection: Connection) -> None:
    with pytest.raises(ConsumerNotFoundError):
        feed.acknowledge(connection, "c", "1-1-1-1")
    with pytest.raises(ConsumerNotFoundError):
        feed.drop(connection, "c")
    feed.consume(connection, "c")
    for text in ("1-999999999999-0-0", "2-1-0-0", "x"):
        with pytest.raises(PositionError):
            feed.acknowledge(connection, "c", text)
    with pytest.raises(PositionError):
        feed.consume(connection, "")


def test_a_consumer_is_listed_with_what_waits_for_it_and_dropped(connection: Connection) -> None:
    feed.consume(connection, "c")
    assert [(each.name, each.next_event_at) for each in feed.consumers(connection)] == [("c", None)]
    add_run(connection, 1)
    assert feed.consumers(connection)[0].next_event_at is not None

    feed.drop(connection, "c")

    assert feed.consumers(connection) == []


# What is gone


def _expect_reset(connection: Connection, position: str, word: str) -> str:
    [reset] = feed.read(connection, position)
    assert reset.event is None
    assert word in (reset.reason or "")
    return reset.position


def test_who_has_not_read_what_is_pruned_is_told(connection: Connection) -> None:
    connection.execute("UPDATE pgtask.settings SET value = '1' WHERE name = 'retention_days'")
    connection.execute("SELECT pgtask.add_partition(d, d + interval '1 day') "
                       "FROM date_trunc('day', now() - interval '20 days', 'UTC') d")  # fmt: skip
    feed.consume(connection, "behind")
    start = feed.position(connection)
    for age in ("20 days", "9 days"):  # a partition of its own, and the default one
        connection.execute("INSERT INTO pgtask.runs (job_id, finished_at, outcome, priority, final, queue, task) "
                           "VALUES (1, now() - %s::interval, 'lost', 1, false, 'q', 't')", [age])  # fmt: skip
    read = feed.read(connection, start)
    assert len(read) == 2
    add_run(connection, 2)

    done = partitions.maintain(connection)

    assert (len(done.dropped), done.deleted_runs) == (1, 1)
    assert ids(feed.read(connection, read[-1].position)) == [2]
    after = _expect_reset(connection, read[0].position, "pruned")
    assert ids(feed.read(connection, after)) == [2]
    assert feed.consumers(connection)[0].interrupted
    [told] = feed.consume(connection, "behind")
    assert told.event is None
    assert feed.acknowledge(connection, "behind", told.position)
    assert ids(feed.consume(connection, "behind")) == [2]


def test_after_a_restore_into_a_new_cluster_the_feed_goes_on(connection: Connection) -> None:
    """As it is there: rows, consumers and the note carry numbers that the new cluster is yet to give."""
    feed.consume(connection, "c")
    add_run(connection, 1)
    feed.note(connection)
    ahead = number(connection, "SELECT pg_current_xact_id()::text::bigint") + 50
    connection.execute("UPDATE pgtask.runs SET xid = %s, finished_at = now() - interval '1 h'", [ahead])
    connection.execute("UPDATE pgtask.feed_state SET seen_xid = %s", [ahead + 10])
    connection.execute("UPDATE pgtask.feed_consumers SET position = %s", [f"1-{ahead + 5}-1-1"])

    _expect_reset(connection, f"1-{ahead + 5}-1-1", "restored")
    feed.note(connection)
    start = _expect_reset(connection, f"1-{ahead + 5}-1-1", "restored")
    add_run(connection, 2)
    assert ids(feed.read(connection, start)) == [2]
    while number(connection, "SELECT pg_current_xact_id()::text::bigint") < ahead + 20:
        pass

    # What was restored is not told anew when the numbers come by, and an old position is not taken for one of now.
    assert ids(feed.read(connection, start)) == [2]
    _expect_reset(connection, f"1-{ahead + 5}-1-1", "restored")
    [told] = feed.consume(connection, "c")
    assert told.event is None
    assert feed.acknowledge(connection, "c", told.position)
    add_run(connection, 3)
    assert ids(feed.consume(connection, "c")) == [3]


def test_a_consumer_gets_past_a_restore_that_nobody_has_noted(connection: Connection) -> None:
    feed.consume(connection, "c")
    connection.execute("UPDATE pgtask.feed_consumers SET position = '1-99999999999-1-1'")

    [told] = feed.consume(connection, "c")
    assert feed.acknowledge(connection, "c", told.position)
    add_run(connection, 1)

    assert ids(feed.consume(connection, "c")) == [1]


def test_noting_goes_forward_without_a_new_generation(connection: Connection) -> None:
    position = feed.position(connection)
    for _ in range(3):
        feed.note(connection)
    assert feed.position(connection).split("-")[0] == position.split("-")[0]
