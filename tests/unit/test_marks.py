"""The table of jobs in hand, as its executor writes it and its supervisor reads it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pgtask.engine.marks import HELD, RUNNING, Mark, Marks


@pytest.fixture
def tables() -> Iterator[tuple[Marks, Marks]]:
    """The two ends of one table."""
    descriptor, supervisor = Marks.create(4)
    executor = Marks(descriptor, 4)
    os.close(descriptor)
    yield executor, supervisor
    executor.close()
    supervisor.close()


def test_the_supervisor_sees_what_is_held_and_what_has_started(tables: tuple[Marks, Marks]) -> None:
    executor, supervisor = tables
    assert supervisor.read() == []

    first = executor.hold(2**62, 2**31 - 1)
    second = executor.hold(7, 1, 3.0)
    executor.start(second, 12.5)

    waiting, running = Mark(2**62, 2**31 - 1, HELD, 0.0, 0.0), Mark(7, 1, RUNNING, 12.5, 3.0)
    assert sorted(supervisor.read()) == [running, waiting]
    assert (running.started, running.running, waiting.started, waiting.running) == (True, True, False, False)
    executor.release(first)
    executor.end(second)
    (ended,) = supervisor.read()
    assert (ended.started, ended.running) == (True, False)
    executor.release(second)
    assert supervisor.read() == []


def test_entries_are_used_again(tables: tuple[Marks, Marks]) -> None:
    executor, supervisor = tables
    for round_ in range(10):
        entries = [executor.hold(id, round_) for id in range(4)]
        assert executor.room == 0
        assert len(set(entries)) == 4
        assert sorted(supervisor.read()) == [Mark(id, round_, HELD, 0.0, 0.0) for id in range(4)]
        for entry in entries:
            executor.release(entry)
        assert executor.room == 4


def test_an_entry_used_again_has_not_started(tables: tuple[Marks, Marks]) -> None:
    executor, supervisor = tables
    entry = executor.hold(1, 1)
    executor.start(entry, 1.0)
    executor.release(entry)

    executor.hold(2, 1)

    assert supervisor.read() == [Mark(2, 1, HELD, 0.0, 0.0)]
