"""A worker's executors: started, told things, replaced when they die, and stopped."""

from __future__ import annotations

import contextlib
import logging
import signal
import time

from pgtask.database.notifications import Message
from pgtask.database.transaction import transaction_name
from pgtask.database.work import executor_name
from pgtask.engine.marks import Mark
from pgtask.engine.options import ExecutorOptions, WorkerOptions
from pgtask.engine.prefetch import MAX_PREFETCH
from pgtask.engine.process import ExecutorProcess
from pgtask.engine.undertaker import Undertaker

BAD_APPLICATION = 78
_QUICK_DEATH = 2.0
_LONGEST_PAUSE = 5.0
_KILL_AFTER = 3.0
# Ended attempts whose acknowledgement is under way take up entries, too.
_SPARE_MARKS = 1000

log = logging.getLogger("pgtask.supervisor")


class Team:
    """The executors of one worker identity. All but `held`, `tell` and `idle_tasks` belong to the main thread."""

    def __init__(self, options: WorkerOptions, worker_id: int, undertaker: Undertaker) -> None:
        self._options = options
        self._worker_id = worker_id
        self._undertaker = undertaker
        self._generation = 0
        self._restart_at: list[float] = []
        self._restart_pause = 0.0
        self._kill_at = float("inf")
        self._ever_ready = False
        self.stopping = False
        self.executors: list[ExecutorProcess] = []

    def start(self) -> None:
        """Starts an executor."""
        self._generation += 1
        options = self._options
        self.executors.append(
            ExecutorProcess(
                ExecutorOptions(
                    database_url=options.database_url,
                    app=options.app,
                    worker_id=self._worker_id,
                    executor=self._generation,
                    parent=0,
                    channel=-1,
                    bell=(-1, -1),
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

    def held(self) -> list[Mark]:
        """The jobs in hand of all executors; from any thread."""
        return [mark for executor in list(self.executors) for mark in executor.held()]

    def tell(self, message: Message) -> None:
        """Tells all executors something; from any thread."""
        for executor in list(self.executors):
            executor.send(message)

    def idle_tasks(self) -> list[str] | None:
        """The tasks of the executors once all are ready and hold nothing, else None; from any thread."""
        executors = list(self.executors)
        if not executors or not all(executor.ready for executor in executors) or self.held():
            return None
        return executors[0].tasks

    @property
    def restless(self) -> bool:
        """Whether `look_after` has something to wait for that no message announces."""
        return self.stopping or bool(self._restart_at)

    def heard(self, executor: ExecutorProcess) -> None:
        """Reads what an executor has said."""
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
        if self._ever_ready or not all(executor.ready for executor in self.executors):
            return
        self._ever_ready = True
        options = self._options
        log.info(
            "worker %d ready: %d executors with %d slots each, queues %s, tasks %s",
            self._worker_id,
            options.processes,
            options.concurrency,
            ", ".join(options.queues) if options.queues else "all",
            ", ".join(self.executors[0].tasks) or "none",
        )

    def look_after(self) -> bool:
        """Replaces executors that have died and kills those that do not stop; False when none can ever start."""
        now = time.monotonic()
        if now >= self._kill_at:
            self.kill()
        while self._restart_at and self._restart_at[0] <= now and not self.stopping:
            self._restart_at.pop(0)
            self.start()
        startable = [self._bury(dead) for dead in self.executors[:] if dead.process.poll() is not None]
        return all(startable)

    def _bury(self, executor: ExecutorProcess) -> bool:
        code = executor.process.wait()
        self.executors.remove(executor)
        marks = executor.held()
        executor.close()
        if code == BAD_APPLICATION and not self._ever_ready:
            return False
        planned = executor.stopping and code == 0
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
                [name(self._worker_id, executor.number) for name in (executor_name, transaction_name)],
                [mark.id for mark in marks if mark.started],
                "released" if planned else "lost",
                "The worker shut down before it ended." if planned else f"Its process died: {_cause(code)}.",
            )
        if not self.stopping:
            # Not so fast when it dies at once each time.
            quick = time.monotonic() - executor.started_at < _QUICK_DEATH
            self._restart_pause = min(max(0.1, self._restart_pause * 2), _LONGEST_PAUSE) if quick else 0.0
            self._restart_at.append(time.monotonic() + self._restart_pause)
        return True

    def stop(self, grace: float) -> None:
        """Tells all executors to finish what runs within `grace` seconds; those that do not end are killed."""
        self.stopping = True
        for executor in self.executors:
            executor.stop(grace)
        self._kill_at = time.monotonic() + grace + _KILL_AFTER

    def kill(self) -> None:
        """Ends all executors at once."""
        for executor in self.executors:
            executor.kill()

    def disband(self) -> None:
        """Ends and reaps all executors, leaving their jobs to others."""
        self.kill()
        for executor in self.executors:
            executor.process.wait()
            executor.close()
        self.executors.clear()


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"
