from __future__ import annotations

import contextlib
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice

import pytest

from pgtask.model.cron import Seconds
from pgtask.model.errors import ScheduleError
from pgtask.model.recurrence import Recurrence, transition
from tests.expressions import MISUNDERSTOOD, UNDERSTOOD, Written
from tests.oracle import following

ANCHOR = datetime(2026, 1, 1, 0, 0, 7, tzinfo=UTC)
PLACES = ((0, 59, ()), (0, 23, ()), (1, 31, ("L",)), (1, 12, ("jan", "apr", "dec")), (0, 6, ("sun", "tue", "sat")))


def _ticks(written: Written, after: str, count: int) -> list[str]:
    ticks = Recurrence.parse(*written).ticks(datetime.fromisoformat(after), ANCHOR)
    return [tick.isoformat(timespec="seconds").removesuffix("+00:00") for tick in islice(ticks, count)]


@pytest.mark.parametrize("written", UNDERSTOOD, ids=str)
def test_what_is_understood_is_due_some_day_and_has_words(written: Written) -> None:
    recurrence = Recurrence.parse(*written)

    tick = recurrence.next(ANCHOR, ANCHOR)
    assert tick is not None
    assert tick > ANCHOR
    assert recurrence.words()
    assert Recurrence.parse(recurrence.expression, recurrence.timezone, recurrence.seconds) == recurrence


