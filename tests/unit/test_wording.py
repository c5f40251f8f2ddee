from __future__ import annotations

import pytest

from pgtask.model.wording import DASH, duration, plural, share, size


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.0000001, "0 s"),
        (0.000087, "87 µs"),
        (0.0009996, "1 ms"),
        (0.34, "340 ms"),
        (0.9996, "1 s"),
        (1.44, "1.4 s"),
        (9.96, "10 s"),
        (59.7, "1 m"),
        (200, "3 m 20 s"),
        (7800, "2 h 10 m"),
        (7200, "2 h"),
        (7201, "2 h"),
        (90061, "1 d 1 h"),
        (864000, "1 w 3 d"),
    ],
)
def test_lengths_of_time(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_lengths_of_time_in_one_unit() -> None:
    assert duration(7800, parts=1) == "2 h"


def test_numbers_with_nouns() -> None:
    assert plural(0, "job") == "0 jobs"
    assert plural(1, "job") == "1 job"
    assert plural(1284, "job") == "1,284 jobs"
    assert plural(10_000, "job", exact=False) == "10,000+ jobs"


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (812, "812 B"), (1500, "1.5 kB"), (45_400_000, "45 MB"), (3 * 10**12, "3000 GB")],
)
def test_sizes(count: int, said: str) -> None:
    assert size(count) == said


@pytest.mark.parametrize(
    ("part", "said"),
    [(None, DASH), (0, "0 %"), (0.00001, "<0.01 %"), (0.0036, "0.36 %"), (0.05, "5.0 %"), (1, "100 %")],
)
def test_shares(part: float | None, said: str) -> None:
    assert share(part) == said
