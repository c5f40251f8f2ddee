"""The executor's database thread: hands ended attempts in and takes new jobs out, both in one transaction.

Only this thread uses the connection. It sleeps until something has ended, something may have been enqueued, or
something is due; while the database is away it tries again for ever and keeps all that is to be handed in.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from pgtask.database.claims import ClaimRequest
from pgtask.database.connection import lost, one_line, refusal
from pgtask.database.outcomes import Notes, Report
from pgtask.database.work import WorkConnection
from pgtask.engine.attempt import Attempt
from pgtask.engine.bell import NEWS, OTHER, Bell
from pgtask.engine.claimer import Claimer
from pgtask.engine.completer import BATCH, FLUSH_AFTER, Completer
from pgtask.engine.intake import Intake
from pgtask.engine.lane import Lane, LimitedLane
from pgtask.engine.manifest import Manifest
from pgtask.engine.marks import Marks
from pgtask.engine.notes import Notebook
from pgtask.engine.prefetch import Prefetch
from pgtask.engine.recovery import Recovery
from pgtask.engine.slots import Slots

_LOG_EVERY = 10.0
_LONGEST_PAUSE = 5.0

Claim = tuple[ClaimRequest, list[Lane]]
LimitedClaim = tuple[ClaimRequest, list[LimitedLane]]

log = logging.getLogger("pgtask.exchange")


class Exchange:
    """The loop between slots and database. `stop` makes it hand in what has ended, claim nothing more, and return."""

    def __init__(
        self,
        connect: Callable[[], WorkConnection],
        claimer: Claimer,
        slots: Slots,
        completer: Completer,
        marks: Marks,
        prefetch: Prefetch,
        notebook: Notebook,
        bell: Bell,
        manifest: Manifest,
    ) -> None:
        """The timeouts of the tasks in `manifest` hold for jobs without one of their own."""
        self._connect = connect
        self._claimer = claimer
        self._slots = slots
        self._completer = completer
        self._marks = marks
        self._prefetch = prefetch
        self._notebook = notebook
        self._bell = bell
        self._manifest = manifest
        timeouts = {row["name"]: row["timeout"] for row in manifest.tasks}
        self._intake = Intake(claimer, slots, marks, prefetch, completer, timeouts)
        self._recovery = Recovery(completer, marks)
        self._actions: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._sleeping = False
        self._claiming = True
        self._quiet = False
        self._unanswered = False
        self._away_logged = 0.0
        self._flush_at = 0.0
        self.ready = threading.Event()
        self.finished = threading.Event()

    def call(self, action: Callable[[], None]) -> None:
        """Has `action` done in this thread, which alone may touch the claimer."""
        self._actions.put(action)
        self._bell.ring(OTHER)

    def ended(self, attempt: Attempt) -> None:
        """A slot is done with an attempt; called in the slot's thread."""
        self._completer.add(attempt)
        if self._sleeping and (self._slots.idle() or len(self._completer) >= BATCH):
            self._sleeping = False
            self._bell.ring(OTHER)

    def quiet(self, on: bool) -> None:
        """Claims nothing more and gives back what no slot has begun, or goes on claiming."""
        self.call(lambda: self._set_quiet(on))

    def _set_quiet(self, on: bool) -> None:
        self._quiet = on
        if on:
            self._intake.give_back(self._slots.withdraw())
        else:
            self._claimer.wake()

    def stop(self) -> None:
        """As `quiet`, for good; ends once what runs has ended."""
        self.call(self._stop_claiming)

    def _stop_claiming(self) -> None:
        self._claiming = False
        self._set_quiet(True)

    def run(self) -> None:
        """Serves until stopped and all is handed in."""
        pause = 0.1
        while True:
            connection = None
            try:
                connection = self._connect()
                self._recover(connection)
                pause = 0.1
                self._serve(connection)
                return
            except Exception as error:
                self._away(error, pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            finally:
                if connection is not None:
                    connection.close()

    def _away(self, error: Exception, pause: float) -> None:
        # Full jitter, so that a fleet does not come back all at once.
        now = time.monotonic()
        if now - self._away_logged > _LOG_EVERY:
            self._away_logged = now
            if lost(error):
                log.warning("database away (%s); running jobs go on, trying again", one_line(error))
            else:
                log.error("the database refused a statement of pgtask's own; trying again", exc_info=error)
        time.sleep(random.uniform(0, pause))

    def _recover(self, connection: WorkConnection) -> None:
        """Settles what the loss of the last connection left open."""
        if not self.ready.is_set():
            self._manifest.register(connection)
            self.ready.set()
        if self._unanswered:
            self._recovery.settle(connection)
            # Not held, so given back with the others.
            self._intake.forget()
            self._unanswered = False
        self._claimer.queues_changed()

    def _serve(self, connection: WorkConnection) -> None:
        while True:
            self._hear()
            if self._recovery.due():
                # Whatever has arrived is to be seen as held.
                self._intake.hand_over()
                self._recovery.look_again(connection)
            self._intake.give_back_stale()
            wanted = self._wanted()
            if wanted and self._claimer.look_due():
                self._look(connection, wanted)
                wanted = self._wanted()
            if self._trade(connection, wanted):
                continue
            if len(self._intake):
                self._intake.hand_over()
            elif not self._claiming and not self._slots.unfinished and not len(self._completer):
                self.finished.set()
                return
            elif not (wanted and self._claimer.look_due()):
                self._wait(connection, wanted)

    def _trade(self, connection: WorkConnection, wanted: int) -> bool:
        """Hands in what has ended and claims what is wanted; returns whether there was anything to do."""
        claim, limited = self._request(wanted) if wanted and self._claimer.hungry else (None, None)
        batch = self._completer.take() if claim or limited or self._flush_due() else []
        # What ends now takes all its notes along: its progress could not be written afterwards.
        notes = self._notebook.take(float("inf") if batch else time.monotonic())
        report = self._completer.tally.report(batch)
        if batch or notes or claim or report:
            self._exchange(connection, batch, notes, claim, report)
        if limited:
            # After the handing in, which may make room, and apart from it, so that limits are locked in one order.
            self._claim_limited(connection, *limited)
        return bool(batch or notes or claim or limited or report)

    def _request(self, wanted: int) -> tuple[Claim | None, LimitedClaim | None]:
        """What to claim next, without limits or within them."""
        claim = self._claimer.request(wanted, self._prefetch.spare(self._slots.limited))
        if claim is None or not isinstance(claim[1][0], LimitedLane):
            return claim, None
        return None, (claim[0], [lane for lane in claim[1] if isinstance(lane, LimitedLane)])

    def _wanted(self) -> int:
        if self._quiet:
            return 0
        arrived = len(self._intake)
        return min(self._prefetch.wanted(self._slots.unfinished + arrived), self._marks.room - arrived)

    def _flush_due(self) -> bool:
        waiting = len(self._completer)
        if waiting >= BATCH or self._slots.idle() or not self._claiming:
            return waiting > 0
        return waiting > 0 and time.monotonic() >= self._flush_at

    def _hear(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                action = self._actions.get_nowait()
                self._intake.hand_over()
                action()

    def _look(self, connection: WorkConnection, wanted: int) -> None:
        self._intake.hand_over()
        self._unanswered = True
        free = self._claimer.tasks
        rows = self._claimer.look(connection, wanted)
        self._unanswered = False
        if self._claimer.tasks is not free:
            self._intake.withhold(set(free).difference(self._claimer.tasks))
        self._intake.take(rows)

    def _exchange(
        self,
        connection: WorkConnection,
        batch: list[Attempt],
        notes: Notes | None,
        claim: Claim | None,
        report: Report | None,
    ) -> None:
        completions, endings = self._completer.batches(batch)
        limited = self._completer.limited(batch)
        self._unanswered = True
        begun = time.monotonic()
        try:
            exchanged = connection.exchange(
                completions,
                endings,
                notes,
                claim[0] if claim else None,
                self._claimer.tasks,
                self._intake.hand_over,
                limited,
                report,
            )
        except Exception as error:
            if notes is not None:
                self._notebook.restore(notes)
            if report is not None:
                self._completer.tally.restore(report)
            if refusal(error) is None:
                raise
            # Nothing of the transaction happened; one attempt's data must not hold up the others.
            self._completer.send_singly(connection, self._claimer.tasks)
            self._unanswered = False
            return
        self._unanswered = False
        ended = time.monotonic()
        self._flush_at = ended + FLUSH_AFTER
        self._completer.settle(exchanged)
        if limited:
            self._claimer.freed()
        if claim is not None:
            self._intake.take(exchanged.claimed)
            self._claimer.took(exchanged.claimed, claim[0].limit, claim[1], ended - begun)

    def _claim_limited(self, connection: WorkConnection, request: ClaimRequest, lanes: list[LimitedLane]) -> None:
        self._intake.hand_over()
        self._unanswered = True
        rows = self._claimer.claim_limited(connection, request, lanes)
        self._unanswered = False
        self._intake.start_first(rows)

    def _wait(self, connection: WorkConnection, wanted: int) -> None:
        self._sleeping = True
        if len(self._completer):
            # Something ended between the look and the flag.
            self._sleeping = False
            return
        if not self._slots.idle():
            pause: float | None = FLUSH_AFTER
        elif wanted:
            pause = self._claimer.rest(connection)
        else:
            pause = None
        pause = self._completer.tally.pause(self._notebook.pause(pause, time.monotonic()))
        pause = self._recovery.pause(pause)
        if pause == 0.0:
            self._sleeping = False
            return
        tones = self._bell.wait(pause)
        self._sleeping = False
        if NEWS in tones:
            self._claimer.wake()
        elif not tones and wanted and self._slots.idle():
            self._claimer.try_again()
