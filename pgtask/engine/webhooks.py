"""Webhooks: the leader among the workers sends them what the feed tells, each in order, all side by side.

One thread looks for webhooks that have something to be sent; couriers, one for each of those, send it. So one that does
not answer holds up no other, and none holds up leases, schedules or rescue. What a webhook has been sent is known by
its position alone, which moves after the answer: each event arrives at least once.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import replace

from pgtask.database import feed, ownership, webhooks
from pgtask.database.connection import Connection, connect, lost, one_line
from pgtask.database.pool import Pool
from pgtask.engine.persistence import persist
from pgtask.model.webhook import Delivery, DueWebhook, message, trial

LEADERSHIP = "webhooks"
_LEADERSHIP_SECONDS = 10.0
_LOOK_EVERY = 1.0
# Of those who do not lead: a thousand of them must not cost the database more than the webhooks do.
_CANDIDATES_PAUSE = _LEADERSHIP_SECONDS
_NOTE_EVERY = 60.0
_MOST = 32
_PAGE = 200
# Then it is another's turn, if more have something to send than there are couriers.
_TURN = 30.0

log = logging.getLogger("pgtask.webhooks")


class Webhooks:
    """The thread that looks, and its couriers."""

    def __init__(self, url: str, worker_id: int, *, pooled: bool = False) -> None:
        self._url = url
        self._worker_id = worker_id
        self._pooled = pooled
        self._stopped = threading.Event()
        self._leading = threading.Event()
        self._lock = threading.Lock()
        self._busy: set[int] = set()
        self._noted_at = float("-inf")
        # Couriers hold a connection only to read and to note, never while they send.
        self._pool = Pool(url, pooled=pooled, name=f"pgtask webhooks {worker_id}", max_size=2)
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, giving a leadership up. What a courier is sending may still arrive."""
        self._stopped.set()
        self._leading.clear()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)
        self._pool.close()

    def _run(self) -> None:
        persist(self._serve, self._stopped, log, "webhooks not looked at")

    def _serve(self) -> None:
        while not self._stopped.is_set():
            try:
                self._lead()
            finally:
                # Who cannot look any more soon leads no more: another may be sending.
                self._leading.clear()
            # Who does not lead holds no connection either.
            self._stopped.wait(_CANDIDATES_PAUSE * random.uniform(0.8, 1.2))

    def _lead(self) -> None:
        """Serves as long as this worker leads."""
        name = f"pgtask webhooks {self._worker_id}"
        with connect(self._url, application_name=name, pooled=self._pooled) as connection:
            while not self._stopped.is_set() and self._step(connection):
                self._stopped.wait(_LOOK_EVERY)
            if self._stopped.is_set():
                ownership.resign(connection, LEADERSHIP, self._worker_id)

    def _step(self, connection: Connection) -> bool:
        """Sends couriers out if this worker leads; returns whether it does."""
        if not ownership.lead(connection, LEADERSHIP, self._worker_id, _LEADERSHIP_SECONDS, unbroken=False):
            self._leading.clear()
            return False
        self._leading.set()
        if time.monotonic() - self._noted_at >= _NOTE_EVERY:
            feed.note(connection)
            self._noted_at = time.monotonic()
        with self._lock:
            busy = list(self._busy)
        if len(busy) < _MOST:
            for webhook in webhooks.due(connection, busy, _MOST - len(busy)):
                with self._lock:
                    self._busy.add(webhook.id)
                threading.Thread(target=self._courier, args=[webhook], name="courier", daemon=True).start()
        return True

    def _courier(self, webhook: DueWebhook) -> None:
        try:
            Courier(self._pool, webhook, self._leading).go()
        except Exception as error:
            log.warning(
                "webhook %s was not served to the end (%s)", webhook.name, one_line(error), exc_info=not lost(error)
            )
        finally:
            with self._lock:
                self._busy.discard(webhook.id)


class Courier:
    """Sends one webhook what it has coming, until it fails, nothing is left or its turn is over."""

    def __init__(self, pool: Pool, webhook: DueWebhook, going: threading.Event) -> None:
        """`going` is set as long as this process may send."""
        self._pool = pool
        self._webhook = webhook
        self._going = going

    def go(self) -> None:
        """Sends. Raises DatabaseUnavailableError."""
        turn_ends = time.monotonic() + _TURN
        while time.monotonic() < turn_ends:
            with self._pool.connection() as connection:
                allowed = webhooks.networks(connection)
                page = feed.read(connection, self._webhook.position, _PAGE)
            if not page:
                return
            for found in page:
                if self._webhook.wants(found):
                    if not self._going.is_set():
                        return
                    # Only who has something to send needs the library that sends.
                    from pgtask.engine.delivery import send

                    delivery = send(self._webhook.url, self._webhook.secret, message(found), allowed)
                    if not self._note(found.position, delivery):
                        return
            if self._webhook.position != page[-1].position and not self._note(page[-1].position, None):
                return

    def _note(self, position: str, delivery: Delivery | None) -> bool:
        """Notes what came of a delivery, None for none; whether to go on."""
        webhook = self._webhook
        with self._pool.connection() as connection:
            if delivery is not None and delivery.error is not None:
                if webhooks.fail(connection, webhook, delivery):
                    log.warning("webhook %s is paused: %s", webhook.name, delivery.error)
                else:
                    log.warning("webhook %s failed: %s", webhook.name, delivery.error)
                return False
            moved = webhooks.advance(connection, webhook, position, None if delivery is None else delivery.status)
        if moved:
            self._webhook = _moved_to(webhook, position)
        return moved


def _moved_to(webhook: DueWebhook, position: str) -> DueWebhook:
    """A webhook that has been sent all up to a position."""
    return replace(webhook, position=position, failures=0)


def try_out(pool: Pool, name: str) -> Delivery:
    """Sends a webhook a message of type `test`, which moves nothing. Raises WebhookNotFoundError."""
    from pgtask.engine.delivery import send

    with pool.connection() as connection:
        url = webhooks.read(connection, name).url
        secret = webhooks.secret(connection, name)
        allowed = webhooks.networks(connection)
    return send(url, secret, trial(), allowed)
