"""JSON going into the database and coming out of it, with its dangers named.

Beyond JSON's own types these are written as strings: datetime, date and time (ISO 8601), UUID, Decimal, Enum members
as their value, and timedelta as seconds. Anything else is refused rather than guessed at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from pgtask.model.errors import PayloadError

MAX_RESULT_BYTES = 1024 * 1024


def encode(value: Any, what: str = "payload") -> str:
    """JSON text that PostgreSQL can store as jsonb.

    Raises PayloadError, naming `what` and the reason, for a type that has no rule, a number that is not finite, U+0000
    or lone surrogates in a text, keys that JSON cannot have, and nesting that is too deep or circular.
    """
    try:
        text = _encode(value)
    except PayloadError as error:
        raise PayloadError(f"The {what} cannot be stored: {error}") from None
    except RecursionError:
        raise PayloadError(f"The {what} cannot be stored: it is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise PayloadError(f"The {what} cannot be stored: {_explain(error)}") from None
    if "\\u" in text:
        _check_text(text, what)
    return text


def _default(value: Any) -> Any:
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (UUID, Decimal)):
        if isinstance(value, Decimal) and not value.is_finite():
            raise PayloadError(f"{value} is no finite number")
        return str(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Enum):
        return value.value
    raise PayloadError(
        f"{type(value).__module__}.{type(value).__qualname__} has no JSON form; pass plain data or a string"
    )


_ENCODER = json.JSONEncoder(default=_default, allow_nan=False, separators=(",", ":"), ensure_ascii=True)


def _encoding() -> Callable[[Any], str]:
    # JSONEncoder makes its machine anew for each value, which takes longer than to encode an ordinary payload. One kept
    # cannot tell which value it was that failed or contains itself, so that is left to a new one.
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return _ENCODER.encode
    machine = make(None, _default, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, False)

    def encode(value: Any) -> str:
        try:
            return "".join(machine(value, 0))
        except Exception:  # noqa: BLE001 - the second try says what is wrong
            return _ENCODER.encode(value)

    return encode


_encode = _encoding()


def _explain(error: Exception) -> str:
    text = str(error)
    if "Out of range float" in text:
        return "it holds NaN or an infinite number"
    if "Circular reference" in text:
        return "it contains itself"
    return text


def _check_text(text: str, what: str) -> None:
    # Escapes are rare, so the exact check (decode and look at the characters) is only made where one occurs.
    decoded = json.loads(text)
    if "\\u0000" in text and _any_text(decoded, lambda part: "\0" in part):
        raise PayloadError(f"The {what} cannot be stored: a text in it holds U+0000")
    if "\\ud" in text and _any_text(decoded, _has_surrogate):
        raise PayloadError(f"The {what} cannot be stored: a text in it holds a lone surrogate")


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)


def _any_text(value: Any, test: Any) -> bool:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            if test(item):
                return True
        elif isinstance(item, Mapping):
            pending.extend(item)
            pending.extend(item.values())
        elif isinstance(item, Sequence):
            pending.extend(item)
    return False


def encode_result(value: Any) -> str | None:
    """A handler's return value as JSON text, None for None.

    Raises PayloadError as `encode` does, and for a result over 1 MiB.
    """
    if value is None:
        return None
    text = encode(value, "result")
    if len(text) > MAX_RESULT_BYTES:
        raise PayloadError(
            f"The result cannot be stored: it has {len(text)} bytes of JSON; the limit is {MAX_RESULT_BYTES}. "
            "Store it elsewhere and return a reference."
        )
    return text


def decode_many(texts: list[str]) -> list[Any]:
    """The values of many JSON texts; a text that cannot be decoded yields the PayloadError instead.

    One parse of all together costs a tenth of one each; only when it fails is each looked at alone.
    """
    try:
        values: list[Any] = json.loads(f"[{','.join(texts)}]")
    except (ValueError, RecursionError):
        return [_decode(text) for text in texts]
    return values


def _decode(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        return PayloadError("The payload cannot be read: it is nested too deeply")
    except ValueError as error:
        return PayloadError(f"The payload cannot be read: {error}")


def clean_text(text: str, limit: int) -> str:
    """Text that PostgreSQL can store: no U+0000, no lone surrogates, at most `limit` characters (the middle is cut)."""
    if "\0" in text:
        text = text.replace("\0", "\N{SYMBOL FOR NULL}")
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half} characters cut …\n{text[-half:]}"
    return text
