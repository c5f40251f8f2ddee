"""What workers over HTTP tell: that they live, how far their jobs are, how these ended, and that they leave."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pgtask.database.outcomes import Notes
from pgtask.database.ownership import Beat, Pair
from pgtask.database.remote import HeldJob, RemoteConnection, RemoteWorker
from pgtask.engine.context import MAX_LINE, MAX_LINES
from pgtask.engine.counter import Counter
from pgtask.engine.remote_endings import Ending, Settled, hand_in
from pgtask.model.payload import clean_text

MAX_MESSAGE = 500


class LogLine(NamedTuple):
    """A line of a job's log; `line` None means the next one."""

    level: str
    message: str
    line: int | None = None


def find(counter: Counter, worker_id: int) -> RemoteWorker | None:
    """A worker's row, of whatever kind it is."""
    with counter.pool.connection(worker_id) as connection:
        return connection.find(worker_id)


def heartbeat(
    counter: Counter,
    worker: RemoteWorker,
    named: Iterable[Pair],
    *,
    cpu_percent: float | None = None,
    rss_bytes: int | None = None,
    quiet: bool = False,
    counts: tuple[int | None, int | None] = (None, None),
) -> Beat:
    """Renews a worker's lease, and gives back what it was given before its last heartbeat and does not name.

    `counts` are the attempts that have completed and failed there, None what was told before.
    """
    pairs = sorted(set(named))
    with counter.pool.connection(worker.id) as connection, connection.transaction():
        beat, forgotten = connection.beat(
            worker, pairs, cpu_percent=cpu_percent, rss_bytes=rss_bytes, quiet=quiet, counts=counts
        )
        settled = _give_back(connection, forgotten, "The worker named it no more.")
    _rouse(counter, settled)
    return beat


def sign_off(counter: Counter, worker: RemoteWorker) -> None:
    """Ends a worker's lease and gives back what it may still hold."""
    with counter.pool.connection(worker.id) as connection, connection.transaction():
        settled = _give_back(connection, connection.end_worker(worker), "The worker shut down before it ended.")
    _rouse(counter, settled)


def _give_back(connection: RemoteConnection, pairs: Mapping[Pair, bool], error: str) -> dict[Pair, Settled]:
    endings = [
        Ending(id, attempt, "released", error=error if started else None, started=started)
        for (id, attempt), started in pairs.items()
    ]
    return hand_in(connection, endings) if endings else {}


def end(counter: Counter, worker: RemoteWorker, endings: Sequence[Ending]) -> dict[Pair, Settled]:
    """Ends attempts of a worker, as far as they are its own; told once more, it says what came of them."""
    with counter.pool.connection(worker.id) as connection:
        settled = hand_in(connection, endings)
    _rouse(counter, settled)
    return settled


def _rouse(counter: Counter, settled: Mapping[Pair, Settled]) -> None:
    if any(one.charged for one in settled.values()):
        counter.queues_changed()
    elif any(one.freed for one in settled.values()):
        counter.freed()


def note(
    counter: Counter,
    worker: RemoteWorker,
    key: Pair,
    percent: int | None,
    message: str | None,
    lines: Sequence[LogLine],
) -> HeldJob | None:
    """Writes down how far an attempt is, and lines of its log; None for one that is not the worker's."""
    with counter.pool.connection(worker.id) as connection:
        job = connection.held([key]).get(key)
        if job is None:
            return None
        notes = Notes(logs=_numbered(job, lines))
        if percent is not None or message is not None:
            text = job.progress_message if message is None else clean_text(message, MAX_MESSAGE)
            notes.progress[job.id] = (job.attempt, (job.progress or 0) if percent is None else percent, text)
        if notes.progress or notes.logs:
            connection.exchange(None, None, notes, None, [])
    return job


def _numbered(job: HeldJob, lines: Sequence[LogLine]) -> list[tuple[int, float, int, int, str, str]]:
    made = []
    number, now = job.last_line, time.monotonic()
    for line in lines:
        number = line.line or number + 1
        if number < MAX_LINES:
            made.append((job.id, now, job.attempt, number, line.level, clean_text(line.message, MAX_LINE)))
        elif number == MAX_LINES:
            text = f"Further lines of this attempt are not kept (the limit is {MAX_LINES})."
            made.append((job.id, now, job.attempt, number, "warning", text))
    return made
