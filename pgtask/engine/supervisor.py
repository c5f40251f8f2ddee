"""The supervisor: a worker's parent process. It owns the lease and keeps executors running; it runs no job itself."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket

from pgtask.database import ownership
from pgtask.database.connection import Connection
from pgtask.database.notifications import Message
from pgtask.engine import leftovers
from pgtask.engine.drainer import Drainer
from pgtask.engine.exporter import Exporter
from pgtask.engine.heartbeat import Heartbeat
from pgtask.engine.listener import Listener
from pgtask.engine.options import WorkerOptions
from pgtask.engine.registration import enter
from pgtask.engine.scheduler import Scheduler
from pgtask.engine.signals import Signals
from pgtask.engine.systemd import Systemd
from pgtask.engine.team import Team
from pgtask.engine.undertaker import Undertaker
from pgtask.engine.upkeep import Upkeep
from pgtask.engine.webhooks import Webhooks
from pgtask.observability import logging as logs
from pgtask.version import __version__

_TICK = 0.5
_SHORT_TICK = 0.02

log = logging.getLogger("pgtask.supervisor")


def run_worker(options: WorkerOptions) -> int:
    """Runs a worker in this process until it is told to stop; returns the exit code.

    Must be called in the main thread. Raises SchemaError when the schema is missing or of another version, and
    DatabaseUnavailableError when PostgreSQL refuses the credentials; while it is away, it waits.
    """
    logs.configure(options.log_level, options.log_format)
    with Signals().collected() as signals:
        systemd = Systemd()
        leftovers.inherit_orphans()
        others = leftovers.children()
        while True:
            code = Supervisor(options, signals, systemd, others).run()
            if code is not None:
                return code
            log.warning("declared dead by another worker: starting anew under a new identity")


class Supervisor:
    """One identity of a worker, from registration to its end."""

    def __init__(self, options: WorkerOptions, signals: Signals, systemd: Systemd, others: set[int]) -> None:
        """`others` are processes below this one that are none of the worker's business."""
        self._options = options
        self._signals = signals
        self._systemd = systemd
        self._others = others
        self._dead = False
        self._stop_asked = False
        self._hurried = False
        self._said_ready = False
        self._worker_id = 0

    def run(self) -> int | None:
        """Serves until stopped; returns the exit code, or None when this identity was declared dead."""
        if not self._register():
            return 0
        url, options = self._options.database_url, self._options
        undertaker = Undertaker(url, self._worker_id, pooled=options.pooled)
        self._team = team = Team(options, self._worker_id, undertaker)
        self._keep_quiet()
        self._heartbeat = heartbeat = Heartbeat(
            url,
            self._worker_id,
            options.lease,
            team.held,
            team.tasks,
            options.queues,
            self._beat,
            quiet=lambda: team.is_quiet,
            size=team.size,
            counts=team.counts,
            pooled=options.pooled,
        )
        upkeep = Upkeep(url, self._worker_id, options.lease, pooled=options.pooled)
        self._scheduler = scheduler = Scheduler(url, self._worker_id, pooled=options.pooled)
        webhooks = Webhooks(url, self._worker_id, pooled=options.pooled)
        listener = Listener(url, self._worker_id, self._notified)
        drainer = Drainer(url, self._worker_id, options.queues, team.idle_tasks, self._ask_stop, pooled=options.pooled)
        heartbeat.start()
        upkeep.start()
        if options.notified:
            listener.start()
        if options.drain:
            drainer.start()
        else:
            scheduler.start()
            webhooks.start()
        team.muster()
        exporter = Exporter.opened(options.metrics_port, self._worker_id, team, heartbeat)
        try:
            code = self._supervise(heartbeat)
        finally:
            team.disband()
            exporter.close()
            drainer.stop()
            listener.stop()
            webhooks.stop()
            scheduler.stop()
            upkeep.stop()
            heartbeat.stop()
        if code is not None:
            undertaker.finish(end_worker=True)
            log.info("worker %d has shut down", self._worker_id)
        return code

    # Starting

    def _register(self) -> bool:
        options = self._options
        id = enter(
            options.database_url,
            self._insert_row,
            lambda: self._signals.ending,
            name="pgtask supervisor",
            pooled=options.pooled,
        )
        if id is None:
            return False
        self._worker_id = id
        logs.configure(options.log_level, options.log_format, worker=id)
        return True

    def _insert_row(self, connection: Connection) -> int:
        options = self._options
        host = socket.gethostname()
        return ownership.register(
            connection,
            name=options.name or f"{host}-{os.getpid()}",
            host=host,
            pid=os.getpid(),
            version=__version__,
            queues=options.queues,
            executors=options.executors.least,
            slots=options.executors.least * options.first_slots,
            lease=options.lease,
        )

    # What the other threads report; they only set flags and send messages.

    def _beat(self, beat: ownership.Beat) -> None:
        if not beat.alive:
            self._dead = True
            self._signals.poke()
        elif beat.stop:
            self._ask_stop()
        self._team.suspects_wait(beat.suspects)
        for id, attempt in (*beat.cancel, *beat.lost):
            self._team.tell({"cancel": id, "attempt": attempt})

    def _notified(self, message: Message) -> None:
        # Any login may send a notice, so nothing is stopped on its word: the heartbeat asks whether it is true.
        if "stop" in message:
            if message["stop"] == self._worker_id:
                self._heartbeat.hasten()
        elif "schedules" in message:
            self._scheduler.wake()
        elif "cancel" not in message:
            self._team.tell(message)
        elif message["worker"] == self._worker_id:
            self._heartbeat.hasten()

    def _ask_stop(self) -> None:
        self._stop_asked = True
        self._signals.poke()

    # Serving

    def _supervise(self, heartbeat: Heartbeat) -> int | None:
        while True:
            self._hear()
            for number in self._signals.take():
                self._obey(number)
            if self._dead:
                return None
            if self._signals.ending or self._stop_asked:
                self._shut_down()
            before = self._team.executors[:]
            if not self._team.look_after():
                return 1
            # Another may already be in its place, so their number says nothing.
            if any(executor not in self._team.executors for executor in before):
                self._end_leftovers()
            leftovers.reap(self._ours())
            if self._team.stopping and not self._team.executors:
                return 0
            self._tell_systemd(heartbeat)

    def _obey(self, number: int) -> None:
        if number == signal.SIGHUP:
            log.info("HUP: executors are replaced one by one")
            self._systemd.reloading()
            self._said_ready = False
            self._team.renew()
        elif number in (signal.SIGTSTP, signal.SIGCONT):
            self._keep_quiet()
            self._heartbeat.hasten()
        elif number == signal.SIGUSR1:
            self._team.report()

    def _keep_quiet(self) -> None:
        if self._signals.quiet != self._team.is_quiet:
            log.info("no more jobs are taken until CONT" if self._signals.quiet else "jobs are taken again")
            self._team.quiet(self._signals.quiet)

    def _tell_systemd(self, heartbeat: Heartbeat) -> None:
        if self._team.ever_ready and not self._team.renewing and not self._said_ready:
            self._said_ready = True
            self._systemd.say(READY="1", STATUS=f"Worker {self._worker_id} serves.")
            # Its row is to name the tasks at once: without them nobody can be told that a job waits for another worker.
            heartbeat.hasten()
        # While the database is away the heart goes on beating in vain, which is no reason to be restarted.
        if heartbeat.alive:
            self._systemd.feed()

    def _ours(self) -> set[int]:
        return self._others | {executor.pid for executor in self._team.executors}

    def _end_leftovers(self) -> None:
        names = leftovers.end_children(self._ours()) if leftovers.any_children() else []
        if names:
            log.warning("processes that jobs had left behind were ended: %s", ", ".join(names))

    def _hear(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._signals.read, selectors.EVENT_READ)
            for executor in self._team.executors:
                selector.register(executor.channel, selectors.EVENT_READ, executor)
            for key, _ in selector.select(_SHORT_TICK if self._team.restless else _TICK):
                if key.data is None:
                    self._signals.clear()
                else:
                    self._team.heard(key.data)

    def _shut_down(self) -> None:
        if not self._team.stopping:
            log.info("worker %d shuts down: running jobs have %g s", self._worker_id, self._options.grace)
            self._systemd.say(STOPPING="1")
            self._team.stop(self._options.grace)
        if self._signals.hurried and not self._hurried:
            self._hurried = True
            log.info("told to hurry: running jobs are given back now")
            self._team.stop(0.0)
