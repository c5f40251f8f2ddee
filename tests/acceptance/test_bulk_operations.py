"""Bulk operations are worked off by real workers, each job once, however they die."""

from __future__ import annotations

import os
import signal
from typing import Any

import psycopg

from tests.acceptance.operated import Fleet
from tests.command_line import answer, run
from tests.rows import insert, number
from tests.support import eventually

Connection = psycopg.Connection[Any]


def test_an_operation_survives_those_who_work_on_it(workers: Fleet, connection: Connection) -> None:
    """Its worker is killed while a chunk is under way; another one goes on where the last chunk ended."""
    insert(connection, "nobody knows", queue="mail", count=3000)
    # Someone else holds the last job, so that the chunk it is in waits.
    with psycopg.connect(workers.url) as holder:
        holder.execute("SELECT FROM pgtask.jobs WHERE id = (SELECT min(id) FROM pgtask.jobs) FOR UPDATE")
        made = answer(run(workers.url, "jobs", "cancel", "--queue", "mail", "-y", "--detach", "--json"))
        assert (made["status"], made["matched"]) == ("pending", 3000)
        first = workers.start("--processes", "1", "--lease", "2")
        eventually(lambda: number(connection, "SELECT processed FROM pgtask.bulk_operations") == 2500, 20)
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
    workers.start("--processes", "1", "--lease", "2")

    ended = "SELECT count(*) FROM pgtask.bulk_operations WHERE status = 'completed' AND processed = 3000"
    eventually(lambda: number(connection, ended) == 1, 30)
    assert number(connection, "SELECT (answers ->> 'cancelled')::int FROM pgtask.bulk_operations") == 3000
    assert number(connection, "SELECT count(*) FROM pgtask.runs WHERE final AND status = 'cancelled'") == 3000
    assert number(connection, "SELECT count(DISTINCT job_id) FROM pgtask.runs") == 3000
