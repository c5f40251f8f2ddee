"""What came of enqueueing."""

from __future__ import annotations

from typing import NamedTuple


class EnqueuedByName(NamedTuple):
    """A job's id, and whether it was `created` now, or held the unique key and was `held` (left as it is), `replaced`
    or `rescheduled`."""

    id: int
    answer: str

    @property
    def created(self) -> bool:
        """Whether it was made now."""
        return self.answer == "created"