@pytest.mark.parametrize("written", MISUNDERSTOOD, ids=str)
def test_what_is_not_understood_is_refused_in_one_line(written: Written) -> None:
    with pytest.raises(ScheduleError) as refused:
        Recurrence.parse(*written)

    message = str(refused.value)
    assert message.isprintable()
    assert message[-1] in ".?"
    assert len(message) < 250 + len(written.expression)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (Written(" "), "The expression is empty: write one such as '0 8 * * mon-fri' or '@every 30s'."),
        (Written("1" * 201), "The expression is longer than 200 characters: make several schedules of it."),
        (
            Written("0 8 * *"),
            "'0 8 * *' has 4 fields: write five, for minute, hour, day of month, month and day of week",
        ),
        (Written("0 0 8 * * *"), "has six fields: say where the seconds stand, seconds='first' or seconds='last'."),
        (
            Written("0 8 * * *", seconds="last"),
            "has five fields, none for seconds: write six, or leave out seconds='last'.",
        ),
        (
            Written("0 0 1 1 * * 2027"),
            "has seven fields: years are not understood, give the schedule a start and an end",
        ),
        (Written("* * * * * *", seconds="second"), "seconds is 'second': it says where they stand, 'first' or 'last'."),  # type: ignore[arg-type]
        (Written("60 * * * *"), "Minute 60 is out of range: write 0 to 59 (in '60 * * * *')."),
        (
            Written("0 0 * * monday"),
            "Day of week 'monday' is unknown: write 0 to 7, or sun, mon, tue, wed, thu, fri, sat (in",
        ),
        (Written("0 0 1 foo *"), "Month 'foo' is unknown: write 1 to 12, or jan, feb, mar,"),
        (Written("*/90 * * * *"), "Minute '*/90': a step goes from 1 to 59, write @every for other intervals (in"),
        (Written("0 5-5 * * *"), "Hour '5-5' begins where it ends: write one value, or * (in '0 5-5 * * *')."),
        (Written("0 22-5/2 * * *"), "Hour '22-5/2' goes over the end with a step: write the values with commas (in"),
        (Written("*,5 * * * *"), "Minute '*,5': * stands for every value, leave out the others (in '*,5 * * * *')."),
        (Written("0 0 ? * 1"), "Day of month '?' is not understood: write * instead (in '0 0 ? * 1')."),
        (
            Written("H * * * *"),
            "Minute 'h' is not understood: write a value, and a jitter for the schedule to spread its",
        ),
        (
            Written("R/5 * * * *"),
            "Minute 'r/5' is not understood: write a value, and a jitter for the schedule to spread its",
        ),
        (
            Written("0 0 15W * *"),
            "Day of month '15w' is not understood, nearest working days are not counted: write a day,",
        ),
        (Written("0 0 * * mon#6"), "Day of week 'mon#6': count weekdays from #1 to #5 (in '0 0 * * mon#6')."),
        (Written("0 0 * * mon#1,5"), "'0 0 * * mon#1,5' mixes 'mon#1' with plain weekdays: make two schedules of it."),
        (Written("0 0 1 * mon#1"), "has 'mon#1' and a day of month: write * for one, or make two schedules of it."),
        (Written("0 0 30 2 *"), "'0 0 30 2 *' is never due: the months it names have no such day."),
        (
            Written("@reboot"),
            "'@reboot' is not understood: workers come and go. Enqueue the job where your program starts.",
        ),
        (Written("@dayly"), "'@dayly' is unknown: did you mean @daily?"),
        (
            Written("@never"),
            "'@never' is unknown: write @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually, or",
        ),
        (
            Written("@every 5"),
            "'@every 5' is not understood: write '@every' and a length of time, such as '@every 1h30m'.",
        ),
        (Written("@every 200ms"), "'@every 200ms' is too often: write at least '@every 1s'."),
        (Written("@every 2000w"), "'@every 2000w' is too seldom: write at most '@every 1000000000s'."),
        (Written("@every 5s", seconds="first"), "has no field for seconds: leave out seconds='first'."),
        (Written("0 8 * * *", "europe/berln"), "There is no time zone 'europe/berln': did you mean 'Europe/Berlin'?"),
        (Written("0 8 * * *", "%"), "There is no time zone '%': write an IANA name such as 'Europe/Berlin' or 'UTC'."),
        (
            Written("0 8 * * \x00"),
            r"'0 8 * * \x00' has characters that are not understood: write plain letters, digits and",
        ),
    ],
    ids=str,
)
def test_a_refusal_says_what_to_write_instead(written: Written, message: str) -> None:
    with pytest.raises(ScheduleError) as refused:
        Recurrence.parse(*written)

    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("written", "after", "ticks"),
    [
        (Written("0 8 * * mon-fri"), "2026-11-20T08:00Z", ["2026-11-23T08:00:00", "2026-11-24T08:00:00"]),
        (
            Written("0 8 * * mon-fri", "Europe/Berlin"),
            "2026-11-20T08:00Z",
            ["2026-11-23T07:00:00", "2026-11-24T07:00:00"],
        ),
        (Written("0 0 29 2 *"), "2024-02-29T00:00Z", ["2028-02-29T00:00:00", "2032-02-29T00:00:00"]),
        (Written("0 0 29 2 *"), "2096-02-29T00:00Z", ["2104-02-29T00:00:00"]),
        (Written("0 0 L * *"), "2027-12-31T00:00Z", ["2028-01-31T00:00:00", "2028-02-29T00:00:00"]),
        (
            Written("0 0 13 * fri"),
            "2026-11-10T00:00Z",
            ["2026-11-13T00:00:00", "2026-11-20T00:00:00", "2026-11-27T00:00:00"],
        ),
        (Written("0 0 */2 * mon"), "2026-11-01T00:00Z", ["2026-11-09T00:00:00", "2026-11-23T00:00:00"]),
        (Written("0 9 * * friL"), "2026-11-01T00:00Z", ["2026-11-27T09:00:00", "2026-12-25T09:00:00"]),
        (Written("0 9 * * tue#2"), "2026-11-01T00:00Z", ["2026-11-10T09:00:00", "2026-12-08T09:00:00"]),
        (Written("0 0 1 nov-feb *"), "2026-11-01T00:00Z", ["2026-12-01T00:00:00", "2027-01-01T00:00:00"]),
        (
            Written("*/20 * * * * *", seconds="first"),
            "2026-11-01T00:00:30Z",
            ["2026-11-01T00:00:40", "2026-11-01T00:01:00"],
        ),
        (Written("0 8 * * * 30", seconds="last"), "2026-11-01T08:00:30Z", ["2026-11-02T08:00:30"]),
        (
            Written("*/30 2 25 10 *", "Europe/Berlin"),  # the hour is shown twice; next year it is not
            "2026-10-25T00:00Z",
            ["2026-10-25T00:30:00", "2026-10-25T01:00:00", "2026-10-25T01:30:00", "2027-10-25T00:00:00"],
        ),
        (Written("@weekly"), "2026-11-22T00:00Z", ["2026-11-29T00:00:00"]),
        (Written("@yearly"), "2026-11-22T00:00Z", ["2027-01-01T00:00:00", "2028-01-01T00:00:00"]),
        (Written("@hourly", "Asia/Kolkata"), "2026-11-22T00:00Z", ["2026-11-22T00:30:00", "2026-11-22T01:30:00"]),
        (Written("@every 30s"), "2026-01-01T00:00:07Z", ["2026-01-01T00:00:37", "2026-01-01T00:01:07"]),
        (Written("@every 30s"), "2026-01-01T00:00:36.999999Z", ["2026-01-01T00:00:37"]),
        (Written("@every 1d", "Europe/Berlin"), "2026-03-28T12:00Z", ["2026-03-29T00:00:07", "2026-03-30T00:00:07"]),
        (Written("@every 1h"), "2025-12-31T22:30Z", ["2025-12-31T23:00:07", "2026-01-01T00:00:07"]),
    ],
    ids=str,
)
def test_ticks(written: Written, after: str, ticks: list[str]) -> None:
    assert _ticks(written, after, len(ticks)) == ticks


