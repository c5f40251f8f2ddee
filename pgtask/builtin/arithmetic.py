"""math: one operation on two numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Literal

from pgtask.model.verdict import Discard

Operation = Literal["add", "subtract", "multiply", "divide", "power"]
_OPERATIONS: dict[str, Callable[[float, float], float]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "power": operator.pow,
}
_LARGEST_POWER = 10_000


def math(operation: Operation, a: float, b: float) -> dict[str, float]:
    """`a` and `b` added, subtracted, multiplied, divided, or `a` to the power of `b`."""
    if operation not in _OPERATIONS:
        raise Discard(f"unknown operation {operation!r}: use {', '.join(_OPERATIONS)}")
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in (a, b)):
        raise Discard(f"a and b must be numbers, not {a!r} and {b!r}")
    if operation == "divide" and b == 0:
        raise Discard("division by zero")
    if operation == "power":
        _check_power(a, b)
    return {"value": _OPERATIONS[operation](a, b)}


def _check_power(a: float, b: float) -> None:
    if abs(b) > _LARGEST_POWER or (isinstance(a, int) and a.bit_length() * abs(b) > _LARGEST_POWER):
        raise Discard(f"{a} to the power of {b} is too large")
    if a == 0 and b < 0:
        raise Discard("zero has no negative power")
    if a < 0 and not float(b).is_integer():
        raise Discard("a negative number has no real power with a fraction")
