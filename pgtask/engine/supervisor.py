"""The supervisor: a worker's parent process. It owns the lease and keeps executors running; it runs no job itself."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import selectors
import signal
import socket
import time
from collections.abc import Iterator

import pgtask
from pgtask.database import migrations, ownership
from pgtask.database.connection import Connection, connect, lost, one_line
from pgtask.database.notifications import Message
from pgtask.database.work import executor_name
from pgtask.engine.drainer import Drainer
from pgtask.engine.heartbeat import Heartbeat
from pgtask.engine.listener import Listener
from pgtask.engine.marks import Mark
from pgtask.engine.options import ExecutorOptions, WorkerOptions
from pgtask.engine.prefetch import MAX_PREFETCH
from pgtask.engine.process import ExecutorProcess
from pgtask.engine.undertaker import Undertaker
from pgtask.engine.upkeep import Upkeep
from pgtask.model.errors import DatabaseUnavailableError
from pgtask.observability import logging as logs

BAD_APPLICATION = 78
_TICK = 0.5
_QUICK_DEATH = 2.0
_LONGEST_PAUSE = 5.0
_LOG_EVERY = 10.0
# Ended attempts whose acknowledgement is under way take up entries, too.
_SPARE_MARKS = 1000
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger("pgtask.supervisor")


def run_worker(options: WorkerOptions) -> int:
    """Runs a worker in this process until it is told to stop; returns the exit code.

    Must be called in the main thread. Raises SchemaError when the schema is missing or of another version, and
    DatabaseUnavailableError when PostgreSQL refuses the credentials; while it is away, it waits.
    """
    logs.configure(options.log_level, options.log_format)
    with _signals() as (received, wake):
        while True:
            code = Supervisor(options, received, wake).run()
            if code is not None:
                return code
            log.warning("declared dead by another worker: starting anew under a new identity")


@contextlib.contextmanager
def _signals() -> Iterator[tuple[list[int], tuple[int, int]]]:
    """Collects termination signals in a list and makes a pipe readable with each."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    received: list[int] = []
    before = {number: signal.signal(number, lambda n, _: received.append(n)) for number in _SIGNALS}
    old = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        yield received, (read, write)
    finally:
        signal.set_wakeup_fd(old)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read)
        os.close(write)


