"""The places where jobs run, without a database: what goes in comes out, ended, whatever is asked of it meanwhile."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from pgtask import JobCancelled, JobTimeout, PgTask
from pgtask.engine.attempt import Attempt
from pgtask.engine.handler import Handlers
from pgtask.engine.marks import Marks
from pgtask.engine.slots import Slots
from pgtask.engine.threads import Slot, _raise_in_thread
from tests.support import eventually

CAPACITY = 1000


class Bench:
    """Slots with the tasks of an application, and what has come out of them."""

    def __init__(self, app: PgTask, count: int) -> None:
        descriptor, self.marks = Marks.create(CAPACITY)
        os.close(descriptor)
        self.ended: SimpleQueue[Attempt] = SimpleQueue()
        handlers = Handlers(app.tasks, lambda *_: None, lambda *_: None)
        self.slots = Slots(app.tasks, handlers, self.marks, count, self.ended.put, lambda: None)
        self._ids = iter(range(1, 1_000_000))

    def submit(self, task: str, count: int = 1, timeout: float | None = None, **payload: Any) -> list[Attempt]:
        """Hands in attempts."""
        attempts = []
        for _ in range(count):
            attempt = Attempt(next(self._ids), 1, task, "q", 1, payload, timeout, 0, time.monotonic())
            attempt.mark = self.marks.hold(*attempt.key)
            attempts.append(attempt)
        self.slots.submit(attempts)
        return attempts

    def take(self, count: int) -> list[Attempt]:
        """Waits for so many ended attempts."""
        return [self.ended.get(timeout=10) for _ in range(count)]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    opened = threading.Event()
    yield opened
    opened.set()


@pytest.fixture
def app(gate: threading.Event) -> PgTask:
    app = PgTask()

    @app.task(name="quick")
    def quick() -> int:
        return 1

    @app.task(name="hold")
    def hold() -> None:
        while not gate.is_set():
            time.sleep(0.001)

    @app.task(name="quick_async")
    async def quick_async() -> int:
        return 1

    @app.task(name="hold_async")
    async def hold_async() -> None:
        for _ in range(10_000):
            if gate.is_set():
                return
            await asyncio.sleep(0.001)

    return app


def only(app: PgTask, *names: str) -> PgTask:
    """The application with some of its tasks alone."""
    app.tasks = {name: task for name, task in app.tasks.items() if name in names}
    return app


@pytest.mark.parametrize("names", [("quick",), ("quick_async",), ("quick", "quick_async")])
@pytest.mark.parametrize("count", [1, 2, 10])
def test_everything_that_goes_in_comes_out(names: tuple[str, ...], count: int, app: PgTask) -> None:
    bench = Bench(only(app, *names), count)

    handed_in = [attempt for name in names * 5 for attempt in bench.submit(name, 40)]

    assert {attempt.id for attempt in bench.take(len(handed_in))} == {attempt.id for attempt in handed_in}
    assert {(attempt.outcome, attempt.result) for attempt in handed_in} == {("completed", "1")}
    assert bench.slots.unfinished == 0
    assert all(attempt.started_at is not None and attempt.started_at <= attempt.ended_at for attempt in handed_in)


@pytest.mark.parametrize("name", ["hold", "hold_async"])
@pytest.mark.parametrize("mixed", [True, False])
def test_what_has_not_begun_can_be_withdrawn(name: str, mixed: bool, app: PgTask, gate: threading.Event) -> None:
    bench = Bench(app if mixed else only(app, name), 2)
    handed_in = bench.submit(name, 10)
    eventually(lambda: len(bench.slots.running()) == 2)

    taken = bench.slots.withdraw()
    for attempt in taken:
        bench.slots.forget(attempt)

    # One may be on its way from the queue to a slot.
    assert len(taken) in (7, 8)
    assert [attempt.id for attempt in taken] == [attempt.id for attempt in handed_in[-len(taken) :]]
    gate.set()
    assert {attempt.id for attempt in bench.take(10 - len(taken))} == {
        attempt.id for attempt in handed_in[: 10 - len(taken)]
    }
    assert bench.slots.unfinished == 0


@pytest.mark.parametrize("name", ["hold", "hold_async"])
def test_a_withdrawn_attempt_can_be_handed_in_again(name: str, app: PgTask, gate: threading.Event) -> None:
    bench = Bench(app, 1)
    handed_in = bench.submit(name, 5)
    eventually(bench.slots.running)

    bench.slots.submit(bench.slots.withdraw(), again=True)
    gate.set()

    assert [attempt.id for attempt in bench.take(5)] == [attempt.id for attempt in handed_in]


def test_the_marks_tell_what_has_started(app: PgTask, gate: threading.Event) -> None:
    bench = Bench(only(app, "hold"), 2)
    handed_in = bench.submit("hold", 5)
    eventually(lambda: len(bench.slots.running()) == 2)

    started = {mark.id for mark in bench.marks.read() if mark.started}

    assert started == {attempt.id for attempt in handed_in[:2]}
    assert len(bench.marks.read()) == 5


@pytest.mark.parametrize("name", ["hold", "hold_async"])
def test_an_attempt_cancelled_while_it_waits_does_not_begin(name: str, app: PgTask, gate: threading.Event) -> None:
    bench = Bench(app, 1)
    _, waiting = bench.submit(name, 2)
    eventually(bench.slots.running)

    bench.slots.cancel(*waiting.key)
    gate.set()
    bench.take(2)

    assert (waiting.outcome, waiting.final, waiting.started_at) == ("cancelled", True, None)


def test_an_attempt_cancelled_between_its_task_and_its_first_step_ends(app: PgTask) -> None:
    """asyncio would throw such a task away without running a line of it."""
    bench = Bench(only(app, "quick_async"), 1)
    events = bench.slots.loop
    assert events is not None
    busy, go_on = threading.Event(), threading.Event()

    def occupy() -> None:
        busy.set()
        go_on.wait(10)

    def starting() -> bool:
        waiting = list(events._loop._ready)  # type: ignore[attr-defined]
        return any(handle._callback == events._fill for handle in waiting)

    for _ in range(20):
        busy.clear()
        go_on.clear()
        events._loop.call_soon_threadsafe(occupy)
        busy.wait(10)
        # While the loop is busy, the start and the request to stop come to lie in its queue, one after the other.
        (attempt,) = bench.submit("quick_async")
        eventually(starting)
        bench.slots.cancel(*attempt.key)
        go_on.set()

        assert bench.take(1) == [attempt]
        assert attempt.outcome == "cancelled"


def test_nothing_is_raised_in_a_slot_on_account_of_an_attempt_that_it_has_left() -> None:
    slot = Slot()
    attempt = Attempt(1, 1, "t", "q", 1, {}, None, 0, 0.0)

    def interrupt_and_leave() -> None:
        slot.attempt = attempt
        interrupted = threading.Thread(target=lambda: slot.interrupt(attempt, JobTimeout))
        interrupted.start()
        interrupted.join()

    for _ in range(200):
        try:
            interrupt_and_leave()
        except JobTimeout:
            pass
        finally:
            slot.leave()
        sum(range(50))  # here it would be raised

    assert not slot.interrupt(attempt, JobCancelled)


def test_what_is_raised_while_a_slot_is_being_left_is_taken_back() -> None:
    slots: SimpleQueue[Slot] = SimpleQueue()
    outcome: SimpleQueue[BaseException | None] = SimpleQueue()
    go_on = threading.Event()

    def leave() -> None:
        slots.put(slot := Slot())
        go_on.wait(10)
        try:
            slot.leave()
            sum(range(50))  # here it would be raised
        except JobTimeout as error:
            outcome.put(error)
        else:
            outcome.put(None)

    thread = threading.Thread(target=leave)
    thread.start()
    slot = slots.get()
    seen: list[tuple[str, int]] = []

    def waiting_for_the_lock() -> bool:
        frame = sys._current_frames()[slot.identity]
        seen.append((frame.f_code.co_qualname, frame.f_lasti))
        return seen[-1][0] == "Slot.leave" and seen[-1:] * 3 == seen[-3:]

    with slot.lock:
        go_on.set()
        eventually(waiting_for_the_lock)
        # What interrupt() does, which has come first to the lock.
        slot.interrupted = True
        _raise_in_thread(slot.identity, ctypes.py_object(JobTimeout))
    thread.join()

    assert outcome.get() is None


def test_an_attempt_is_interrupted_once() -> None:
    slot = Slot()
    attempt = Attempt(1, 1, "t", "q", 1, {}, None, 0, 0.0)
    slot.attempt = attempt
    caught: list[type[BaseException]] = []

    def interrupt(error: type[JobTimeout | JobCancelled]) -> bool:
        answers: list[bool] = []
        thread = threading.Thread(target=lambda: answers.append(slot.interrupt(attempt, error)))
        try:
            thread.start()
            thread.join()
        except (JobTimeout, JobCancelled) as raised:
            caught.append(type(raised))
            thread.join()
        return answers[0]

    assert interrupt(JobTimeout)
    assert interrupt(JobCancelled)
    sum(range(50))
    slot.leave()

    assert caught == [JobTimeout]


def test_timeouts_that_come_just_as_handlers_end_hit_no_other(app: PgTask) -> None:
    """Attempts of a hair's breadth around their timeout, while the slots are looked at all the time."""

    @app.task(name="brief")
    def brief(seconds: float) -> str:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass
        return "done"

    bench = Bench(only(app, "brief", "quick"), 4)
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            bench.slots.threads.stop_overdue()

    watcher = threading.Thread(target=watch)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    watcher.start()
    try:
        brief_ones = [
            attempt
            for n in range(300)
            for attempt in bench.submit("brief", timeout=0.002, seconds=0.0015 + n % 10 / 10_000)
        ]
        quick_ones = bench.submit("quick", 300)
        bench.take(600)
    finally:
        stop.set()
        watcher.join()
        sys.setswitchinterval(interval)

    assert {attempt.outcome for attempt in quick_ones} == {"completed"}
    assert {attempt.outcome for attempt in brief_ones} <= {"completed", "timeout"}
    assert all((attempt.result == '"done"') is (attempt.outcome == "completed") for attempt in brief_ones)


