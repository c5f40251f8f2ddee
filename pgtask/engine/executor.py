"""An executor: a process of its own that imports the application and runs its jobs.

Started by the supervisor as `python -m pgtask.engine.executor`, with one end of a socket pair and the memory file of
its marks. It ends when told to, or when its supervisor is gone.
"""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import os
import selectors
import signal
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from pgtask.database.work import WorkConnection
from pgtask.engine.attempt import Attempt
from pgtask.engine.bell import Bell
from pgtask.engine.claimer import Claimer
from pgtask.engine.completer import Completer
from pgtask.engine.control import Channel, Message
from pgtask.engine.dead_letters import DeadLetterReader
from pgtask.engine.discovery import load_app
from pgtask.engine.exchange import Exchange
from pgtask.engine.handler import Handlers
from pgtask.engine.marks import Marks
from pgtask.engine.notes import Notebook
from pgtask.engine.options import FIRST_SLOTS, ExecutorOptions, Kind
from pgtask.engine.prefetch import Prefetch
from pgtask.engine.recycling import Recycling
from pgtask.engine.regulator import Regulator
from pgtask.engine.signals import HANDLED
from pgtask.engine.slots import Slots
from pgtask.engine.solitude import Output, Solitude
from pgtask.engine.suspects import SuspectClaimer
from pgtask.model.bounds import Bounds
from pgtask.model.errors import PgTaskError, TaskError
from pgtask.observability import logging as logs

if TYPE_CHECKING:
    from pgtask.engine.transactions import Transactions

OWN_THREADS = ("pgtask-slot-", "pgtask-loop", "pgtask-exchange", "pgtask-announce")
_PR_SET_PDEATHSIG = 1
_WATCH_EVERY = 0.05
# Threads that compute must hand over quickly to the thread that fetches their next jobs.
_SWITCH_INTERVAL = 0.001

log = logging.getLogger("pgtask.executor")


