"""A stretch of a list."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")


class Page(NamedTuple, Generic[Item]):
    """Some of a list in its order, and the cursor that leads to what follows, None at the end."""

    items: list[Item]
    next_cursor: str | None
