"""Progress and log lines of running jobs: fenced, each line once, kept with the attempt."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg

from pgtask.database.outcomes import Completions, Notes
from tests.integration.conftest import Work
from tests.rows import ended, insert, live

Connection = psycopg.Connection


def write(work: Work, notes: Notes, completions: Completions | None = None) -> None:
    work.connection.exchange(completions, None, notes, None, ["t"])


def test_progress_is_written_to_the_running_job(work: Work, connection: Connection) -> None:
    first, second, third = insert(connection, "t", count=3)
    work.claim()

    write(work, Notes(progress={first: (1, 40, "half"), second: (1, 100, None)}))

    shown = [
        (live(connection, id)["progress"], live(connection, id)["progress_message"]) for id in (first, second, third)
    ]
    assert shown == [(40, "half"), (100, None), (None, None)]


def test_progress_of_a_job_that_is_no_longer_ours_is_dropped(
    work: Work, make_work: Callable[..., Work], connection: Connection
) -> None:
    (id,) = insert(connection, "t")
    work.claim()

    write(work, Notes(progress={id: (2, 40, "a later attempt")}))
    write(make_work(), Notes(progress={id: (1, 50, "another worker")}))
    work.end(id, 1, "released")
    write(work, Notes(progress={id: (1, 60, "too late")}))

    assert live(connection, id)["progress"] is None


def test_the_last_progress_stays_with_the_final_run(work: Work, connection: Connection) -> None:
    (id,) = insert(connection, "t")
    work.claim()

    write(work, Notes(progress={id: (1, 90, "nearly")}), Completions([id], [1], [0.5], [0.1], [None]))

    run = ended(connection, id)
    assert (run["progress"], run["progress_message"], run["status"]) == (90, "nearly", "completed")


def test_log_lines_are_kept_with_the_attempt_each_once(work: Work, connection: Connection) -> None:
    (id,) = insert(connection, "t")
    now = time.monotonic()
    lines = [(id, now - 60, 1, 1, "info", "begun"), (id, now, 1, 2, "error", 'odd: {"}, ö \\ ,')]

    write(work, Notes(logs=lines))
    write(work, Notes(logs=[*lines, (id, now, 2, 1, "debug", "again")]))  # the first answer was lost

    stored = connection.execute(
        "SELECT job_id, attempt, line, level, message, round(extract(epoch FROM now() - logged_at)) "
        "FROM pgtask.job_logs ORDER BY attempt, line"
    ).fetchall()
    assert [row[:5] for row in stored] == [
        (id, 1, 1, "info", "begun"),
        (id, 1, 2, "error", 'odd: {"}, ö \\ ,'),
        (id, 2, 1, "debug", "again"),
    ]
    assert 58 <= stored[0][5] <= 62
    assert -2 <= stored[1][5] <= 2
