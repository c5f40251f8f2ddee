"""Rates as people write them."""

from __future__ import annotations

import pytest

from pgtask.model.rate import MAX_STARTS, Rate


@pytest.mark.parametrize(
    ("text", "limit", "period", "burst", "written"),
    [
        ("100/min", 100, 60.0, 1, "100/min"),
        ("100/m", 100, 60.0, 1, "100/min"),
        ("5/10s", 5, 10.0, 1, "5/10s"),
        (" 1000 / h ", 1000, 3600.0, 1, "1000/h"),
        ("50/s", 50, 1.0, 50, "50/s"),
        ("50/1s", 50, 1.0, 50, "50/s"),
        ("25/10s", 25, 10.0, 2, "25/10s"),
        ("3/day", 3, 86400.0, 1, "3/day"),
        ("3/7d", 3, 604800.0, 1, "3/7d"),
        ("9/1m30s", 9, 90.0, 1, "9/90s"),
        ("9/5m", 9, 300.0, 1, "9/5min"),
        ("2/100ms", 2, 0.1, 20, "2/0.1s"),
        ("1/1.5h", 1, 5400.0, 1, "1/90min"),
        (f"{MAX_STARTS}/1ms", MAX_STARTS, 0.001, MAX_STARTS, f"{MAX_STARTS}/0.001s"),
    ],
)
def test_a_rate_is_read_and_written(text: str, limit: int, period: float, burst: int, written: str) -> None:
    rate = Rate.parse(text)
    assert rate == Rate(limit, period, burst)
    assert str(rate) == written
    assert Rate.parse(written) == rate


def test_a_burst_of_its_own() -> None:
    assert Rate.parse("100/min", burst=30) == Rate(100, 60.0, 30)


@pytest.mark.parametrize(
    "text",
    ["", "100", "/min", "100/", "0/s", "-1/s", "1.5/s", "100/0s", "100/60", "100/fortnight", "100/inf", "100 per min",
     "100/min/s", f"{MAX_STARTS + 1}/s", "1" * 5000 + "/s", "1/2000000000s", None, 100],
)  # fmt: skip
def test_what_is_no_rate_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"write 100/min, 5/10s or 1000/h$|it has 1 to 2147483647 starts$"):
        Rate.parse(text)


@pytest.mark.parametrize("burst", [0, -1, 1.5, True, MAX_STARTS + 1])
def test_what_is_no_burst_is_refused(burst: int) -> None:
    with pytest.raises(ValueError, match=r"give a whole number from 1 on$"):
        Rate.parse("100/min", burst=burst)
