"""A worker's executors: how many of each kind, started, replaced when they die, and stopped."""

from __future__ import annotations

import logging
import time

from pgtask.database.notifications import Message
from pgtask.engine.burial import bury
from pgtask.engine.marks import Mark
from pgtask.engine.options import ExecutorOptions, Kind, WorkerOptions
from pgtask.engine.prefetch import MAX_PREFETCH
from pgtask.engine.process import ExecutorProcess
from pgtask.engine.undertaker import Undertaker
from pgtask.engine.warden import Warden
from pgtask.model.wording import plural

BAD_APPLICATION = 78
_QUICK_DEATH = 2.0
_LONGEST_PAUSE = 5.0
_KILL_AFTER = 3.0
# Ended attempts whose acknowledgement is under way take up entries, too.
_SPARE_MARKS = 1000

log = logging.getLogger("pgtask.supervisor")


class Team:
    """The executors of one worker identity. What is not said to be for any thread belongs to the main thread."""

    def __init__(self, options: WorkerOptions, worker_id: int, undertaker: Undertaker) -> None:
        self._options = options
        self._worker_id = worker_id
        self._undertaker = undertaker
        self._warden = Warden(options.kill_after, options.grace)
        self._generation = 0
        self._isolated_tasks = False
        self._suspects = 0
        self._paused_until = 0.0
        self._restart_pause = 0.0
        self._kill_at = float("inf")
        self._renewing: list[ExecutorProcess] = []
        self._successor: ExecutorProcess | None = None
        self.is_quiet = False
        self.ever_ready = False
        self.stopping = False
        self.executors: list[ExecutorProcess] = []

    # From any thread

    def held(self) -> list[Mark]:
        """The jobs in hand of all executors."""
        return [mark for executor in list(self.executors) for mark in executor.held()]

    def tasks(self) -> list[str]:
        """The tasks that are known, none before an executor is ready."""
        return next((executor.tasks for executor in list(self.executors) if executor.ready), [])

    def tell(self, message: Message) -> None:
        """Tells all executors something."""
        if "cancel" in message:
            self._warden.cancel_asked((message["cancel"], message["attempt"]))
        for executor in list(self.executors):
            executor.send(message)

    def idle_tasks(self) -> list[str] | None:
        """The tasks of the executors once all are ready and hold nothing, else None."""
        executors = list(self.executors)
        if not executors or not all(executor.ready for executor in executors) or self.held():
            return None
        return executors[0].tasks

    def suspects_wait(self, count: int) -> None:
        """So many suspects wait for an executor to themselves."""
        self._suspects = count

    # How many

    def _wanted(self, kind: Kind) -> int:
        processes = self._options.processes
        if kind == Kind.SUSPECTS:
            return min(processes, self._suspects) if self.ever_ready else 0
        everything = self._options.isolation == "process"
        if kind == Kind.ISOLATED:
            return processes if everything or self._isolated_tasks else 0
        return 0 if everything else processes

    def _serving(self, kind: Kind) -> list[ExecutorProcess]:
        return [executor for executor in self.executors if executor.kind == kind and not executor.retired]

    def muster(self) -> None:
        """Starts what is missing, and ends the executors for suspects when there are none."""
        if self.stopping or time.monotonic() < self._paused_until:
            return
        for kind in Kind:
            serving = self._serving(kind)
            for _ in range(self._wanted(kind) - len(serving)):
                self._start(kind)
        for executor in self._serving(Kind.SUSPECTS)[self._wanted(Kind.SUSPECTS) :]:
            if executor.ready and not executor.held():
                self._retire(executor)

    def _start(self, kind: Kind) -> ExecutorProcess:
        self._generation += 1
        options = self._options
        slots = options.concurrency if kind == Kind.SHARED else 1
        executor = ExecutorProcess(
            ExecutorOptions(
                database_url=options.database_url,
                app=options.app,
                worker_id=self._worker_id,
                executor=self._generation,
                kind=kind,
                isolate_all=options.isolation == "process",
                parent=0,
                channel=-1,
                bell=(-1, -1),
                marks=-1,
                faults=-1,
                output=-1,
                capacity=slots + MAX_PREFETCH + _SPARE_MARKS,
                concurrency=slots,
                max_jobs=options.max_jobs,
                max_rss=options.max_rss,
                queues=None if options.queues is None else list(options.queues),
                strict=options.strict,
                poll=options.poll,
                listen=options.notified,
                pooled=options.pooled,
                log_level=options.log_level,
                log_format=options.log_format,
            )
        )
        if self.is_quiet:
            executor.send({"quiet": True})
        self.executors.append(executor)
        return executor

    # What they say

    def heard(self, executor: ExecutorProcess) -> None:
        """Reads what an executor has said."""
        messages = executor.channel.receive()
        if messages is None:
            # It hung up: either it has died or it never will serve again.
            executor.put_down()
            executor.wait()
            return
        for message in messages:
            if "ready" in message:
                executor.ready = True
                executor.tasks = message["tasks"]
                self._isolated_tasks = self._isolated_tasks or message["isolated"]
                self._restart_pause = 0.0
                self._announce()
            elif "recycle" in message:
                log.info("executor %d is replaced: %s", executor.number, message["recycle"])
                self._renew([executor])

    def _announce(self) -> None:
        if self.ever_ready or not all(executor.ready for executor in self.executors):
            return
        self.ever_ready = True
        options = self._options
        log.info(
            "worker %d ready: %s with %s each, queues %s, tasks %s",
            self._worker_id,
            plural(options.processes, "executor"),
            plural(options.slots, "slot"),
            ", ".join(options.queues) if options.queues else "all",
            ", ".join(self.executors[0].tasks) or "none",
        )

    # Looking after them

    @property
    def restless(self) -> bool:
        """Whether `look_after` has something to wait for that no message announces."""
        return (
            self.stopping
            or time.monotonic() < self._paused_until
            or any(executor.retired or executor.sentences for executor in self.executors)
        )

    def look_after(self) -> bool:
        """Buries the dead, ends what will not stop, starts what is missing; False when none can ever start."""
        now = time.monotonic()
        if now >= self._kill_at:
            self.kill()
        for executor in self.executors:
            if self._warden.inspect(executor) and not executor.retired:
                self._retire(executor)
            if now >= executor.kill_at:
                executor.kill()
        startable = [self._bury(dead) for dead in self.executors[:] if dead.poll() is not None]
        self._go_on_renewing()
        self.muster()
        return all(startable)

    def _retire(self, executor: ExecutorProcess) -> None:
        """Lets another one take its place; it finishes what runs."""
        executor.retired = True
        executor.stop(self._options.grace)

    def _bury(self, executor: ExecutorProcess) -> bool:
        death = executor.death()
        code = executor.wait()
        self.executors.remove(executor)
        marks = executor.held()
        executor.close()
        if code == BAD_APPLICATION and (not self.ever_ready or executor is self._successor):
            return self.ever_ready
        if not death.planned:
            log.error(
                "executor %d (pid %d) died: %s; %d jobs in hand", executor.number, executor.pid, death.cause, len(marks)
            )
        if marks or not death.planned:
            burial = bury(death, marks)
            # The next heartbeat says how many there really are.
            self._suspects = max(self._suspects, len(burial.suspects), len(burial.endings.ids) if burial.endings else 0)
            self._undertaker.bury(executor.number, burial)
        if not death.planned and not self.stopping:
            # Not so fast when it dies at once each time.
            quick = time.monotonic() - executor.started_at < _QUICK_DEATH and not marks
            self._restart_pause = min(max(0.1, self._restart_pause * 2), _LONGEST_PAUSE) if quick else 0.0
            self._paused_until = time.monotonic() + self._restart_pause
        return True

    def report(self) -> None:
        """Logs the state of all executors, and has each log its own and the stacks of its threads."""
        for executor in self.executors:
            marks = executor.held()
            log.info(
                "executor %d (pid %d, %s%s): %d jobs in hand, of which %d run",
                executor.number,
                executor.pid,
                executor.kind,
                ", retired" if executor.retired else "",
                len(marks),
                sum(mark.running for mark in marks),
            )
            executor.send({"report": True})

    # Replacing them one by one

    def renew(self) -> None:
        """Replaces all executors one after the other, each once its successor, which runs the code of now, is ready."""
        self._renew([executor for executor in self.executors if not executor.retired])

    def _renew(self, executors: list[ExecutorProcess]) -> None:
        self._renewing += [executor for executor in executors if executor not in self._renewing]

    @property
    def renewing(self) -> bool:
        """Whether executors are being replaced."""
        return bool(self._renewing)

    def _go_on_renewing(self) -> None:
        self._renewing = [executor for executor in self._renewing if executor in self.executors]
        if not self._renewing or self.stopping:
            self._successor = None
            return
        old = self._renewing[0]
        if self._successor is None:
            self._successor = self._start(old.kind)
        elif self._successor not in self.executors:
            log.error("the new executor could not start: the old ones go on with the code they have")
            self._renewing.clear()
            self._successor = None
        elif self._successor.ready:
            self._successor = None
            self._renewing.pop(0)
            self._retire(old)

    # Ending them

    def quiet(self, on: bool) -> None:
        """Lets the executors take nothing more, or go on."""
        self.is_quiet = on
        self.tell({"quiet": on})

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
            executor.wait()
            executor.close()
        self.executors.clear()
