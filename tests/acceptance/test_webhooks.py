"""Webhooks as workers send them: nothing is lost when the one that sends dies."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import psycopg

from pgtask.database import webhooks
from tests.acceptance.fleet import Make
from tests.receiver import allow_loopback, jobs_told, verified
from tests.rows import insert, number
from tests.site import serving
from tests.support import eventually

Connection = psycopg.Connection[Any]


def test_each_ended_job_arrives_though_the_sender_is_killed(make_worker: Make, connection: Connection) -> None:
    allow_loopback(connection)
    with serving() as site:
        secret = webhooks.create(connection, "w", f"http://127.0.0.1:{site.port}/")
        workers = {worker.ready(): worker for worker in (make_worker(lease=3.0), make_worker(lease=3.0))}
        jobs = insert(connection, "quick", count=200)
        eventually(lambda: len(site.requests) >= 20, 30)

        workers[number(connection, "SELECT holder FROM pgtask.leader WHERE name = 'webhooks'")].kill()
        jobs += insert(connection, "quick", count=50)
        eventually(lambda: {*jobs_told(site)} >= {*jobs}, 60)

        ended = [request for request in site.requests if json.loads(request.body)["data"]["outcome"] == "completed"]
        assert Counter(verified(request, secret)["data"]["id"] for request in ended).keys() == {*jobs}
        # What is sent twice says so by its id, and each comes in its turn.
        firsts = list(dict.fromkeys(request.headers["webhook-id"] for request in site.requests))
        assert firsts == sorted(firsts, key=lambda id: tuple(map(int, id.removeprefix("evt_").split("-"))))