def test_a_fraction_of_a_second_adds_up_exactly() -> None:
    recurrence = Recurrence.parse("@every 1.1s")
    assert recurrence.every == 1.1

    *_, last = islice(recurrence.ticks(ANCHOR, ANCHOR), 1000)

    assert last == ANCHOR + timedelta(seconds=1100)


def test_instants_may_be_given_in_any_zone_and_come_back_in_utc() -> None:
    east = timezone(timedelta(hours=5))

    tick = Recurrence.parse("0 8 * * *").next(datetime(2026, 11, 22, 12, 59, 59, 5, tzinfo=east), ANCHOR)

    assert tick == datetime(2026, 11, 22, 8, tzinfo=UTC)
    assert tick is not None
    assert tick.tzinfo is UTC
    every = Recurrence.parse("@every 1s").next(datetime(2026, 11, 22, tzinfo=east), ANCHOR.astimezone(east))
    assert every is not None
    assert every.tzinfo is UTC


@pytest.mark.parametrize("expression", ["0 0 1 1 *", "* * * * *", "@every 1d"])
def test_there_is_no_tick_after_the_calendar_ends(expression: str) -> None:
    assert Recurrence.parse(expression).next(datetime(9999, 12, 31, 23, 59, 30, tzinfo=UTC), ANCHOR) is None


def _field(pick: random.Random, place: int) -> str:
    low, high, words = PLACES[place]
    parts = []
    for _ in range(pick.choice((1, 1, 2, 3))):
        first, final = sorted(pick.sample(range(low, high + 1), 2))
        step = pick.randint(1, 6)
        ranges = (f"{first}-{final}", f"{final}-{first}", f"{first}-{final}/{step}", f"{first}/{step}")
        parts.append(pick.choice((str(first), *ranges, *words)))
    return pick.choice(("*", "*", f"*/{pick.randint(1, 6)}", ",".join(parts)))


def test_any_expression_names_the_times_that_its_fields_say() -> None:
    pick = random.Random(20261122)
    tried = 0
    while tried < 500:
        expression = " ".join(_field(pick, place) for place in range(5))
        with contextlib.suppress(ScheduleError):  # 31 November, and the like
            recurrence = Recurrence.parse(expression)
            shown = datetime(2024, 1, 1) + timedelta(minutes=pick.randrange(2_000_000))  # noqa: DTZ001 - what clocks show
            tick = recurrence.next(shown.replace(tzinfo=UTC), ANCHOR)
            assert tick == following(expression, shown).replace(tzinfo=UTC), expression
            tried += 1


def test_threads_may_share_a_recurrence() -> None:
    recurrence = Recurrence.parse("* * * * *")
    starts = [ANCHOR + timedelta(days=day) for day in range(2000)]
    expected = [start + timedelta(seconds=53) for start in starts]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda start: recurrence.next(start, ANCHOR), starts))
    finally:
        sys.setswitchinterval(interval)

    assert found == expected


@pytest.mark.parametrize(
    ("expression", "fixed"),
    [
        ("30 2 * * *", True),
        ("0,30 1-3 * * *", True),
        ("0 8 */2 * *", True),
        ("@daily", True),
        ("0 * * * *", False),
        ("0 0-23 * * *", False),
        ("0-59 2 * * *", False),
        ("*/15 2 * * *", False),
        ("0-30/10 2 * * *", False),
        ("0 8-18/2 * * *", False),
        ("@hourly", False),
        ("@every 1d", False),
    ],
)
def test_what_goes_by_the_clock(expression: str, fixed: bool) -> None:
    assert Recurrence.parse(expression).wall_clock is fixed