class Executor:
    """The parts of an executor, put together."""

    def __init__(self, options: ExecutorOptions, output: Output | None, stream: TextIO) -> None:
        """`output` is that of its jobs, in an executor that runs one at a time; `stream` takes its own."""
        self._options = options
        self._stream = stream
        self._output = output
        self._channel = Channel(socket.socket(fileno=options.channel))
        app = load_app(options.app)
        app.adopt(options.database_url, pooled=options.pooled)
        self._tasks = app.tasks
        self._isolated = {name for name, task in app.tasks.items() if task.isolated}
        self._wake_read, self._wake_write = os.pipe()
        os.set_inheritable(self._wake_write, False)
        marks = Marks(options.marks, options.capacity)
        bounds = Bounds(*options.slots)
        concurrency = bounds.nearest(FIRST_SLOTS)
        suspects = options.kind == Kind.SUSPECTS
        # What is fetched ahead would lie about while its predecessor kills the process once more.
        prefetch = Prefetch(concurrency, 0.0) if suspects else Prefetch(concurrency)
        notebook = Notebook()
        self._claimer = self._new_claimer()
        completer = Completer(prefetch, marks.release, app.tasks, marks.count)
        self._transactions = self._make_transactions()
        dead_letters = DeadLetterReader(options.database_url, pooled=options.pooled)
        handlers = Handlers(app.tasks, notebook.progress, notebook.log, self._transactions, dead_letters.read)
        self._slots = Slots(
            app.tasks,
            handlers,
            marks,
            concurrency,
            self._ended,
            self._watch,
            Solitude(self._output, notebook.log) if self._output is not None else None,
        )
        self._exchange = Exchange(
            lambda: WorkConnection(options.database_url, options.worker_id, options.executor, pooled=options.pooled),
            self._claimer,
            self._slots,
            completer,
            marks,
            prefetch,
            notebook,
            Bell(options.bell[0], options.bell[1]),
            app.manifest(),
        )
        tell = self._channel.send
        self._recycling = Recycling(options.max_jobs, options.max_rss, lambda: self._slots.ended, tell)
        self._regulator = None
        if options.tells_load or not bounds.fixed:
            self._regulator = Regulator(bounds, concurrency, self._slots, prefetch, self._claimer, self._exchange, tell)

    def _new_claimer(self) -> Claimer:
        options = self._options
        if options.kind == Kind.SUSPECTS:
            return SuspectClaimer(options.queues, sorted(self._tasks), options.poll)
        tasks = set(self._tasks)
        if options.kind == Kind.SHARED:
            tasks -= self._isolated
        elif not options.isolate_all:
            tasks = self._isolated
        return Claimer(options.queues, sorted(tasks), options.poll, options.listen, strict=options.strict)

    def _make_transactions(self) -> Transactions | None:
        transactional = {name: task.defaults.rules for name, task in self._tasks.items() if task.transactional}
        if not transactional:
            return None
        from pgtask.database.transaction import HandlerConnection
        from pgtask.engine.transactions import Transactions

        options = self._options
        if options.pooled:
            raise TaskError(
                f"Task {min(transactional)} is transactional, which needs a direct connection to the database: run it "
                "by a worker without the setting pooled."
            )
        arguments = (options.database_url, options.worker_id, options.executor)
        return Transactions(lambda: HandlerConnection(*arguments), transactional)

    def run(self) -> int:
        """Serves until told to stop; returns the exit code."""
        threading.Thread(target=self._serve, name="pgtask-exchange", daemon=True).start()
        selector = selectors.DefaultSelector()
        selector.register(self._channel, selectors.EVENT_READ)
        selector.register(self._wake_read, selectors.EVENT_READ)
        watched = False
        while True:
            for key, _ in selector.select(_WATCH_EVERY if watched else self._leisure):
                if key.fileobj is self._channel:
                    messages = self._channel.receive()
                    if messages is None:
                        return 1
                    stops = [message["stop"] for message in messages if "stop" in message]
                    if stops:
                        # A second one, which cuts the grace period short, may have come with the first.
                        return self._stop(min(stops))
                    for message in messages:
                        self._obey(message)
                else:
                    os.read(self._wake_read, 64)
                    watched = True
            if watched:
                watched = self._slots.threads.stop_overdue()
            if self._output is not None:
                self._output.curb()
            self._recycling.look()
            if self._regulator is not None:
                self._regulator.look()

    @property
    def _leisure(self) -> float | None:
        # Seconds between two looks at what changes, if there is anything to look at.
        looks = self._output is not None or self._recycling.due or self._regulator is not None
        return 1.0 if looks else None

    def _ended(self, attempt: Attempt) -> None:
        self._exchange.ended(attempt)

    def _watch(self) -> None:
        os.write(self._wake_write, b"w")

    def _serve(self) -> None:
        try:
            self._announce()
            self._exchange.run()
        except BaseException:
            log.exception("the executor's database thread failed; the supervisor will start another executor")
            os._exit(70)

    def _announce(self) -> None:
        threading.Thread(target=self._say_ready, name="pgtask-announce", daemon=True).start()

    def _say_ready(self) -> None:
        self._exchange.ready.wait()
        self._channel.send({"ready": True, "tasks": sorted(self._tasks), "isolated": bool(self._isolated)})

    def _obey(self, message: Message) -> None:
        if "queues" in message:
            self._exchange.call(self._claimer.queues_changed)
        elif "rewind" in message:
            instant = datetime.fromtimestamp(message["at"], UTC)
            queue, priority = message["rewind"], message["priority"]
            self._exchange.call(lambda: self._claimer.rewind(queue, priority, instant))
        elif "cancel" in message:
            self._slots.cancel(message["cancel"], message["attempt"])
        elif "quiet" in message:
            self._exchange.quiet(message["quiet"])
        elif "report" in message:
            self._report()

    def _report(self) -> None:
        now = time.monotonic()
        for attempt in self._slots.running():
            since = now - (attempt.started_at or now)
            log.info(
                "job %d attempt %d of task %s has run for %.1f s",
                attempt.id,
                attempt.attempt,
                attempt.task,
                since,
                extra={"job_id": attempt.id, "attempt": attempt.attempt, "task": attempt.task},
            )
        faulthandler.dump_traceback(self._stream, all_threads=True)

    def _stop(self, grace: float) -> int:
        """Claims nothing more and waits for what runs, at most `grace` seconds; the supervisor frees the rest."""
        deadline = time.monotonic() + grace
        self._exchange.stop()
        if self._transactions is not None:
            self._transactions.stop()
        while not self._exchange.finished.wait(_WATCH_EVERY):
            self._slots.threads.stop_overdue()
            if time.monotonic() >= deadline:
                break
            if self._told_to_hurry():
                break
        return 0

    def _told_to_hurry(self) -> bool:
        selector = selectors.DefaultSelector()
        selector.register(self._channel, selectors.EVENT_READ)
        if not selector.select(0):
            return False
        messages = self._channel.receive()
        if messages is None:
            return True
        for message in messages:
            if "stop" in message:
                return True
            self._obey(message)
        return False


def main() -> None:
    """The process's entry: reads its options from the environment and runs."""
    options = ExecutorOptions.decode(os.environ.pop("PGTASK_EXECUTOR"))
    # Stopping is the supervisor's business; a handler, unlike SIG_IGN, is not passed on to programs that jobs start.
    for number in HANDLED:
        signal.signal(number, lambda *_: None)
    # To a file that the supervisor reads when a signal has ended this process.
    faulthandler.enable(options.faults)
    _die_with_parent(options.parent)
    threading.excepthook = _thread_failed
    sys.setswitchinterval(_SWITCH_INTERVAL)
    output = Output(options.output) if options.kind != Kind.SHARED else None
    stream = sys.stderr if output is None else output.divert()
    logs.configure(options.log_level, options.log_format, stream, worker=options.worker_id, executor=options.executor)
    try:
        executor = Executor(options, output, stream)
    except PgTaskError as error:
        log.error("%s", error)  # noqa: TRY400 - it is the user's to mend, a traceback would only hide it
        sys.stderr.flush()
        os._exit(78)
    code = executor.run()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of jobs that outlived the grace period must not hold the exit up.
    os._exit(code)


def _thread_failed(args: threading.ExceptHookArgs) -> None:
    """A thread of pgtask's own must not die unnoticed: the supervisor starts another executor instead."""
    name = args.thread.name if args.thread else ""
    if name.startswith(OWN_THREADS):
        log.critical("the thread %s failed", name, exc_info=args.exc_value)
        sys.stderr.flush()
        os._exit(70)
    threading.__excepthook__(args)


def _die_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main()
