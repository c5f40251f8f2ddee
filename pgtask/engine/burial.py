"""What becomes of the jobs of an executor that has ended: who is charged, who is suspected, who goes back unharmed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pgtask.database.outcomes import Endings
from pgtask.engine.marks import Mark

Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Death:
    """How an executor ended. `planned`: it was told to; `evidence` is its last stack and output.

    `sentences` say for which attempts it was killed, and as what these end.
    """

    executor: int
    cause: str
    planned: bool
    evidence: str | None = None
    peak_rss_bytes: int | None = None
    sentences: Mapping[Key, str] = field(default_factory=dict)

    @property
    def account(self) -> str:
        """A sentence for the run of a job that went down with it."""
        memory = f" (peak memory {self.peak_rss_bytes / 1e6:,.0f} MB)" if self.peak_rss_bytes else ""
        return f"Its process died: {self.cause}{memory}."


@dataclass(frozen=True, slots=True)
class Burial:
    """What to do: attempts that end by themselves, then all others, of which those `started` leave a run."""

    endings: Endings | None
    started: list[int]
    suspects: list[int]
    outcome: str
    error: str


def bury(death: Death, marks: Sequence[Mark]) -> Burial:
    """Judges by what each attempt was doing.

    Attempts that the executor was killed for end as that says, and nobody else is suspected. Else a sole running
    attempt is the culprit and crashed; of several each becomes a suspect, uncharged, and next runs alone. Handlers
    that had returned and jobs that had not begun had no part in it.
    """
    running = [mark for mark in marks if mark.running]
    verdicts = {mark.id: death.sentences[mark.id, mark.attempt] for mark in running if _key(mark) in death.sentences}
    suspects: list[int] = []
    if not verdicts and not death.planned:
        if len(running) == 1:
            verdicts = {running[0].id: "crashed"}
        else:
            suspects = [mark.id for mark in running]
    told = death.planned or bool(death.sentences)
    return Burial(
        _endings(death, [mark for mark in running if mark.id in verdicts], verdicts),
        [mark.id for mark in marks if mark.started and mark.id not in verdicts],
        suspects,
        "released" if told else "lost",
        _farewell(death) if told else death.account,
    )


def _farewell(death: Death) -> str:
    if death.sentences:
        return "Its executor was ended because another job in it would not stop."
    return "The worker shut down before it ended."


def _endings(death: Death, marks: Sequence[Mark], verdicts: Mapping[int, str]) -> Endings | None:
    if not marks:
        return None
    now = time.monotonic()
    endings = Endings()
    for mark in sorted(marks):
        outcome = verdicts[mark.id]
        endings.ids.append(mark.id)
        endings.attempts.append(mark.attempt)
        endings.started.append(now - mark.started_at)
        endings.ended.append(0.0)
        endings.outcomes.append(outcome)
        endings.finals.append(outcome == "cancelled")
        endings.delays.append(None)
        endings.error_types.append(_TYPES[outcome])
        endings.errors.append(_error(death, mark, outcome))
        endings.tracebacks.append(death.evidence)
        endings.cpu_seconds.append(None)
        endings.peak_rss_bytes.append(death.peak_rss_bytes)
    return endings


_TYPES = {"crashed": "ProcessDied", "timeout": "JobTimeout", "cancelled": "JobCancelled"}


def _error(death: Death, mark: Mark, outcome: str) -> str:
    if outcome == "timeout":
        return f"It ran longer than its timeout of {mark.timeout:g} s and would not stop: its process was ended."
    if outcome == "cancelled":
        return "It was asked to stop and did not: its process was ended."
    return death.account


def _key(mark: Mark) -> Key:
    return (mark.id, mark.attempt)
