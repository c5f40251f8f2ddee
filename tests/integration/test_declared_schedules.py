"""Schedules that code declares: taken over, changed, orphaned, and left alone where operators have a say."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from pgtask.database.declaring import declare
from pgtask.database.ticking import mark_orphans
from pgtask.engine.scheduler import fire_due
from pgtask.model.schedule import Schedule
from tests.rows import Connection, add_worker, expire, number
from tests.schedules import add, column, pass_time, ticks
from tests.support import eventually

APP = "shop:tasks"


def schedule(name: str = "nightly", expression: str = "@every 10s", **values: Any) -> Schedule:
    return Schedule(name=name, expression=expression, task="t", **values)


def stored(connection: Connection, name: str = "nightly") -> int:
    row = connection.execute("SELECT id FROM pgtask.schedules WHERE name = %s", [name]).fetchone()
    assert row is not None
    return int(row[0])


def orphans(connection: Connection) -> set[str]:
    mark_orphans(connection)
    return {row[0] for row in connection.execute("SELECT name FROM pgtask.schedules WHERE orphaned_at IS NOT NULL")}


def test_a_declaration_becomes_a_schedule(connection: Connection) -> None:
    worker = add_worker(connection)
    given = schedule(payload='{"a": 1}', queue="q", priority=3, tags=("x",), jitter=5.0, catchup="all", overlap="skip")
    assert declare(connection, worker, APP, [given]) == []
    id = stored(connection)
    names = ("source", "application", "payload", "queue", "priority", "tags", "jitter", "catchup", "overlap")
    assert [column(connection, id, name) for name in names] == [
        *("code", APP, {"a": 1}, "q", 3, ["x"], 5.0, "all", "skip")
    ]
    fire_due(connection)
    assert ticks(connection, id) == []


def test_whatever_may_be_declared_can_be_written(connection: Connection) -> None:
    longest = schedule("n" * 200, queue="q" * 128, tags=("t",) * 444, max_retries=2**31 - 1)
    longest.check()
    assert declare(connection, add_worker(connection), APP, [longest]) == []
    assert column(connection, stored(connection, "n" * 200), "queue") == "q" * 128


def test_declaring_again_changes_nothing(connection: Connection) -> None:
    worker = add_worker(connection)
    declare(connection, worker, APP, [schedule()])
    id = stored(connection)
    pass_time(connection, id, 11)
    before = [column(connection, id, name) for name in ("anchor", "due_after", "updated_at")]
    declare(connection, worker, APP, [schedule()])
    assert [column(connection, id, name) for name in ("anchor", "due_after", "updated_at")] == before
    fire_due(connection)
    assert [tick.outcome for tick in ticks(connection, id)] == ["fired"]


def test_a_new_declaration_replaces_the_old_one_and_fires_nothing_for_the_past(connection: Connection) -> None:
    worker = add_worker(connection)
    declare(connection, worker, APP, [schedule()])
    id = stored(connection)
    pass_time(connection, id, 3600)
    declare(connection, worker, APP, [schedule(expression="@every 7s", payload='{"n": 2}')])
    assert (column(connection, id, "expression"), column(connection, id, "payload")) == ("@every 7s", {"n": 2})
    fire_due(connection)
    assert ticks(connection, id) == []


def test_what_operators_set_holds_until_the_declaration_changes(connection: Connection) -> None:
    worker = add_worker(connection)
    declare(connection, worker, APP, [schedule()])
    id = stored(connection)
    connection.execute("UPDATE pgtask.schedules SET expression = '@every 3s', updated_at = now()")
    connection.execute("SELECT pgtask.pause_schedule('nightly', 'ann')")
    declare(connection, add_worker(connection), APP, [schedule()])
    assert column(connection, id, "expression") == "@every 3s"

    declare(connection, add_worker(connection), APP, [schedule(expression="@every 9s")])
    assert (column(connection, id, "expression"), column(connection, id, "paused_by")) == ("@every 9s", "ann")


def test_what_vanished_from_the_code_is_orphaned_and_comes_back_with_it(connection: Connection) -> None:
    worker = add_worker(connection)
    declare(connection, worker, APP, [schedule("kept"), schedule("gone")])
    assert orphans(connection) == set()
    declare(connection, worker, APP, [schedule("kept")])
    assert orphans(connection) == {"gone"}
    pass_time(connection, stored(connection, "gone"), 3600)
    fire_due(connection)
    assert ticks(connection, stored(connection, "gone")) == []

    declare(connection, worker, APP, [schedule("kept"), schedule("gone")])
    assert orphans(connection) == set()
    fire_due(connection)
    assert ticks(connection, stored(connection, "gone")) == []


def test_old_and_new_code_side_by_side_keep_what_each_declares(connection: Connection) -> None:
    old, new = add_worker(connection), add_worker(connection)
    declare(connection, old, APP, [schedule("old"), schedule("both", "@every 5s")])
    declare(connection, new, APP, [schedule("new"), schedule("both", "@every 6s")])
    # An executor of the old worker starts again.
    declare(connection, old, APP, [schedule("old"), schedule("both", "@every 5s")])
    assert orphans(connection) == set()
    assert column(connection, stored(connection, "both"), "expression") == "@every 6s"

    expire(connection, old)
    assert orphans(connection) == {"old"}


def test_going_back_to_old_code_brings_its_declaration_back(connection: Connection) -> None:
    new = add_worker(connection)
    declare(connection, new, APP, [schedule(expression="@every 6s")])
    back = add_worker(connection)
    declare(connection, back, APP, [schedule(expression="@every 5s")])
    assert column(connection, stored(connection), "expression") == "@every 5s"
    # A worker that was told to reload, when the newer one is no more.
    expire(connection, back)
    declare(connection, new, APP, [schedule(expression="@every 6s")])
    assert column(connection, stored(connection), "expression") == "@every 6s"


def test_an_application_without_workers_orphans_nothing(connection: Connection) -> None:
    worker = add_worker(connection)
    declare(connection, worker, APP, [schedule()])
    declare(connection, add_worker(connection), "other:tasks", [])
    expire(connection, worker)
    assert orphans(connection) == set()


def test_what_a_worker_declares_is_no_orphan_once_it_is_back(connection: Connection) -> None:
    old, new = add_worker(connection), add_worker(connection)
    declare(connection, old, APP, [])
    declare(connection, new, APP, [schedule()])
    # An outage outlasts all leases, and the old one is the first to renew its own.
    expire(connection, new)
    assert orphans(connection) == {"nightly"}
    pass_time(connection, stored(connection), 3600)

    connection.execute("UPDATE pgtask.workers SET expires_at = now() + interval '30 s' WHERE id = %s", [new])
    assert orphans(connection) == set()
    fire_due(connection)
    assert ticks(connection, stored(connection)) == []
    pass_time(connection, stored(connection), 11)
    fire_due(connection)
    assert [tick.outcome for tick in ticks(connection, stored(connection))] == ["fired"]


def test_who_looks_for_orphans_waits_for_nobody(database: str, connection: Connection) -> None:
    old, new = add_worker(connection), add_worker(connection)
    declare(connection, old, APP, [])
    declare(connection, new, APP, [schedule()])
    expire(connection, new)
    connection.execute("SET lock_timeout = '1 ms'")
    with psycopg.connect(database) as slow:
        slow.execute("BEGIN")
        declare(slow, add_worker(connection), APP, [schedule()])
        assert mark_orphans(connection) == []
        slow.commit()
    assert orphans(connection) == set(), "nor marks what is being declared"


def test_workers_that_start_together_declare_the_same_in_peace(database: str, connection: Connection) -> None:
    first, second = add_worker(connection), add_worker(connection)
    refused: list[list[str]] = []
    with psycopg.connect(database, autocommit=True) as other, psycopg.connect(database) as slow:
        slow.execute("BEGIN")
        declare(slow, first, APP, [schedule()])
        waiting = threading.Thread(target=lambda: refused.append(declare(other, second, APP, [schedule()])))
        waiting.start()
        blocked = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        eventually(lambda: number(connection, blocked) == 1)
        slow.commit()
        waiting.join()
    assert refused == [[]]
    assert column(connection, stored(connection), "declared_by") == second


def test_what_was_made_at_run_time_is_not_the_codes_to_declare(connection: Connection) -> None:
    id = add(connection, "@every 1h", name="nightly")
    worker = add_worker(connection)
    assert declare(connection, worker, APP, [schedule(), schedule("other")]) == ["nightly"]
    assert (column(connection, id, "source"), column(connection, id, "expression")) == ("runtime", "@every 1h")
    assert orphans(connection) == set()


@pytest.mark.parametrize("alive", [True, False])
def test_another_application_may_take_a_schedule_over_only_when_nobody_declares_it(
    connection: Connection, alive: bool
) -> None:
    first = add_worker(connection)
    declare(connection, first, APP, [schedule()])
    if not alive:
        expire(connection, first)
    refused = declare(connection, add_worker(connection), "moved:tasks", [schedule()])
    assert refused == (["nightly"] if alive else [])
    assert column(connection, stored(connection), "application") == (APP if alive else "moved:tasks")
