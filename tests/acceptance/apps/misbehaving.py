"""Handlers that end in every bad way there is, each as a plain function and as a coroutine."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from pgtask import PgTask
from tests.acceptance.apps.basic import note


class Own(BaseException):
    """A BaseException of the application's own."""


class UnspeakableError(Exception):
    """Cannot be turned into text."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Treacherous(dict[str, Any]):
    """A result that misbehaves while it is encoded."""

    def items(self) -> Any:
        raise SystemExit("from items()")


def iter_nothing() -> Iterator[int]:
    yield from ()


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


def endless() -> None:
    endless()


def throw(error: BaseException) -> None:
    raise error


def chain() -> None:
    """Thousands of errors, each raised while the one before was handled."""
    error: Exception | None = None
    for n in range(3000):
        following = ValueError(f"link {n}")
        following.__cause__ = error
        error = following
    assert error is not None
    raise error


WAYS: dict[str, Callable[[], Any]] = {
    "SystemExit": lambda: sys.exit(3),
    "SystemExit without a code": sys.exit,
    "KeyboardInterrupt": lambda: throw(KeyboardInterrupt()),
    "GeneratorExit": lambda: throw(GeneratorExit()),
    "StopIteration": lambda: throw(StopIteration(7)),
    "CancelledError": lambda: throw(asyncio.CancelledError()),
    "its own BaseException": lambda: throw(Own("mine")),
    "a group": lambda: throw(BaseExceptionGroup("several", [ValueError("one"), KeyboardInterrupt("two")])),
    "an unspeakable error": lambda: throw(UnspeakableError()),
    "an error with U+0000": lambda: throw(ValueError("a\0b")),
    "an error with a lone surrogate": lambda: throw(ValueError("a\ud800b")),
    "a long error": lambda: throw(ValueError("x" * 10_000_000)),
    "a long chain": chain,
    "endless recursion": endless,
    "memory": lambda: bytearray(1 << 60),
    "a set": lambda: {1, 2},
    "bytes": lambda: b"x",
    "an object": object,
    "a generator": iter_nothing,
    "NaN": lambda: float("nan"),
    "a circle": circular,
    "a deep value": deep,
    "U+0000": lambda: {"text": "a\0b"},
    "a key with U+0000": lambda: {"a\0b": 1},
    "a lone surrogate": lambda: ["a\ud800b"],
    "2 MiB": lambda: "x" * (2 << 20),
    "a huge number": lambda: 10**5000,
    "treachery": lambda: Treacherous(a=1),
}

tasks = PgTask()


@tasks.task(name="misbehave", max_retries=0)
def misbehave(way: str) -> Any:
    note()
    return WAYS[way]()


@tasks.task(name="misbehave_async", max_retries=0)
async def misbehave_async(way: str) -> Any:
    note()
    await asyncio.sleep(0)
    return WAYS[way]()


@tasks.task(name="good", max_retries=0)
def good(n: int) -> int:
    note()
    return n


@tasks.task(name="good_async", max_retries=0)
async def good_async(n: int) -> int:
    note()
    await asyncio.sleep(0.001)
    return n


@tasks.task(name="child_exits", max_retries=0)
async def child_exits() -> None:
    """asyncio lets a SystemExit of a task that the handler started out of the loop."""

    async def child() -> None:
        sys.exit(3)

    note()
    await asyncio.gather(child())


@tasks.task(name="stops_the_loop", max_retries=0)
async def stops_the_loop() -> str:
    note()
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)
    return "still here"


@tasks.task(name="leaves_a_thread_that_fails", max_retries=0)
def leaves_a_thread_that_fails() -> str:
    note()
    thread = threading.Thread(target=lambda: throw(ValueError("in a thread of the handler's own")))
    thread.start()
    thread.join()
    return "done"
