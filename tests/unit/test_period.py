from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from pgtask.model.period import PeriodKind, last_period


@pytest.mark.parametrize(
    ("kind", "at", "zone", "began", "ended", "hours"),
    [
        ("hourly", "2026-11-22T17:05:09Z", "UTC", "2026-11-22T16:00+00:00", "2026-11-22T17:00+00:00", 1),
        ("hourly", "2026-11-22T17:00:00Z", "UTC", "2026-11-22T16:00+00:00", "2026-11-22T17:00+00:00", 1),
        ("hourly", "2026-11-22T17:40:00Z", "Asia/Kolkata", "2026-11-22T22:00+05:30", "2026-11-22T23:00+05:30", 1),
        ("daily", "2026-11-22T17:05:09Z", "UTC", "2026-11-21T00:00+00:00", "2026-11-22T00:00+00:00", 24),
        ("daily", "2026-11-22T23:30:00Z", "Europe/Vienna", "2026-11-22T00:00+01:00", "2026-11-23T00:00+01:00", 24),
        ("daily", "2026-11-22T00:00:00+01:00", "Europe/Vienna", "2026-11-21T00:00+01:00", "2026-11-22T00:00+01:00", 24),
        ("weekly", "2026-11-22T17:05:09Z", "UTC", "2026-11-09T00:00+00:00", "2026-11-16T00:00+00:00", 168),
        ("weekly", "2026-11-23T00:00:00Z", "UTC", "2026-11-16T00:00+00:00", "2026-11-23T00:00+00:00", 168),
        # The clocks of Vienna change on 29 March and on 25 October 2026.
        ("daily", "2026-03-30T07:00:00Z", "Europe/Vienna", "2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00", 23),
        ("daily", "2026-10-26T07:00:00Z", "Europe/Vienna", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00", 25),
        ("weekly", "2026-10-26T07:00:00Z", "Europe/Vienna", "2026-10-19T00:00+02:00", "2026-10-26T00:00+01:00", 169),
        ("hourly", "2026-10-25T01:30:00Z", "Europe/Vienna", "2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", 1),
        ("hourly", "2026-10-25T02:30:00Z", "Europe/Vienna", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00", 1),
        ("hourly", "2026-03-29T01:30:00Z", "Europe/Vienna", "2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00", 1),
    ],
)
def test_the_last_full_period(kind: PeriodKind, at: str, zone: str, began: str, ended: str, hours: int) -> None:
    period = last_period(kind, datetime.fromisoformat(at), ZoneInfo(zone))
    assert period.began_at.isoformat(timespec="minutes") == began
    assert period.ended_at.isoformat(timespec="minutes") == ended
    assert period.seconds == hours * 3600
