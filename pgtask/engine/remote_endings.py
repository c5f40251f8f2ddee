"""Handing in how attempts ended that run elsewhere, in batches, each of them once however often it is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pgtask.database.connection import refusal
from pgtask.database.outcomes import Completions, Endings, Report
from pgtask.database.ownership import Pair
from pgtask.database.remote import HeldJob, OwnRun, RemoteConnection

REFUSED = "ResultRefused"
_CHARGED = frozenset({"failed", "timeout"})


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended. `seconds` is how long it ran, None for since its claim; texts are fit to be stored.

    `final` ends the job whatever retries are left, `delay` (seconds) replaces the backoff; one that is not `started`
    leaves no run.
    """

    id: int
    attempt: int
    outcome: str = "completed"
    result: str | None = None
    error_type: str | None = None
    error: str | None = None
    traceback: str | None = None
    final: bool = False
    delay: float | None = None
    seconds: float | None = None
    started: bool = True

    @property
    def key(self) -> Pair:
        """The fencing pair (job id, attempt)."""
        return (self.id, self.attempt)


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of an attempt: its outcome, whether its job has ended with it, and whether that was so before.

    `outcome` None: it was not this worker's to end. `freed`: it made room in a limit. `charged`: it may have opened the
    circuit of its task.
    """

    outcome: str | None = None
    final: bool = False
    repeated: bool = False
    freed: bool = False
    charged: bool = False


def hand_in(connection: RemoteConnection, endings: Iterable[Ending]) -> dict[Pair, Settled]:
    """Ends attempts of the worker that the connection acts for; what is not its own any more is left as it is.

    Of two attempts at one job only the newer one can be its own. What PostgreSQL refuses to store is a failure.
    """
    given = sorted(endings, key=lambda ending: ending.key)
    newest = {ending.id: ending for ending in given}
    held = connection.held([ending.key for ending in newest.values()])
    taken = _send(connection, [ending for ending in newest.values() if ending.key in held], held)
    asked = [ending for ending in given if taken.get(ending.key) != "completed"]
    runs = connection.own_runs([ending.key for ending in asked]) if asked else {}
    return {ending.key: _settled(ending, taken, held, runs.get(ending.key)) for ending in given}


def _settled(ending: Ending, taken: Mapping[Pair, str], held: Mapping[Pair, HeldJob], run: OwnRun | None) -> Settled:
    outcome = taken.get(ending.key)
    if outcome is None:
        known = run is not None and _is_that(ending, run)
        return Settled(run.outcome, run.final, repeated=True) if run and known else Settled()
    job = held[ending.key]
    if outcome == "completed":
        return Settled(outcome, final=True, freed=job.limited)
    if run is not None:
        charged = job.guarded and run.outcome in _CHARGED
        return Settled(run.outcome, run.final, freed=job.limited, charged=charged)
    # What never began leaves no run of its own.
    return Settled("cancelled" if job.cancel else outcome, final=job.cancel, freed=job.limited)


def _is_that(ending: Ending, run: OwnRun) -> bool:
    """Whether a run is what the ending became when it was told before. Others may have ended the attempt, too."""
    if ending.outcome == "completed":
        return run.outcome == "completed" or run.error_type == REFUSED
    return run.outcome in (ending.outcome, "cancelled")


def _send(connection: RemoteConnection, endings: Sequence[Ending], held: Mapping[Pair, HeldJob]) -> dict[Pair, str]:
    """Sends a batch; returns which of them were taken, and as what."""
    if not endings:
        return {}
    try:
        return _exchange(connection, endings, held)
    except Exception as error:
        reason = refusal(error)
        if reason is None:
            raise
    # Nothing of it happened; one attempt's data must not hold up the others.
    if len(endings) > 1:
        return {pair: one for ending in endings for pair, one in _send(connection, [ending], held).items()}
    failed = replace(
        endings[0],
        outcome="failed",
        result=None,
        error_type=REFUSED,
        error=f"PostgreSQL refused what the worker gave: {reason}",
        traceback=None,
    )
    return _exchange(connection, [failed], held)


def _exchange(connection: RemoteConnection, endings: Sequence[Ending], held: Mapping[Pair, HeldJob]) -> dict[Pair, str]:
    done = [ending for ending in endings if ending.outcome == "completed"]
    rest = [ending for ending in endings if ending.outcome != "completed"]
    exchanged = connection.exchange(
        _completions(done, held) if done else None,
        _endings(rest, held) if rest else None,
        None,
        None,
        [],
        limited=[ending.key for ending in endings if held[ending.key].limited],
        report=_report(endings, held),
    )
    taken = exchanged.completed | exchanged.ended
    return {ending.key: ending.outcome for ending in endings if ending.id in taken}


def _age(ending: Ending, held: Mapping[Pair, HeldJob]) -> float:
    since_claim = held[ending.key].age
    return since_claim if ending.seconds is None else min(ending.seconds, since_claim)


def _completions(endings: Sequence[Ending], held: Mapping[Pair, HeldJob]) -> Completions:
    return Completions(
        ids=[ending.id for ending in endings],
        attempts=[ending.attempt for ending in endings],
        started=[_age(ending, held) for ending in endings],
        ended=[0.0] * len(endings),
        results=[ending.result for ending in endings],
    )


def _endings(endings: Sequence[Ending], held: Mapping[Pair, HeldJob]) -> Endings:
    nothing = [None] * len(endings)
    return Endings(
        ids=[ending.id for ending in endings],
        attempts=[ending.attempt for ending in endings],
        started=[_age(ending, held) if ending.started else None for ending in endings],
        ended=[0.0] * len(endings),
        outcomes=[ending.outcome for ending in endings],
        finals=[ending.final for ending in endings],
        delays=[ending.delay for ending in endings],
        advised=[False] * len(endings),
        error_types=[ending.error_type for ending in endings],
        errors=[ending.error for ending in endings],
        tracebacks=[ending.traceback for ending in endings],
        cpu_seconds=list(nothing),
        peak_rss_bytes=list(nothing),
    )


def _report(endings: Sequence[Ending], held: Mapping[Pair, HeldJob]) -> Report:
    """Successes and failures of tasks with a breaker, and each attempt, as any may be a probe."""
    counts: dict[str, list[int]] = {}
    for ending in endings:
        job = held[ending.key]
        if not job.guarded:
            continue
        successes, failures, streak = counts.get(job.task, (0, 0, 0))
        if ending.outcome == "completed":
            counts[job.task] = [successes + 1, failures, 0]
        elif ending.outcome in _CHARGED:
            counts[job.task] = [successes, failures + 1, streak + 1]
    return Report(
        tasks=list(counts),
        successes=[count[0] for count in counts.values()],
        failures=[count[1] for count in counts.values()],
        streaks=[count[2] for count in counts.values()],
        ids=[ending.id for ending in endings],
        attempts=[ending.attempt for ending in endings],
        outcomes=[ending.outcome for ending in endings],
    )
