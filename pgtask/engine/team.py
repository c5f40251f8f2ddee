"""A worker's executors: how many of each kind, started, replaced when they die, and stopped."""

from __future__ import annotations

import logging
import time
from functools import reduce

from pgtask.database.notifications import Message
from pgtask.engine.burial import bury
from pgtask.engine.crew import Load
from pgtask.engine.marks import Counts, Mark
from pgtask.engine.options import ExecutorOptions, Kind, WorkerOptions
from pgtask.engine.prefetch import MAX_PREFETCH
from pgtask.engine.process import ExecutorProcess
from pgtask.engine.renewal import Renewal
from pgtask.engine.staffing import Staffing
from pgtask.engine.undertaker import Undertaker
from pgtask.engine.warden import Warden
from pgtask.model.bounds import Bounds

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
        self._renewal = Renewal(self._start, self._retire)
        self._staffing = Staffing(options)
        self._counts = Counts()
        self.is_quiet = False
        self.ever_ready = False
        self.stopping = False
        self.executors: list[ExecutorProcess] = []

    # From any thread

    def held(self) -> list[Mark]:
        """The jobs in hand of all executors."""
        return [mark for executor in list(self.executors) for mark in executor.held()]

    def counts(self) -> Counts:
        """Attempts that have ended in all executors, those that are gone included."""
        return reduce(Counts.plus, [executor.counts() for executor in list(self.executors)], self._counts)

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

    def size(self) -> tuple[int, int] | None:
        """How many executors and slots there are now; None for as many as before."""
        return self._staffing.size(list(self.executors))

    def suspects_wait(self, count: int) -> None:
        """So many suspects wait for an executor to themselves."""
        self._suspects = count

    # How many

    def _wanted(self, kind: Kind) -> int:
        if kind == Kind.SUSPECTS:
            return min(self._options.executors.most, self._suspects) if self.ever_ready else 0
        everything = self._options.isolation == "process"
        if kind == Kind.ISOLATED:
            return self._staffing.wanted(kind) if everything or self._isolated_tasks else 0
        return 0 if everything else self._staffing.wanted(kind)

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
        shared = kind == Kind.SHARED
        slots = options.slots if shared else Bounds(1, 1)
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
                capacity=slots.most + MAX_PREFETCH + _SPARE_MARKS,
                slots=(slots.least, slots.most),
                tells_load=not options.executors.fixed,
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
        executor.load = Load(saturated=False, in_hand=0, slots=options.first_slots if shared else 1, busy=0.0)
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
                self._renewal.ask([executor])
            elif "load" in message:
                executor.load = Load(*message["load"])

    def _announce(self) -> None:
        if self.ever_ready or not all(executor.ready for executor in self.executors):
            return
        self.ever_ready = True
        options = self._options
        log.info(
            "worker %d ready: %s with %s each, queues %s, tasks %s",
            self._worker_id,
            options.executors.of("executor"),
            options.slots.of("slot"),
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
        self._renewal.go_on(self.executors)
        if not (self.stopping or self.is_quiet or self.renewing):
            for spare in self._staffing.adjust(now, self._serving):
                self._retire(spare)
        self.muster()
        return all(startable)

    def _retire(self, executor: ExecutorProcess) -> None:
        """Lets another one take its place; it finishes what runs."""
        executor.retired = True
        executor.stop(self._options.grace)

    def _bury(self, executor: ExecutorProcess) -> bool:
        death, code = executor.death(), executor.wait()
        self._counts, marks = self._counts.plus(executor.counts()), executor.held()
        self.executors.remove(executor)
        executor.close()
        if code == BAD_APPLICATION and (not self.ever_ready or executor is self._renewal.successor):
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
        self._renewal.ask([executor for executor in self.executors if not executor.retired])

    @property
    def renewing(self) -> bool:
        """Whether executors are being replaced."""
        return self._renewal.under_way

    # Ending them

    def quiet(self, on: bool) -> None:
        """Lets the executors take nothing more, or go on."""
        self.is_quiet = on
        self.tell({"quiet": on})

    def stop(self, grace: float) -> None:
        """Tells all executors to finish what runs within `grace` seconds; those that do not end are killed."""
        self.stopping = True
        self._renewal.end()
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
