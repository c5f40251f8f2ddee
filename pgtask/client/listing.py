"""Lists: a page, or all of them."""

from __future__ import annotations

from typing import Any

from pgtask.client.records import Record, record
from pgtask.client.transport import Transport
from pgtask.model.page import Page

PAGE = 1000


def all_of(transport: Transport, path: str, kind: type[Record], **query: Any) -> list[Record]:
    """All records of a list, in its order."""
    found: list[Record] = []
    cursor: str | None = None
    while True:
        page = transport.get(path, {"limit": PAGE, "cursor": cursor, **query})
        found += [record(kind, item) for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def page_of(transport: Transport, path: str, kind: type[Record], **query: Any) -> Page[Record]:
    """A page of a list of what has an id, newest first, and the id below which it goes on."""
    page = transport.get(path, query)
    items = page["items"]
    return Page([record(kind, item) for item in items], str(items[-1]["id"]) if page["next_cursor"] else None)
