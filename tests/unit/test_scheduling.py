"""Declaring schedules in code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pgtask import JobContext, PayloadError, PgTask, PgTaskError, ScheduleError, TaskError
from pgtask.model.misfire import Catchup, Terms, reckon
from pgtask.model.recurrence import Recurrence
from pgtask.model.schedule import jitter_delay


def make(app: PgTask) -> Any:
    @app.task(name="report")
    def report(ctx: JobContext, year: int, name: str = "") -> None: ...

    return report


def test_a_decorator_declares_a_schedule_under_the_tasks_name() -> None:
    app = PgTask()

    @app.schedule("0 7 * * mon-fri", timezone="Europe/Vienna", jitter="30s", catchup="none", priority="high")
    @app.task(name="morning")
    def morning() -> None: ...

    (schedule,) = app.schedules.values()
    assert (schedule.name, schedule.task, schedule.expression) == ("morning", "morning", "0 7 * * mon-fri")
    assert (schedule.timezone, schedule.jitter, schedule.catchup) == ("Europe/Vienna", 30.0, "none")
    assert schedule.priority == 2
    assert app.tasks["morning"] is morning


def test_a_call_declares_a_schedule_with_arguments() -> None:
    app = PgTask()
    report = make(app)
    assert app.schedule("@every 5m", report, name="a", year=2026) is report
    app.schedule("@daily", report, name="b", payload={"year": 1, "name": "x"}, tags=["t"])
    assert {name: schedule.payload for name, schedule in app.schedules.items()} == {
        "a": '{"year":2026}',
        "b": '{"year":1,"name":"x"}',
    }
    assert app.schedules["b"].tags == ("t",)


@pytest.mark.parametrize(
    ("expression", "options", "kind", "says"),
    [
        ("0 0 30 2 *", {}, ScheduleError, "never due"),
        ("* * * * * *", {}, ScheduleError, "six fields"),
        ("@reboot", {}, ScheduleError, "@reboot"),
        ("@daily", {"timezone": "Mars/Olympus"}, ScheduleError, "Mars/Olympus"),
        ("@daily", {"catchup": "some"}, ScheduleError, "none, one or all"),
        ("@daily", {"overlap": "maybe"}, ScheduleError, "allow, skip, queue_one or cancel_running"),
        ("@daily", {"catchup_limit": 0}, ScheduleError, "1 to 1000"),
        ("@daily", {"jitter": "2d"}, ScheduleError, "jitter"),
        ("@daily", {"jitter": "soon"}, ScheduleError, "no duration"),
        ("@daily", {"name": ""}, ScheduleError, "1 to 200"),
        ("@daily", {"priority": 1000}, ScheduleError, "1000"),
        ("@daily", {"max_retries": -2}, ScheduleError, "max_retries"),
        ("@daily", {"max_retries": 2**31}, ScheduleError, "max_retries 2147483648 is out of range"),
        ("@daily", {"queue": ""}, ScheduleError, "1 to 128 bytes"),
        ("@daily", {"queue": "ü" * 65}, ScheduleError, "1 to 128 bytes"),
        ("@daily", {"tags": ["x" * 4000]}, ScheduleError, "up to 4000 bytes"),
        ("@daily", {"name": "a\0b"}, ScheduleError, "U[+]0000"),
        ("@daily", {"queue": "a\0b"}, ScheduleError, "U[+]0000"),
        ("@daily", {"tags": ["a", "\0"]}, ScheduleError, "U[+]0000"),
        ("@daily", {"starts_at": datetime(2026, 1, 1)}, ScheduleError, "aware"),  # noqa: DTZ001
        (
            "@daily",
            {"starts_at": datetime(2026, 1, 2, tzinfo=UTC), "ends_at": datetime(2026, 1, 1, tzinfo=UTC)},
            ScheduleError,
            "later than starts_at",
        ),
        ("@daily", {"timezon": "UTC"}, PayloadError, "timezon"),
        ("@daily", {"payload": {"year": 1}}, ScheduleError, "not both"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(
    expression: str, options: dict[str, Any], kind: type[PgTaskError], says: str
) -> None:
    app = PgTask()
    report = make(app)
    with pytest.raises(kind, match=says) as raised:
        app.schedule(expression, report, year=1, **options)
    assert "\n" not in str(raised.value)
    assert app.schedules == {}


def test_two_schedules_cannot_have_one_name() -> None:
    app = PgTask()
    report = make(app)
    app.schedule("@daily", report, year=1)
    with pytest.raises(ScheduleError, match="declared twice"):
        app.schedule("@hourly", report, year=2)


def test_only_a_task_can_be_scheduled() -> None:
    with pytest.raises(TaskError, match="above @task"):
        PgTask().schedule("@daily")(lambda: None)  # type: ignore[arg-type]


def test_jitter_is_the_same_for_the_same_tick_and_spread_over_its_length() -> None:
    ticks = [datetime(2026, 1, 1, 0, minute, tzinfo=UTC) for minute in range(60)]
    delays = [jitter_delay(7, tick, 100.0) for tick in ticks]
    assert delays == [jitter_delay(7, tick, 100.0) for tick in ticks]
    assert delays != [jitter_delay(8, tick, 100.0) for tick in ticks]
    assert all(0 <= delay < 100 for delay in delays)
    assert (min(delays) < 20, max(delays) > 80) == (True, True)
    assert jitter_delay(7, ticks[0], 0.0) == 0.0


def test_ticks_at_the_very_start_and_end_are_due() -> None:
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 2, tzinfo=UTC)
    hourly = Recurrence.parse("@hourly")
    terms = Terms(
        recurrence=hourly,
        anchor=begin,
        due_after=begin - timedelta(days=1),
        starts_at=begin,
        ends_at=end,
        catchup=Catchup.ALL,
    )
    assert reckon(terms, begin - timedelta(hours=1)).next_tick_at == begin
    found = reckon(terms, end - timedelta(hours=1))
    assert ([tick.at for tick in found.due], found.next_tick_at) == ([begin, begin + timedelta(hours=1)], end)
    over = reckon(terms, end + timedelta(hours=9))
    assert ([tick.at for tick in over.due][-1], over.next_tick_at) == (end, None)
