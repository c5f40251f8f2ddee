"""Queues over REST."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pgtask.client.listing import all_of
from pgtask.client.records import record
from pgtask.client.transport import Transport, path_to
from pgtask.model.queue import PausedQueue, QueueRecord


class QueueCalls:
    """Queues: their settings, pausing them. See pgtask.model.operations."""

    _transport: Transport

    def list_queues(self) -> list[QueueRecord]:
        """All queues, by priority and name."""
        return all_of(self._transport, "/queues", QueueRecord)

    def known_queues(self) -> list[str]:
        """The names of all queues."""
        return sorted(queue.name for queue in self.list_queues())

    def read_queue(self, name: str) -> QueueRecord:
        """One queue. Raises QueueNotFoundError."""
        return record(QueueRecord, self._transport.get(path_to("queues", name)))

    def create_queue(self, name: str, changes: Mapping[str, Any]) -> None:
        """Stores a queue."""
        self._transport.post("/queues", {"name": name} | _plain(changes))

    def set_queue(self, name: str, changes: Mapping[str, Any]) -> None:
        """Changes settings of a queue."""
        self._transport.patch(path_to("queues", name), _plain(changes))

    def pause_queues(self, names: Iterable[str]) -> list[PausedQueue]:
        """Pauses queues, none where one is not there."""
        paused = []
        for queue in self._every_queue(names):
            found = record(QueueRecord, self._transport.post(path_to("queues", queue.name, "pause")))
            assert found.paused_at is not None
            paused.append(PausedQueue(found.name, found.paused_at, found.paused_by))
        return paused

    def resume_queues(self, names: Iterable[str]) -> set[str]:
        """Resumes queues, none where one is not there, and returns those that were paused."""
        found = self._every_queue(names)
        for queue in found:
            self._transport.post(path_to("queues", queue.name, "resume"))
        return {queue.name for queue in found if queue.paused_at is not None}

    def delete_queue(self, name: str) -> None:
        """Deletes what is stored of a queue."""
        self._transport.delete(path_to("queues", name))

    def _every_queue(self, names: Iterable[str]) -> list[QueueRecord]:
        return [self.read_queue(name) for name in sorted(set(names))]


def _plain(changes: Mapping[str, Any]) -> dict[str, Any]:
    plain = dict(changes)
    rate = plain.get("rate_limit")
    if rate is not None:
        plain |= {"rate_limit": str(rate), "rate_burst": rate.burst}
    return plain