KINDS = [("hold",), ("hold_async",), ("hold", "hold_async")]


@pytest.mark.parametrize("names", KINDS)
def test_more_slots_begin_more_attempts_at_once(names: tuple[str, ...], app: PgTask, gate: threading.Event) -> None:
    bench = Bench(only(app, *names), 2)
    handed_in = [attempt for name in names for attempt in bench.submit(name, 12 // len(names))]
    eventually(lambda: len(bench.slots.running()) == 2)

    bench.slots.resize(9)

    eventually(lambda: len(bench.slots.running()) == 9)
    assert sum(mark.running for mark in bench.marks.read()) == 9
    gate.set()
    assert {attempt.id for attempt in bench.take(12)} == {attempt.id for attempt in handed_in}


@pytest.mark.parametrize("withdrawn", [False, True])
@pytest.mark.parametrize("names", KINDS)
def test_fewer_slots_interrupt_nothing_and_begin_nothing(
    names: tuple[str, ...], withdrawn: bool, app: PgTask, gate: threading.Event
) -> None:
    """Six run when three are to: what ends is followed by nothing until they are two, then by one at a time."""
    later = threading.Event()

    @app.task(name="later")
    def hold_later() -> None:
        later.wait(10)

    @app.task(name="later_async")
    async def hold_later_async() -> None:
        while not later.is_set():  # noqa: ASYNC110 - the same event for both kinds
            await asyncio.sleep(0.001)

    seconds = tuple(name.replace("hold", "later") for name in names)
    bench = Bench(only(app, *names, *seconds), 6)
    first = [attempt for name in names for attempt in bench.submit(name, 6 // len(names))]
    eventually(lambda: len(bench.slots.running()) == 6)

    second = [attempt for name in seconds for attempt in bench.submit(name, 12 // len(names))]
    bench.slots.resize(3)
    if withdrawn:
        bench.slots.submit(bench.slots.withdraw(), again=True)
    assert set(bench.slots.running()) == set(first), "those that run go on"
    assert not bench.slots.idle()
    gate.set()

    assert set(bench.take(6)) == set(first)
    assert {attempt.outcome for attempt in first} == {"completed"}
    eventually(lambda: sum(mark.running for mark in bench.marks.read()) == 3)
    assert all(attempt.started_at is None for attempt in second if attempt not in bench.slots.running())
    later.set()
    assert set(bench.take(12)) == set(second)
    eventually(bench.slots.idle)
    assert bench.slots.unfinished == 0


@pytest.mark.parametrize("names", [("quick",), ("quick_async",), ("quick", "quick_async")])
def test_nothing_is_lost_while_the_slots_change_all_the_time(names: tuple[str, ...], app: PgTask) -> None:
    bench = Bench(only(app, *names), 5)
    taken: list[Attempt] = []
    handed_in: list[Attempt] = []

    for count in [1, 20, 3, 3, 50, 2, 7, 1, 30, 4] * 3:
        handed_in += [attempt for name in names for attempt in bench.submit(name, 10)]
        bench.slots.resize(count)
        bench.slots.submit(bench.slots.withdraw(), again=True)
    taken = bench.take(len(handed_in))

    assert sorted(attempt.id for attempt in taken) == [attempt.id for attempt in handed_in]
    assert {attempt.outcome for attempt in taken} == {"completed"}
    eventually(bench.slots.idle)


def test_threads_that_are_too_many_end(app: PgTask, gate: threading.Event) -> None:
    def threads() -> int:
        return sum(thread.name.startswith("pgtask-slot-") for thread in threading.enumerate())

    before = threads()
    bench = Bench(only(app, "hold"), 8)
    bench.submit("hold", 8)
    eventually(lambda: len(bench.slots.running()) == 8)
    bench.slots.resize(2)
    assert bench.slots.idle(), "no attempt waits for a slot"
    gate.set()
    bench.take(8)

    eventually(lambda: threads() == before + 2)
    # Those that were dismissed can be kept after all.
    gate.clear()
    bench.submit("hold", 2)
    eventually(lambda: len(bench.slots.running()) == 2)
    bench.slots.resize(1)
    bench.slots.resize(2)
    gate.set()
    bench.take(2)
    bench.submit("hold", 4)
    bench.take(4)
    assert threads() == before + 2
