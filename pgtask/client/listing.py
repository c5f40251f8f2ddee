"""Lists that are read whole, page by page."""

from __future__ import annotations

from typing import Any

from pgtask.client.records import Record, record
from pgtask.client.transport import Transport

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
