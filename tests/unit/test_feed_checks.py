from __future__ import annotations

import pytest

from pgtask.model.diagnosis import Verdict
from pgtask.model.feed_checks import BEHIND, HELD, FeedFact, check_feed


@pytest.mark.parametrize(
    ("kind", "age", "found"),
    [
        ("transaction", HELD - 1, None),
        ("transaction", HELD + 1, "a transaction of it that writes is open for 1 m; events wait for its end"),
        ("prepared", HELD + 1, "a transaction of it that writes is open for 1 m; events wait for its end"),
        ("consumer", BEHIND - 1, None),
        ("consumer", BEHIND + 1, "consumer it is 1 h behind"),
        ("interrupted", 0.0, "consumer it has lost events"),
        ("webhook", None, None),
        ("webhook", BEHIND + 1, "webhook it is 1 h behind"),
        ("paused", 7200.0, "webhook it was paused 2 h ago, as it failed"),
    ],
)
def test_who_is_late_is_named(kind: str, age: float | None, found: str | None) -> None:
    [check] = check_feed([FeedFact(kind=kind, name="it", age=age)])

    assert (check.status, check.found) == (
        (Verdict.OK, "no transaction holds it back, and nobody is far behind")
        if found is None
        else (Verdict.WARNING, found)
    )
