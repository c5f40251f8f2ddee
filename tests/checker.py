"""Whether a history of jobs keeps pgtask's promises, whatever happened on the way.

Every job enqueued has ended exactly once; no attempt was recorded or begun twice; no handler was started more often
than retries, losses and releases account for; and what is recorded fits what the handlers themselves have written down.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.scene import Scene

CHARGED = ("failed", "timeout", "crashed")
UNCHARGED = ("lost", "released", "snoozed")


def check(
    connection: psycopg.Connection[Any], scene: Scene, ids: Iterable[int], *, faultless: bool = False
) -> list[dict[str, Any]]:
    """Checks the history of these jobs, all of which must have ended; returns their final runs.

    `faultless`: nothing happened to the workers, so that starts may not exceed 1 + retries.
    """
    wanted = sorted(ids)
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SELECT * FROM pgtask.runs WHERE job_id = ANY (%s) ORDER BY finished_at", [wanted])
        runs = cursor.fetchall()
    (left,) = connection.execute("SELECT count(*) FROM pgtask.jobs WHERE id = ANY (%s)", [wanted]).fetchone() or (0,)
    problems = [f"{left} jobs have not ended"] if left else []

    of_job: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        of_job[run["job_id"]].append(run)
    starts = Counter((entry.id, entry.attempt) for entry in scene.entries())
    begun: defaultdict[int, set[int]] = defaultdict(set)
    for id, attempt in starts:
        begun[id].add(attempt)
    for id in wanted:
        of_this, ledger = of_job[id], begun[id]
        problems += [
            f"job {id} attempt {attempt} began {starts[id, attempt]} times"
            for attempt in ledger
            if starts[id, attempt] > 1
        ]
        problems += [f"job {id}: {text}" for text in _problems(of_this, len(ledger), faultless=faultless)]
        recorded = {run["attempt"] for run in of_this}
        problems += [f"job {id} attempt {attempt} began but left no run" for attempt in ledger - recorded]
        problems += [
            f"job {id} attempt {run['attempt']} completed but never began"
            for run in of_this
            if run["outcome"] == "completed" and run["attempt"] not in ledger
        ]
    assert not problems, f"{len(problems)} problems: " + "; ".join(problems[:10])
    return [run for run in runs if run["final"]]


def _problems(runs: list[dict[str, Any]], starts: int, *, faultless: bool) -> list[str]:
    finals = [run for run in runs if run["final"]]
    if len(finals) != 1:
        return [f"{len(finals)} final runs"]
    (final,) = finals
    attempts = [run["attempt"] for run in runs if run["attempt"] is not None]
    charged = sum(run["outcome"] in CHARGED for run in runs)
    uncharged = sum(run["outcome"] in UNCHARGED for run in runs)
    found = []
    if len(attempts) != len(set(attempts)):
        found.append(f"attempts {sorted(attempts)} repeat")
    if final["attempt"] is not None and final["attempt"] != max(attempts):
        found.append(f"attempt {final['attempt']} is final, but {max(attempts)} came after it")
    if final["retry_count"] != charged:
        found.append(f"charged with {final['retry_count']} retries for {charged} failed attempts")
    if starts > 1 + charged + uncharged:
        found.append(f"begun {starts} times with {charged} failures and {uncharged} losses or releases")
    if faultless and uncharged:
        found.append(f"{uncharged} losses or releases without a fault")
    return found
