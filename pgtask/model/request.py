"""A job to be enqueued by its task's name alone, as the API gets it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class JobRequest(NamedTuple):
    """What is asked for. `options` are named as parameters of pgtask.enqueue(), and `expires`; durations are seconds.

    What is not among them comes from the task."""

    task: str
    payload: str
    """JSON text of an object."""
    options: Mapping[str, Any]

    @property
    def is_plain(self) -> bool:
        """Whether a row says it all: nothing is to be done about a holder of its key, nor checked about its times."""
        return self.options.keys().isdisjoint(_BEYOND)


_BEYOND = frozenset(
    {"unique_by", "unique_scope", "unique_window", "on_conflict", "max_wait", "start_by", "expires"},
)
