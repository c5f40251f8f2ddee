"""A job is the same row of pgtask.jobs, by whichever door it came."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

import pgtask
from pgtask import PgTask
from tests.api_client import Api
from tests.command_line import answer, run
from tests.rows import live

LATER = "2040-05-06T07:08:09+02:00"
TASK = "mail.send"

Options = dict[str, Any]

SETS: dict[str, tuple[dict[str, Any], Options]] = {
    "nothing": ({}, {}),
    "payload": ({"to": "ä\u2028 \\ \"'", "n": 10**30, "f": 0.1, "deep": [{"a": [None, True]}]}, {}),
    "queue": ({"n": 1}, {"queue": "bulk", "priority": 3}),
    "delay": ({"n": 1}, {"delay": 90.5}),
    "instant": ({"n": 1}, {"scheduled_at": LATER, "tags": ["a", "b c", '"d"']}),
    "retries": (
        {"n": 1},
        {"max_retries": -1, "retry_strategy": "linear", "retry_delay": 2.5, "max_retry_delay": 60.0, "timeout": 30.25},
    ),
    "limits": (
        {"n": 1},
        {"timeout": 3600.0, "concurrency_key": "shop 7", "start_by": LATER, "traceparent": "00-ab-cd-01"},
    ),
    "key": ({"n": 1}, {"unique_key": "only one"}),
    "by": ({"n": 1.50, "f": 2}, {"unique_by": ["n", "f"], "unique_scope": "until_success"}),
    "window": ({"n": 1}, {"unique_key": "k", "unique_window": 600.0, "on_conflict": "replace", "max_retries": 0}),
}
DURATIONS = ("delay", "retry_delay", "max_retry_delay", "timeout", "unique_window", "max_wait", "expires")

Door = Callable[[str, Api, dict[str, Any], Options], int | None]
"""Enqueues a job and gives its id, None where this door has no words for these options."""


def by_sql(url: str, api: Api, payload: dict[str, Any], options: Options) -> int | None:
    arguments: dict[str, Any] = {
        name: sql.SQL("make_interval(secs => {})").format(value) if name in DURATIONS else sql.Literal(value)
        for name, value in options.items()
    }
    named = sql.SQL("").join(
        sql.SQL(", {} => {}").format(sql.Identifier(name), value) for name, value in arguments.items()
    )
    statement = sql.SQL("SELECT pgtask.enqueue({}, {}::jsonb{})").format(
        TASK, json.dumps(payload, ensure_ascii=False), named
    )
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row[0])


def by_python(url: str, api: Api, payload: dict[str, Any], options: Options) -> int | None:
    given = dict(options)
    for name in ("scheduled_at", "start_by"):
        if name in given:
            given[name] = datetime.fromisoformat(given[name])
    if "retry_strategy" in given:
        given.pop("retry_strategy")
        given["retry"] = pgtask.Retry.linear(given.pop("retry_delay"), max_delay=given.pop("max_retry_delay"))
    with PgTask(url) as app:

        @app.task(name=TASK, queue="mail", priority="high")
        def send(**arguments: Any) -> None:
            """Takes anything."""

        return send.options(**given).enqueue(**payload).id


def by_command(url: str, api: Api, payload: dict[str, Any], options: Options) -> int | None:
    if options.keys() & {"retry_strategy", "start_by"}:
        return None
    flags = {"scheduled_at": "at", "tags": "tag"}
    arguments = []
    for name, value in options.items():
        for item in value if isinstance(value, list) else [value]:
            arguments += [f"--{flags.get(name, name).replace('_', '-')}", str(item)]
    made = answer(run(url, "enqueue", TASK, json.dumps(payload), "--json", *arguments))
    return int(made["id"])


def by_rest(url: str, api: Api, payload: dict[str, Any], options: Options) -> int | None:
    made = api.post("/jobs", {"task": TASK, "payload": payload, **options})
    assert made.status_code == 201, made.text
    return int(made.get_json()["id"])


def by_bulk(url: str, api: Api, payload: dict[str, Any], options: Options) -> int | None:
    made = api.post("/jobs/bulk", {"jobs": [{"type": TASK, "payload": payload, **options}]})
    assert made.status_code == 201, made.text
    return int(made.get_json()["ids"][0])


def by_payloads(url: str, api: Api, payload: dict[str, Any], options: Options) -> int | None:
    if "unique_key" in options:
        return None
    made = api.post("/jobs/bulk", {"task": TASK, "payloads": [payload], **options})
    assert made.status_code == 201, made.text
    return int(made.get_json()["ids"][0])


@pytest.mark.parametrize("registered", [True, False], ids=["registered", "unknown"])
@pytest.mark.parametrize("name", SETS)
def test_a_job_is_the_same_row_by_every_door(
    name: str, registered: bool, api: Api, database: str, connection: psycopg.Connection
) -> None:
    payload, options = SETS[name]
    if registered:
        connection.execute(
            "INSERT INTO pgtask.tasks (name, queue, priority, max_retries, timeout, payload_schema) "
            "VALUES (%s, 'mail', 2, 7, 77, %s)",
            [TASK, Jsonb({"type": "object", "properties": {}, "required": [], "additionalProperties": True})],
        )
    elif "queue" not in options:
        # Python knows the task's defaults without a row of the database.
        options = options | {"queue": "mail", "priority": 2}

    found = {}
    for door in (by_sql, by_python, by_command, by_rest, by_bulk, by_payloads):
        id = door(database, api, payload, options)
        if id is not None:
            found[door.__name__] = _row(connection, id)
        connection.execute("DELETE FROM pgtask.jobs; DELETE FROM pgtask.unique_keys")

    expected = found.pop("by_sql")
    assert expected["queue"] == options.get("queue", "mail")
    assert len(found) >= 3
    for name_of_door, row in found.items():
        assert row == expected, name_of_door


def _row(connection: psycopg.Connection, id: int) -> dict[str, Any]:
    row = live(connection, id)
    made = row.pop("created_at")
    row.pop("id")
    row["scheduled_at"] = row["scheduled_at"] if row["scheduled_at"].year == 2040 else row["scheduled_at"] - made
    if row["unique_until"] is not None:
        row["unique_until"] -= made
    row["payload"] = _text(connection, id)
    return row


def _text(connection: psycopg.Connection, id: int) -> str:
    found = connection.execute("SELECT payload::text FROM pgtask.jobs WHERE id = %s", [id]).fetchone()
    assert found is not None
    return str(found[0])
