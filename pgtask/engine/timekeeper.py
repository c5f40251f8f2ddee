"""A process that runs no job: it fires schedules and does upkeep, rescue included. `pgtask scheduler`."""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
from dataclasses import dataclass

from pgtask.database import ownership
from pgtask.database.connection import Connection, connect, lost, one_line
from pgtask.database.notifications import Message
from pgtask.engine.heartbeat import Heartbeat
from pgtask.engine.listener import Listener
from pgtask.engine.registration import enter
from pgtask.engine.scheduler import Scheduler
from pgtask.engine.signals import Signals
from pgtask.engine.systemd import Systemd
from pgtask.engine.upkeep import Upkeep
from pgtask.observability import logging as logs
from pgtask.version import __version__

_TICK = 0.5

log = logging.getLogger("pgtask.scheduler")


@dataclass(frozen=True, slots=True)
class TimekeeperOptions:
    """What an operator chooses for a dedicated scheduler; `lease` is in seconds."""

    database_url: str
    lease: float = 30.0
    listen: bool = True
    pooled: bool = False
    name: str | None = None
    log_level: str = "info"
    log_format: str = "auto"


def run_scheduler(options: TimekeeperOptions) -> int:
    """Fires schedules in this process until it is told to stop; returns the exit code.

    Must be called in the main thread. Raises SchemaError when the schema is missing or of another version, and
    DatabaseUnavailableError when PostgreSQL refuses the credentials; while it is away, it waits.
    """
    logs.configure(options.log_level, options.log_format)
    with Signals().collected() as signals:
        systemd = Systemd()
        while Timekeeper(options, signals, systemd).run():
            log.warning("declared dead by another worker: starting anew under a new identity")
    return 0


class Timekeeper:
    """One identity of a dedicated scheduler: a worker without slots, listed and asked to stop like any other."""

    def __init__(self, options: TimekeeperOptions, signals: Signals, systemd: Systemd) -> None:
        self._options = options
        self._signals = signals
        self._systemd = systemd
        self._dead = threading.Event()
        self._stop_asked = threading.Event()

    def run(self) -> bool:
        """Serves until told to stop; returns whether it ended because this identity was declared dead."""
        options = self._options
        url, pooled = options.database_url, options.pooled
        id = enter(url, self._insert_row, lambda: self._signals.ending, name="pgtask scheduler", pooled=pooled)
        if id is None:
            return False
        logs.configure(options.log_level, options.log_format, worker=id)
        self._scheduler = Scheduler(url, id, pooled=pooled)
        self._heartbeat = Heartbeat(url, id, options.lease, list, list, [], self._beat, pooled=pooled)
        # Where all workers come over HTTP, nobody else rescues their jobs.
        upkeep = Upkeep(url, id, options.lease, pooled=pooled)
        listener = Listener(url, id, self._notified)
        self._heartbeat.start()
        self._scheduler.start()
        upkeep.start()
        if options.listen and not pooled:
            listener.start()
        log.info("scheduler %d ready", id)
        self._systemd.say(READY="1", STATUS=f"Scheduler {id} serves.")
        try:
            self._wait()
        finally:
            listener.stop()
            self._scheduler.stop()
            upkeep.stop()
            self._heartbeat.stop()
        if self._dead.is_set():
            return True
        self._systemd.say(STOPPING="1")
        self._end(id)
        log.info("scheduler %d has shut down", id)
        return False

    def _insert_row(self, connection: Connection) -> int:
        host = socket.gethostname()
        return ownership.register(
            connection,
            name=self._options.name or f"scheduler-{host}-{os.getpid()}",
            host=host,
            pid=os.getpid(),
            version=__version__,
            queues=[],
            executors=0,
            slots=0,
            lease=self._options.lease,
        )

    def _end(self, id: int) -> None:
        options = self._options
        try:
            with connect(
                options.database_url, application_name="pgtask scheduler", pooled=options.pooled
            ) as connection:
                ownership.end_worker(connection, id)
        except Exception as error:
            if not lost(error):
                raise
            log.warning("the database is away (%s): the lease of scheduler %d runs out by itself", one_line(error), id)

    def _beat(self, beat: ownership.Beat) -> None:
        if not beat.alive:
            self._dead.set()
            self._signals.poke()
        elif beat.stop:
            self._stop_asked.set()
            self._signals.poke()

    def _notified(self, message: Message) -> None:
        if "stop" in message:
            self._heartbeat.hasten()
        elif "schedules" in message or "wake" in message:
            self._scheduler.wake()

    def _wait(self) -> None:
        while not (self._signals.ending or self._dead.is_set() or self._stop_asked.is_set()):
            select.select([self._signals.read], [], [], _TICK)
            self._signals.clear()
            if self._heartbeat.alive:
                self._systemd.feed()
