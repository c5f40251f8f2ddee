"""The client: all operations over REST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pgtask.client.administration import AdministrationCalls
from pgtask.client.dead_letters import DeadLetterCalls
from pgtask.client.events import EventCalls
from pgtask.client.fleet import FleetCalls
from pgtask.client.queues import QueueCalls
from pgtask.client.schedules import ScheduleCalls
from pgtask.client.transport import Transport

if TYPE_CHECKING:
    from pgtask.model.operations import Operations


class Client(DeadLetterCalls, QueueCalls, ScheduleCalls, FleetCalls, AdministrationCalls, EventCalls):
    """A server of pgtask, in the name of a token. May be used by several threads; close it, or use it as a context.

    What is refused raises the errors of pgtask.model.errors, as on a database; ServerUnavailableError where the server
    does not answer. Each call is tried up to `retries` times more where the server is busy or away, and does what it
    does once.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout: float = 30.0, retries: int = 3) -> None:
        """`timeout` is the longest that one try takes, in seconds. Raises ConfigurationError for a wrong URL."""
        self._transport = Transport(url, token, timeout=timeout, retries=retries)

    def __repr__(self) -> str:
        return f"<Client of {self._transport.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections."""
        self._transport.close()


if TYPE_CHECKING:

    def _is_complete(client: Client) -> Operations:
        return client
