"""The SQL door to schedules."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import errors, sql

from pgtask.engine.scheduler import fire_due
from pgtask.model.errors import ScheduleError
from pgtask.model.recurrence import Recurrence
from tests.rows import Connection, live, number
from tests.schedules import add, column, jobs, pass_time, ticks
from tests.support import eventually


def call(connection: Connection, query: LiteralString, *arguments: Any) -> Any:
    row = connection.execute(query, arguments).fetchone()
    assert row is not None
    return row[0]


def test_a_schedule_is_made_with_the_defaults(connection: Connection) -> None:
    id = call(connection, "SELECT pgtask.schedule('s', '@every 10s', 't')")
    names = (
        "source",
        "timezone",
        "catchup",
        "catchup_limit",
        "catchup_max_age",
        "overlap",
        "jitter",
        "payload",
        "queue",
    )
    assert [column(connection, id, name) for name in names] == [
        *("runtime", "UTC", "one", 100, 604800.0, "queue_one", 0.0, {}, None)
    ]
    fire_due(connection)
    assert ticks(connection, id) == []
    pass_time(connection, id, 10)
    fire_due(connection)
    assert [tick.outcome for tick in ticks(connection, id)] == ["fired"]


def test_a_schedule_takes_everything_that_it_is_given(connection: Connection) -> None:
    id = call(
        connection,
        """SELECT pgtask.schedule('s', ' 0 0 7 * * mon-fri ', 't', '{"a": 1}', timezone => 'Europe/Vienna',
                  seconds => 'first', queue => 'q', priority => 3, max_retries => 0, timeout => '1 min', tags => '{x}',
                  catchup => 'all', catchup_limit => 5, catchup_max_age => '1 h', overlap => 'skip', jitter => '30 s',
                  starts_at => '2026-01-01 00:00+00', ends_at => '2036-01-01 00:00+00')""",
    )
    names = (
        "expression",
        "timezone",
        "seconds_field",
        "payload",
        "queue",
        "priority",
        "max_retries",
        "timeout",
        "tags",
    )
    assert [column(connection, id, name) for name in names] == [
        *("0 0 7 * * mon-fri", "Europe/Vienna", "first", {"a": 1}, "q", 3, 0, 60.0, ["x"])
    ]
    rules = ("catchup", "catchup_limit", "catchup_max_age", "overlap", "jitter")
    assert [column(connection, id, name) for name in rules] == ["all", 5, 3600.0, "skip", 30.0]
    assert column(connection, id, "anchor") == column(connection, id, "starts_at")
    fire_due(connection)
    assert column(connection, id, "next_tick_at") is not None


def test_the_same_name_changes_the_schedule(connection: Connection) -> None:
    id = call(connection, "SELECT pgtask.schedule('s', '@every 10s', 't', queue => 'q')")
    call(connection, "SELECT pgtask.pause_schedule('s')")
    assert call(connection, "SELECT pgtask.schedule('s', '@every 20s', 'u')") == id
    assert [column(connection, id, name) for name in ("expression", "task", "queue")] == ["@every 20s", "u", None]
    assert column(connection, id, "paused_at") is not None


def test_saying_the_same_again_leaves_its_ticks_alone(connection: Connection) -> None:
    id = call(connection, "SELECT pgtask.schedule('s', '@every 10s', 't')")
    pass_time(connection, id, 11)
    call(connection, "SELECT pgtask.schedule('s', '@every 10s', 't')")
    fire_due(connection)
    assert [tick.outcome for tick in ticks(connection, id)] == ["fired"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("'', '@daily', 't'", "name of 1 to 200"),
        ("NULL, '@daily', 't'", "name of 1 to 200"),
        ("'s', '@daily', ''", "name the task"),
        ("'s', '@daily', 't', '[]'", "JSON object"),
        ("'s', '@daily', 't', priority => 1000", "between -100 and 100"),
        ("'s', '@daily', 't', catchup => 'some'", "none, one or all"),
        ("'s', '@daily', 't', overlap => 'x'", "allow, skip, queue_one or cancel_running"),
        ("'s', '@daily', 't', timezone => 'Mars/Olympus'", "no time zone 'Mars/Olympus'"),
        ("'s', '@daily', 't', timezone => NULL", "no time zone"),
        ("'s', '* * * * * *', 't', seconds => 'middle'", "first or last"),
        ("'s', '@daily', 't', starts_at => '2026-02-01', ends_at => '2026-01-01'", "later than starts_at"),
        ("'s', '@daily', 't', catchup_limit => 0", "catchup_limit 0 is out of range: write 1 to 1000"),
        ("'s', '@daily', 't', catchup_limit => NULL", "catchup_limit NULL is out of range: write 1 to 1000"),
        ("'s', '@daily', 't', catchup_max_age => '-1 s'", "catchup_max_age -1 s is out of range: write 0 to"),
        ("'s', '@daily', 't', catchup_max_age => NULL", "catchup_max_age NULL is out of range: write 0 to"),
        ("'s', '@daily', 't', jitter => '2 d'", "jitter 172800 s is out of range: write 0 to 86400 seconds"),
        ("'s', '@daily', 't', jitter => NULL", "jitter NULL is out of range: write 0 to 86400 seconds"),
        ("'s', '@daily', 't', timeout => '0'", "timeout 0 s is out of range: it is longer than 0 s"),
        ("'s', '@daily', 't', max_retries => -5", "give 0 or more, or -1 for no limit"),
        ("'s', '@daily', 't', queue => ''", "a queue's name has 1 to 128 bytes"),
        ("'s', '@daily', repeat('x', 257)", "a task's name has 1 to 256 bytes"),
        ("'s', '@every 1 fortnight', 't'", "such as @every 1h30m"),
    ],
)
def test_what_cannot_be_is_refused_with_advice(connection: Connection, arguments: str, says: str) -> None:
    with pytest.raises(errors.InvalidParameterValue, match=says) as refused:
        connection.execute(f"SELECT pgtask.schedule({arguments})".encode())
    assert "\n" not in (refused.value.diag.message_primary or "")
    assert number(connection, "SELECT count(*) FROM pgtask.schedules") == 0


GOOD: list[tuple[str, str | None]] = [
    *(
        (text, None)
        for text in (
            *("* * * * *", "*/5 * * * *", "0 7 * * mon-fri", "0,30 8-18/2 1,15 jan,jul *", "0 0 L * *", "0 0 29 2 *"),
            *("0 0 30 2 mon", "15 2 * * 7", "0 22-4 * * *", "0 0 * * fri-mon", "0 0 * * fri#2", "0 0 * * friL"),
            *(
                "@hourly",
                "@Daily",
                "@midnight",
                "@weekly",
                "@monthly",
                "@yearly",
                "@annually",
                "@every 90s",
                "@every 1h30m",
            ),
            *("5/15 * * * *", "  0 7 * * *  ", "0\t7 * * *", "0 0 31 1-12/2 *", "0 0 15,l * *"),
        )
    ),
    ("0 0 7 * * *", "first"),
    ("0 7 * * * */10", "last"),
]
BAD: list[tuple[str, str | None]] = [
    *(
        (text, None)
        for text in (
            *(
                "",
                "  ",
                "* * * *",
                "* * * * * *",
                "* * * * * * *",
                "60 * * * *",
                "* 24 * * *",
                "* * 0 * *",
                "* * 32 * *",
            ),
            *(
                "* * * 13 *",
                "* * * 0 *",
                "* * * * 8",
                "* * * foo *",
                "* * * * sunday",
                "a * * * *",
                "1- * * * *",
                "-1 * * * *",
            ),
            *("*/0 * * * *", "R * * * *", "H * * * *", "? * * * *", "0 0 15W * *", "0 0 30 2 *", "0 0 31 4,6,9,11 *"),
            *(
                "@reboot",
                "@every",
                "@fortnightly",
                "@daily 5",
                "0 0 * * mon#6",
                "mon * * * *",
                "1,,2 * * * *",
                "*-5 * * * *",
            ),
            "1" * 201,
        )
    ),
    ("* * * * *", "first"),
    ("60 * * * * *", "first"),
    ("* * * * * 60", "last"),
]


@pytest.mark.parametrize(("expression", "seconds"), GOOD)
def test_both_doors_accept_an_expression(reader: Connection, expression: str, seconds: Any) -> None:
    Recurrence.parse(expression, "UTC", seconds)
    reader.execute("SELECT pgtask.check_recurrence(%s, 'Europe/Vienna', %s)", [expression, seconds])


@pytest.mark.parametrize(("expression", "seconds"), BAD)
def test_both_doors_refuse_an_expression(reader: Connection, expression: str, seconds: Any) -> None:
    with pytest.raises(ScheduleError):
        Recurrence.parse(expression, "UTC", seconds)
    with pytest.raises(errors.InvalidParameterValue):
        reader.execute("SELECT pgtask.check_recurrence(%s, 'UTC', %s)", [expression, seconds])


def test_what_only_the_scheduler_finds_is_shown(connection: Connection) -> None:
    id = call(connection, "SELECT pgtask.schedule('s', '5-5 * * * *', 't')")
    fire_due(connection)
    assert "begins where it ends" in column(connection, id, "error")


def test_a_schedule_of_the_code_is_not_changed_nor_deleted(connection: Connection) -> None:
    add(connection, name="s", source="code", application="a:b")
    with pytest.raises(errors.UniqueViolation, match="declared in code"):
        connection.execute("SELECT pgtask.schedule('s', '@daily', 't')")
    with pytest.raises(errors.ObjectInUse, match="pause it"):
        connection.execute("SELECT pgtask.unschedule('s')")
    connection.execute("UPDATE pgtask.schedules SET orphaned_at = now()")
    assert call(connection, "SELECT pgtask.unschedule('s')") is True


def test_deleting_leaves_the_jobs(connection: Connection) -> None:
    id = add(connection, name="s", age=11)
    fire_due(connection)
    assert call(connection, "SELECT pgtask.unschedule('s')") is True
    assert call(connection, "SELECT pgtask.unschedule('s')") is False
    assert len(jobs(connection, id)) == 1


def test_pausing_keeps_the_first_time_and_name(connection: Connection) -> None:
    id = add(connection, name="s")
    connection.execute("UPDATE pgtask.schedules SET paused_at = now() - interval '1 h', paused_by = 'ann'")
    call(connection, "SELECT pgtask.pause_schedule('s', 'bob')")
    assert column(connection, id, "paused_by") == "ann"
    assert call(connection, "SELECT pgtask.resume_schedule('s')") is True
    assert call(connection, "SELECT pgtask.resume_schedule('s')") is False
    assert column(connection, id, "paused_by") is None


def test_doors_say_when_there_is_no_such_schedule(connection: Connection) -> None:
    assert call(connection, "SELECT pgtask.pause_schedule('x')") is None
    assert call(connection, "SELECT pgtask.resume_schedule('x')") is None
    assert call(connection, "SELECT pgtask.run_schedule('x')") is None


@pytest.mark.parametrize("state", ["paused_at", "orphaned_at", None])
def test_a_run_by_hand_is_a_job_outside_of_the_ticks(connection: Connection, state: str | None) -> None:
    connection.execute("INSERT INTO pgtask.tasks (name, queue) VALUES ('t', 'of task')")
    id = add(connection, name="s", priority=4, payload={"a": 1})
    if state is not None:
        connection.execute(sql.SQL("UPDATE pgtask.schedules SET {} = now()").format(sql.Identifier(state)))
    job = live(connection, call(connection, "SELECT pgtask.run_schedule('s')"))
    names = ("schedule_id", "tick_at", "queue", "priority", "payload")
    assert [job[name] for name in names] == [id, None, "of task", 4, {"a": 1}]
    assert ticks(connection, id) == []


def test_changes_are_announced_and_the_schedulers_own_are_not(database: str, connection: Connection) -> None:
    with psycopg.connect(database, autocommit=True) as listener:
        listener.execute("LISTEN pgtask")

        def heard() -> list[str]:
            return [notice.payload for notice in listener.notifies(timeout=0)]

        id = call(connection, "SELECT pgtask.schedule('s', '@every 10s', 't')")
        eventually(lambda: "schedules" in heard())
        pass_time(connection, id, 11)
        fire_due(connection)
        connection.execute("NOTIFY pgtask, 'end'")
        said = [notice.payload for notice in listener.notifies(timeout=10, stop_after=1)]
        assert said == ["end"]
        for query in ("pause_schedule('s')", "resume_schedule('s')", "unschedule('s')"):
            connection.execute(f"SELECT pgtask.{query}".encode())
            eventually(lambda: "schedules" in heard())


# A job keeps its tick


def test_a_job_carries_its_tick_through_its_end_and_back(connection: Connection) -> None:
    id = add(connection, age=11)
    fire_due(connection)
    (tick,) = ticks(connection, id)
    (job,) = jobs(connection, id)
    carried = "SELECT schedule_id, tick_at FROM pgtask.all_jobs WHERE id = %s"
    assert connection.execute(carried, [job]).fetchall() == [(id, tick.tick_at)]
    connection.execute("SELECT pgtask.cancel(%s)", [job])
    assert connection.execute(carried, [job]).fetchall() == [(id, tick.tick_at)]
    connection.execute("SELECT pgtask.retry(%s)", [job])
    assert (live(connection, job)["schedule_id"], live(connection, job)["tick_at"]) == (id, tick.tick_at)
