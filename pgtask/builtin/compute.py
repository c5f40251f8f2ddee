"""compute: keeps a processor busy."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pgtask.model.verdict import Discard

_LIMITS = {"prime": 1_000_000, "fibonacci": 20_000, "sha256": 100_000_000}


def compute(operation: Literal["prime", "fibonacci", "sha256"], n: int) -> dict[str, Any]:
    """The n-th prime number, the n-th Fibonacci number, or SHA-256 applied n times to nothing."""
    if operation not in _LIMITS:
        raise Discard(f"unknown operation {operation!r}: use {', '.join(_LIMITS)}")
    if type(n) is not int or not 1 <= n <= _LIMITS[operation]:
        raise Discard(f"n is a whole number from 1 to {_LIMITS[operation]} for {operation}, not {n!r}")
    if operation == "prime":
        return {"operation": operation, "n": n, "value": _prime(n)}
    if operation == "fibonacci":
        return {"operation": operation, "n": n, "value": _fibonacci(n)}
    return {"operation": operation, "n": n, "value": _sha256(n)}


def _prime(n: int) -> int:
    # The n-th prime is below n(ln n + ln ln n) for n ≥ 6 (Rosser and Schoenfeld 1962), and that below n·log2(n).
    size = max(15, n * max(4, n.bit_length()))
    sieve = bytearray([1]) * size
    sieve[:2] = b"\0\0"
    for base in range(2, int(size**0.5) + 1):
        if sieve[base]:
            sieve[base * base :: base] = bytes(len(range(base * base, size, base)))
    position = -1
    for _ in range(n):
        position = sieve.index(1, position + 1)
    return position


def _fibonacci(n: int) -> int:
    previous, value = 0, 1
    for _ in range(n - 1):
        previous, value = value, previous + value
    return value


def _sha256(n: int) -> str:
    digest = b""
    for _ in range(n):
        digest = hashlib.sha256(digest).digest()
    return digest.hex()
