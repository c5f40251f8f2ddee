"""Where something listens."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """An address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it is written: host:port, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
