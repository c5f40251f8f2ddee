"""Lists by pages: where a page begins is told by the last item of the one before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pydantic import Field

from pgtask.model.serialise import page_as_json

from .inputs import Query

Item = TypeVar("Item")


class Paged(Query):
    """The query of a list."""

    limit: int = Field(50, ge=1, le=1000)
    """Items of a page, at most."""


def page(
    items: Iterable[Item],
    query: Paged,
    *,
    place: Callable[[Item], Any],
    after: Any,
    cursor: Callable[[Item], str],
    show: Callable[[Item], Any],
) -> dict[str, Any]:
    """The items in the order of their places, from behind the place `after` (None: the first)."""
    rest = sorted((item for item in items if after is None or place(item) > after), key=place)
    shown = rest[: query.limit]
    more = len(rest) > len(shown)
    return page_as_json([show(item) for item in shown], cursor(shown[-1]) if more else None)
