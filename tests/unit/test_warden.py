"""What the warden ends by force, and what it leaves alone."""

from __future__ import annotations

import time
from typing import cast

import pytest

from pgtask.engine.burial import Key
from pgtask.engine.marks import ENDED, HELD, RUNNING, Mark
from pgtask.engine.process import ExecutorProcess
from pgtask.engine.warden import Warden
from tests.support import eventually


class Executor:
    """What the warden sees of an executor: its marks and its sentences."""

    number = 1

    def __init__(self, *marks: Mark, alone: bool) -> None:
        self.marks = list(marks)
        self.alone = alone
        self.sentences: dict[Key, str] = {}
        self.kill_at = float("inf")

    def held(self) -> list[Mark]:
        return self.marks

    def condemn(self, sentences: dict[Key, str], grace: float) -> None:
        self.sentences |= sentences
        self.kill_at = min(self.kill_at, time.monotonic() + grace)


def inspect(warden: Warden, executor: Executor) -> bool:
    return warden.inspect(cast("ExecutorProcess", executor))


def mark(id: int, state: int = RUNNING, ran: float = 0.0, timeout: float = 0.0) -> Mark:
    return Mark(id, 1, state, time.monotonic() - ran, timeout)


@pytest.mark.parametrize("alone", [True, False])
def test_who_overruns_timeout_and_patience_is_ended_and_nobody_else(alone: bool) -> None:
    warden = Warden(kill_after=60.0, grace=600.0)
    overrun = mark(1, ran=3700, timeout=3600)
    executor = Executor(
        overrun,
        mark(2, ran=3650, timeout=3600),
        mark(3, ran=1e6),
        mark(4, HELD, ran=1e6, timeout=1),
        mark(5, ENDED, ran=1e6, timeout=1),
        alone=alone,
    )

    assert inspect(warden, executor)

    assert executor.sentences == {(1, 1): "timeout"}
    grace = executor.kill_at - time.monotonic()
    assert 0 < grace < 60 if alone else 60 < grace <= 600


def test_an_executor_is_ended_early_once_only_those_are_left_that_will_not_stop() -> None:
    warden = Warden(kill_after=1.0, grace=600.0)
    stubborn, neighbour = mark(1, ran=100, timeout=1), mark(2)
    executor = Executor(stubborn, neighbour, alone=False)
    inspect(warden, executor)
    assert executor.kill_at > time.monotonic()

    executor.marks = [stubborn]

    assert inspect(warden, executor)
    assert executor.kill_at < time.monotonic()


def test_a_cancel_request_is_enforced_only_where_the_job_is_alone() -> None:
    warden = Warden(kill_after=0.0, grace=600.0)
    alone, shared = Executor(mark(1), alone=True), Executor(mark(2), alone=False)
    warden.cancel_asked((2, 1))
    warden.cancel_asked((1, 1))

    assert eventually(lambda: inspect(warden, alone))

    assert alone.sentences == {(1, 1): "cancelled"}
    assert not inspect(warden, shared)
    assert shared.sentences == {}


def test_a_request_that_is_repeated_gains_no_time_and_none_holds_for_another_attempt() -> None:
    warden = Warden(kill_after=0.0, grace=600.0)
    repeated, later = Executor(mark(1), alone=True), Executor(Mark(2, 2, RUNNING, 0.0, 0.0), alone=True)
    warden.cancel_asked((1, 1))
    warden.cancel_asked((2, 1))

    def ended() -> bool:
        warden.cancel_asked((1, 1))
        return inspect(warden, repeated)

    assert eventually(ended)
    assert not inspect(warden, later)
