"""What a notification says. Any role may send one, so everything that is not understood is a mere wake-up."""

from __future__ import annotations

from typing import Any

import pytest

from pgtask.database.notifications import parse

WAKE = {"wake": True}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("enqueued", WAKE),
        ("queues", {"queues": True}),
        ("schedules", {"schedules": True}),
        ('{"cancel": 1, "attempt": 2, "worker": 3}', {"cancel": 1, "attempt": 2, "worker": 3}),
        ('{"rewind": "q", "priority": -1, "at": 12.5}', {"rewind": "q", "priority": -1, "at": 12.5}),
        ('{"rewind": "q", "priority": 1, "at": 0, "more": 1}', {"rewind": "q", "priority": 1, "at": 0}),
        ('{"stop": 7}', {"stop": 7}),
    ],
)
def test_what_is_understood(payload: str, message: dict[str, Any]) -> None:
    assert parse(payload) == message


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "{",
        "null",
        "[]",
        "7",
        "{}",
        "[" * 7999,
        "9" * 5000,
        '{"cancel": 1}',
        '{"cancel": "1", "attempt": 2, "worker": 3}',
        '{"cancel": null, "attempt": 2, "worker": 3}',
        '{"stop": "all"}',
        '{"rewind": 1, "priority": 1, "at": 1}',
        '{"rewind": "q", "priority": 1, "at": NaN}',
        '{"rewind": "q", "priority": 1, "at": Infinity}',
        '{"rewind": "q", "priority": 1, "at": -1}',
        '{"rewind": "q", "priority": 1, "at": 1e12}',
        '{"rewind": "q", "priority": 1}',
    ],
)
def test_what_is_not(payload: str) -> None:
    assert parse(payload) == WAKE