@pytest.mark.parametrize(
    ("tick", "said"),
    [
        ("2027-03-28T00:30Z", None),
        ("2027-03-28T01:00Z", "clocks go from 02:00 to 03:00"),
        ("2027-03-28T01:01Z", None),
        ("2026-10-25T00:00Z", "first of two"),
        ("2026-10-25T00:59Z", "first of two"),
        ("2026-10-25T01:00Z", "second of two"),
        ("2026-10-25T01:59Z", "second of two"),
        ("2026-10-25T02:00Z", None),
    ],
)
def test_a_change_of_clocks_is_told(tick: str, said: str | None) -> None:
    assert transition(datetime.fromisoformat(tick), "Europe/Berlin") == said


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("30 2 * * *", "moved: 02:30 does not exist"),
        ("15,45 2 * * *", "moved: 02:15 does not exist"),
        ("0 3 * * *", "clocks go from 02:00 to 03:00"),
        ("0 * * * *", "clocks go from 02:00 to 03:00"),
        ("@every 1h", "clocks go from 02:00 to 03:00"),
    ],
)
def test_a_tick_that_was_moved_says_so(expression: str, said: str) -> None:
    recurrence = Recurrence.parse(expression, "Europe/Berlin")
    change = datetime(2027, 3, 28, 1, tzinfo=UTC)

    tick = recurrence.next(change - timedelta(seconds=1), anchor=change)

    assert tick == change
    assert recurrence.transition(change) == said
    assert recurrence.transition(change + timedelta(hours=5)) is None


@pytest.mark.parametrize(
    ("expression", "seconds", "words"),
    [
        ("0 8 * * mon-fri", None, "at 08:00, Monday to Friday, Europe/Berlin"),
        ("0 8,20 * * *", None, "at 08:00 and 20:00, Europe/Berlin"),
        ("0,30 8,9 * * *", None, "at 08:00, 08:30, 09:00 and 09:30, Europe/Berlin"),
        ("30 0 8 * * *", "first", "at 08:00:30, Europe/Berlin"),
        ("* * * * *", None, "every minute, Europe/Berlin"),
        ("*/15 9-17 * * *", None, "every 15 minutes, 09:00 to 17:59, Europe/Berlin"),
        ("*/7 * * * *", None, "at minute */7, every hour, Europe/Berlin"),
        ("5,35 * * * *", None, "at minute 5 and 35, every hour, Europe/Berlin"),
        ("5 9,11,13,15,17 * * *", None, "at minute 5, in hour 9,11,13,15,17, Europe/Berlin"),
        ("0 * * * *", None, "every hour, Europe/Berlin"),
        ("0 8-18 * * *", None, "every hour, 08:00 to 18:59, Europe/Berlin"),
        ("0 */2 * * *", None, "every 2 hours, Europe/Berlin"),
        ("* * * * * *", "first", "every second, Europe/Berlin"),
        ("*/10 * 8 * * *", "first", "every 10 seconds, 08:00 to 08:59, Europe/Berlin"),
        ("5 */5 * * * *", "first", "at second 5, every 5 minutes, Europe/Berlin"),
        ("0 0 1,15 * *", None, "at 00:00, day 1 and 15 of the month, Europe/Berlin"),
        ("0 0 L * *", None, "at 00:00, the last day of the month, Europe/Berlin"),
        ("0 0 15,L * *", None, "at 00:00, day 15 and the last day of the month, Europe/Berlin"),
        ("0 0 1-10/2 * *", None, "at 00:00, day 1-10/2 of the month, Europe/Berlin"),
        ("0 0 13 * 5", None, "at 00:00, day 13 of the month or Friday, Europe/Berlin"),
        ("0 0 */2 * 1", None, "at 00:00, day */2 of the month and Monday, Europe/Berlin"),
        ("0 0 * * fri-mon", None, "at 00:00, Monday and Friday to Sunday, Europe/Berlin"),
        ("0 9 * * mon#2,friL", None, "at 09:00, the second Monday and the last Friday of the month, Europe/Berlin"),
        ("0 9 * * 0#1", None, "at 09:00, the first Sunday of the month, Europe/Berlin"),
        ("0 9 1 1-3,dec *", None, "at 09:00, day 1 of the month, in January to March and December, Europe/Berlin"),
        ("@every 30s", None, "every 30 s"),
        ("@every 1.5s", None, "every 1.5 s"),
        ("@every 90m", None, "every 1 h 30 m"),
    ],
)
def test_words(expression: str, seconds: Seconds | None, words: str) -> None:
    assert Recurrence.parse(expression, "Europe/Berlin", seconds).words() == words