class Supervisor:
    """One identity of a worker, from registration to its end."""

    def __init__(self, options: WorkerOptions, received: list[int], wake: tuple[int, int]) -> None:
        self._options = options
        self._received = received
        self._wake = wake
        self._executors: list[ExecutorProcess] = []
        self._generation = 0
        self._restart_at: list[float] = []
        self._restart_pause = 0.0
        self._dead = False
        self._stop_asked = False
        self._stopping = False
        self._hurried = False
        self._kill_at = float("inf")
        self._ever_ready = False
        self._worker_id = 0

    def run(self) -> int | None:
        """Serves until stopped; returns the exit code, or None when this identity was declared dead."""
        if not self._register():
            return 0
        url, options = self._options.database_url, self._options
        heartbeat = Heartbeat(url, self._worker_id, options.lease, self.held, self._beat)
        listener = Listener(url, self._worker_id, self._notified) if options.listen else None
        upkeep = Upkeep(url, self._worker_id, options.lease)
        self._undertaker = Undertaker(url, self._worker_id)
        drainer = Drainer(url, self._worker_id, options.queues, self._ready_tasks, self._ask_stop)
        heartbeat.start()
        upkeep.start()
        if listener is not None:
            listener.start()
        if options.drain:
            drainer.start()
        for _ in range(options.processes):
            self._start_executor()
        try:
            code = self._supervise()
        finally:
            for executor in self._executors:
                executor.kill()
                executor.process.wait()
            drainer.stop()
            if listener is not None:
                listener.stop()
            upkeep.stop()
            heartbeat.stop()
        if code is not None:
            self._undertaker.finish(end_worker=True)
            log.info("worker %d has shut down", self._worker_id)
        return code

    def held(self) -> list[Mark]:
        """The jobs in hand of all executors; from any thread."""
        return [mark for executor in list(self._executors) for mark in executor.held()]

    # Starting

    def _register(self) -> bool:
        pause, logged = 0.1, 0.0
        while not self._received:
            try:
                with self._connect() as connection:
                    migrations.check(connection)
                    self._worker_id = self._insert_row(connection)
                logs.configure(self._options.log_level, self._options.log_format, worker=self._worker_id)
                return True
            except Exception as error:
                if not lost(error) or "authentication failed" in str(error) or "does not exist" in str(error):
                    raise
                now = time.monotonic()
                if now - logged > _LOG_EVERY:
                    logged = now
                    log.warning(
                        "%s Trying again.", error if isinstance(error, DatabaseUnavailableError) else one_line(error)
                    )
                time.sleep(random.uniform(0, pause))
                pause = min(pause * 2, _LONGEST_PAUSE)
        return False

    def _connect(self) -> Connection:
        return connect(self._options.database_url, application_name="pgtask supervisor")

    def _insert_row(self, connection: Connection) -> int:
        options = self._options
        host = socket.gethostname()
        return ownership.register(
            connection,
            name=options.name or f"{host}-{os.getpid()}",
            host=host,
            pid=os.getpid(),
            version=pgtask.__version__,
            queues=options.queues,
            executors=options.processes,
            slots=options.processes * options.concurrency,
            lease=options.lease,
        )

    def _start_executor(self) -> None:
        self._generation += 1
        options = self._options
        self._executors.append(
            ExecutorProcess(
                ExecutorOptions(
                    database_url=options.database_url,
                    app=options.app,
                    worker_id=self._worker_id,
                    executor=self._generation,
                    parent=0,
                    channel=-1,
                    marks=-1,
                    capacity=options.concurrency + MAX_PREFETCH + _SPARE_MARKS,
                    concurrency=options.concurrency,
                    queues=None if options.queues is None else list(options.queues),
                    poll=options.poll,
                    listen=options.listen,
                    log_level=options.log_level,
                    log_format=options.log_format,
                )
            )
        )

    # What the other threads report; they only set flags and send messages.

    def _beat(self, beat: ownership.Beat) -> None:
        if not beat.alive:
            self._dead = True
            self._poke()
        elif beat.stop:
            self._ask_stop()
        for id, attempt in (*beat.cancel, *beat.lost):
            self._tell({"cancel": id, "attempt": attempt})

    def _notified(self, message: Message) -> None:
        if "stop" in message:
            if message["stop"] == self._worker_id:
                self._ask_stop()
        elif "cancel" not in message or message["worker"] == self._worker_id:
            self._tell(message)

    def _tell(self, message: Message) -> None:
        for executor in list(self._executors):
            executor.send(message)

    def _ask_stop(self) -> None:
        self._stop_asked = True
        self._poke()

    def _poke(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake[1], b"p")

    def _ready_tasks(self) -> list[str] | None:
        """The tasks of the executors once all are ready and hold nothing, else None."""
        executors = list(self._executors)
        if not executors or not all(executor.ready for executor in executors) or self.held():
            return None
        return executors[0].tasks

    # Serving

    def _supervise(self) -> int | None:
        while True:
            self._hear()
            if self._dead:
                return None
            if self._received or self._stop_asked:
                self._shut_down()
            if self._stopping and not self._executors:
                return 0
            now = time.monotonic()
            if now >= self._kill_at:
                for executor in self._executors:
                    executor.kill()
            while self._restart_at and self._restart_at[0] <= now and not self._stopping:
                self._restart_at.pop(0)
                self._start_executor()
            for executor in [e for e in self._executors if e.process.poll() is not None]:
                if not self._bury(executor):
                    return 1

    def _hear(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake[0], selectors.EVENT_READ)
            for executor in self._executors:
                if executor.process.returncode is None:
                    selector.register(executor.channel, selectors.EVENT_READ, executor)
            for key, _ in selector.select(0.02 if self._stopping or self._restart_at else _TICK):
                if key.data is None:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake[0], 4096)
                else:
                    self._heard(key.data)

    def _heard(self, executor: ExecutorProcess) -> None:
        messages = executor.channel.receive()
        if messages is None:
            # It hung up: either it has died or it never will serve again.
            executor.kill()
            executor.process.wait()
            return
        for message in messages:
            if "ready" in message:
                executor.ready = True
                executor.tasks = message["tasks"]
                self._restart_pause = 0.0
                self._announce()

    def _announce(self) -> None:
        if self._ever_ready or not all(executor.ready for executor in self._executors):
            return
        self._ever_ready = True
        options = self._options
        log.info(
            "worker %d ready: %d executors with %d slots each, queues %s, tasks %s",
            self._worker_id,
            options.processes,
            options.concurrency,
            ", ".join(options.queues) if options.queues else "all",
            ", ".join(self._executors[0].tasks) or "none",
        )

    def _bury(self, executor: ExecutorProcess) -> bool:
        """Sees to what a dead executor left behind; False when no executor can ever start."""
        code = executor.process.wait()
        self._executors.remove(executor)
        marks = executor.held()
        executor.close()
        planned = executor.stopping and code == 0
        if code == BAD_APPLICATION and not self._ever_ready:
            return False
        if not planned:
            log.error(
                "executor %d (pid %d) died: %s; %d jobs in hand",
                executor.number,
                executor.pid,
                _cause(code),
                len(marks),
            )
        if marks or not planned:
            self._undertaker.free(
                executor.number,
                executor_name(self._worker_id, executor.number),
                [mark.id for mark in marks if mark.started],
                "released" if planned else "lost",
                "The worker shut down before it ended." if planned else f"Its process died: {_cause(code)}.",
            )
        if not self._stopping:
            # Not so fast when it dies at once each time.
            quick = time.monotonic() - executor.started_at < _QUICK_DEATH
            self._restart_pause = min(max(0.1, self._restart_pause * 2), _LONGEST_PAUSE) if quick else 0.0
            self._restart_at.append(time.monotonic() + self._restart_pause)
        return True

    def _shut_down(self) -> None:
        signals = len(self._received)
        if not self._stopping:
            self._stopping = True
            log.info("worker %d shuts down: running jobs have %g s", self._worker_id, self._options.grace)
            self._stop_executors(self._options.grace)
        if signals > 1 and not self._hurried:
            self._hurried = True
            log.info("second signal: running jobs are given back now")
            self._stop_executors(0.0)

    def _stop_executors(self, grace: float) -> None:
        for executor in self._executors:
            executor.stop(grace)
        self._kill_at = time.monotonic() + grace + 3.0


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"
