"""Keys from payloads: the same from every client and for every form of a payload, and another for other values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgtask import PgTask, Unique
from pgtask.engine.task import Task
from tests.rows import live

Connection = psycopg.Connection[Any]


@pytest.fixture
def app(database: str) -> Iterator[PgTask]:
    with PgTask(database) as app:
        yield app


@pytest.fixture
def task(app: PgTask) -> Task[Any]:
    @app.task(name="t")
    def take(**values: Any) -> None:
        """Takes anything."""

    return take


def key(connection: Connection, payload: str, paths: list[str], task: str = "t") -> str:
    """The key that SQL makes of the text of a payload."""
    row = connection.execute("SELECT pgtask.payload_key(%s, %s::jsonb, %s::text[])", [task, payload, paths]).fetchone()
    assert row is not None
    return str(row[0])


WHOLE: list[str] = []

SAME = [
    ('{"a": 1, "bb": 2}', '{"bb":2,"a":1}', WHOLE),
    ('{"a": {"y": 1, "x": [1, 2]}}', '{"a": {"x": [1, 2], "y": 1}}', WHOLE),
    *(('{"n": 1}', f'{{"n": {form}}}', WHOLE) for form in ("1.0", "1.000", "1e0", "10e-1", "0.1e1")),
    *(('{"n": 150}', f'{{"n": {form}}}', ["n"]) for form in ("150.0", "1.5e2", "15E+1")),
    *(('{"n": [-0.25]}', f'{{"n": [{form}]}}', WHOLE) for form in ("-0.250", "-25e-2", "-2.5E-1")),
    ('{"n": 0}', '{"n": -0.0}', WHOLE),
    ('{"n": 10000000000000000000000}', '{"n": 1e22}', WHOLE),
    ('{"t": "ö"}', '{"t": "\\u00f6"}', WHOLE),
    ('{"t": "😀"}', '{"t": "\\ud83d\\ude00"}', ["t"]),
    ('{"t": "a/b"}', '{"t": "a\\/b"}', WHOLE),
    ('{"a": 1, "a": 2}', '{"a": 2}', WHOLE),
    ('{"a": 1, "other": 2}', '{"a": 1, "other": 3}', ["a"]),
    ('{"a": null}', "{}", ["a"]),
    ('{"a": {"b": null}}', '{"a": 7}', ["a.b"]),
    ('{"a": {"b": {"c": "x"}, "d": 1}}', '{"a": {"b": {"c": "x"}}}', ["a.b.c"]),
    ('{"a": [{"id": 7}, 1]}', '{"a": [{"id": 7, "x": 1}, 2]}', ["a.0.id"]),
]
OTHERS = [
    ('{"a": 1}', '{"a": "1"}', WHOLE),
    ('{"a": 1.05}', '{"a": 1.5}', WHOLE),
    ('{"a": 100}', '{"a": 1}', WHOLE),
    ('{"a": 10.01}', '{"a": 10.1}', WHOLE),
    ('{"a": "1.0"}', '{"a": "1"}', WHOLE),
    ('{"a": "say \\"1.50\\""}', '{"a": "say \\"1.5\\""}', WHOLE),
    ('{"a": "\\\\", "b": "1.0"}', '{"a": "\\\\", "b": "1"}', WHOLE),
    ('{"1.0": 1}', '{"1": 1}', WHOLE),
    ('{"a": [1, 2]}', '{"a": [2, 1]}', WHOLE),
    ('{"a": [1, [2]]}', '{"a": [[1], 2]}', WHOLE),
    ('{"a": null}', "{}", WHOLE),
    ('{"a": true}', '{"a": 1}', ["a"]),
    ('{"a": 1, "b": 2}', '{"a": 2, "b": 1}', ["a", "b"]),
    ('{"t": "é"}', '{"t": "e\\u0301"}', WHOLE),
    ('{"a": "a"}', '{"a": "A"}', WHOLE),
]


@pytest.mark.parametrize(("one", "other", "paths"), SAME)
def test_forms_of_one_payload_have_one_key(one: str, other: str, paths: list[str], reader: Connection) -> None:
    assert key(reader, one, paths) == key(reader, other, paths)


@pytest.mark.parametrize(("one", "other", "paths"), OTHERS)
def test_other_payloads_have_other_keys(one: str, other: str, paths: list[str], reader: Connection) -> None:
    assert key(reader, one, paths) != key(reader, other, paths)


def test_a_key_is_of_its_task_and_its_paths_in_any_order(reader: Connection) -> None:
    payload = '{"a": 1, "b": 1}'
    own = key(reader, payload, ["a", "b"])

    assert len(own) == 64
    assert own == key(reader, payload, ["b", "a"]) == key(reader, payload, ["a", "b", "a"])
    others = {key(reader, payload, paths) for paths in (["a"], ["b"], WHOLE)} | {
        key(reader, payload, ["a", "b"], "other")
    }
    assert len(others | {own}) == 5


VALUES: list[Any] = [
    1,
    1.0,
    -0.0,
    0.1,
    1e22,
    123456789.125,
    10**25,
    None,
    True,
    'ö 😀 \n\t\\" 1.0',
    {"nested": {"b": [1.5, {"z": 1, "a": 2.0}], "a": "x"}},
    [],
    {},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("by", [["value"], True], ids=["path", "whole"])
def test_python_and_sql_have_the_same_key(value: Any, by: Any, task: Task[Any], connection: Connection) -> None:
    job = task.options(unique_by=by).enqueue(value=value)
    row = live(connection, job.id)

    text = connection.execute("SELECT payload::text FROM pgtask.jobs").fetchone()
    assert text is not None
    assert row["unique_key"] == key(connection, text[0], [] if by is True else by)
    found = connection.execute(
        "SELECT pgtask.enqueue('t', %s::jsonb, unique_by => %s)", [text[0], [] if by is True else by]
    )
    assert found.fetchone() == (job.id,)


def test_a_whole_number_is_the_same_from_python_as_float_and_as_integer(task: Task[Any]) -> None:
    first = task.options(unique_by=["n"]).enqueue(n=1, other="a")

    assert task.options(unique_by=["n"]).enqueue(n=1.0, other="b").id == first.id
    assert task.options(unique_by=["n"]).enqueue(n="1").created


def test_all_of_the_payload_may_be_said_in_two_ways(task: Task[Any]) -> None:
    first = task.options(unique_by=True).enqueue(a=1)

    assert task.options(unique_by=[]).enqueue(a=1).id == first.id
    assert task.options(unique_by=[]).enqueue(a=1, b=2).created


def test_a_large_payload_has_a_key(app: PgTask) -> None:
    @app.task(name="large", unique=Unique(by=True))
    def large(**values: Any) -> None: ...

    payload = {f"k{n}": [n * 1.5, "1.0" * 5] for n in range(20_000)}
    first = large.enqueue(**payload)

    assert not large.enqueue(**dict(reversed(payload.items()))).created
    assert large.enqueue(**payload | {"k0": [0.5, "1.0" * 5]}).id != first.id
