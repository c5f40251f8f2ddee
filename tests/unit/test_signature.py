"""What arguments a task takes, and what it says about those that do not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest

from pgtask import JobContext, PayloadError, PgTask, TaskError
from pgtask.model.signature import Signature

if TYPE_CHECKING:
    from decimal import Decimal


def signature(function: Any) -> Signature:
    return Signature(function, "t", JobContext)


def plain(to: str, count: int = 1, *, urgent: bool = False) -> None: ...


def open_ended(to: str, **rest: Any) -> None: ...


def with_context(ctx: JobContext, to: str) -> None: ...


def with_named_context(to: str, anything: JobContext) -> None: ...


def unresolvable(price: Decimal) -> None: ...


def nothing() -> None: ...


def rich(
    a: str, b: int | None, c: list[int], d: Literal["x", "y"], e: float, f: dict[str, Any], g: Any, h: tuple[int, ...]
) -> None: ...


def test_arguments_that_fit_are_taken() -> None:
    signature(plain).check({"to": "x"})
    signature(plain).check({"to": "x", "count": 2, "urgent": True})
    signature(open_ended).check({"to": "x", "whatever": 1})
    signature(with_context).check({"to": "x"})
    signature(nothing).check({})


@pytest.mark.parametrize(
    ("function", "arguments", "words"),
    [
        (plain, {}, "'to' is missing. It takes: to, count, urgent."),
        (plain, {"to": "x", "a": 1}, "'a' is unknown."),
        (plain, {"a": 1, "b": 2}, "'to' is missing and 'a', 'b' are unknown."),
        (open_ended, {"a": 1}, "'to' is missing."),
        (with_context, {"to": "x", "ctx": 1}, "'ctx' is unknown. It takes: to."),
        (nothing, {"a": 1}, "It takes: no arguments."),
    ],
)
def test_arguments_that_do_not_fit_are_named(function: Any, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(PayloadError) as caught:
        signature(function).check(arguments)

    assert words in str(caught.value)


def test_the_context_is_found_by_its_annotation() -> None:
    assert signature(with_context).context_parameter == "ctx"
    assert signature(with_named_context).context_parameter == "anything"
    assert signature(plain).context_parameter is None


def test_the_schema_tells_what_json_a_payload_must_be() -> None:
    assert signature(rich).schema == {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "c": {"type": "array"},
            "d": {"enum": ["x", "y"]},
            "e": {"type": "number"},
            "f": {"type": "object"},
            "g": {},
            "h": {"type": "array"},
        },
        "required": ["a", "b", "c", "d", "e", "f", "g", "h"],
        "additionalProperties": False,
    }
    assert signature(open_ended).schema["additionalProperties"] is True
    assert signature(plain).schema["required"] == ["to"]


def test_annotations_that_cannot_be_resolved_do_no_harm() -> None:
    assert signature(unresolvable).schema["properties"] == {"price": {}}


@pytest.mark.parametrize("source", ["lambda a, /: None", "lambda *a: None"])
def test_a_function_that_cannot_be_called_by_keywords_is_no_task(source: str) -> None:
    with pytest.raises(TaskError, match="cannot be given by keyword"):
        PgTask().task(name="t")(eval(source))


def test_a_task_is_named_once_and_within_bounds() -> None:
    app = PgTask()
    app.task(plain)
    assert f"{__name__}.plain" in app.tasks
    with pytest.raises(TaskError, match="declared twice"):
        app.task(plain)
    with pytest.raises(TaskError, match="pass name="):
        app.task(lambda: None)
    with pytest.raises(TaskError, match="256 bytes"):
        app.task(name="ö" * 129)(plain)
    for options in ({"max_retries": -2}, {"timeout": 0}, {"priority": 1000}):
        with pytest.raises(TaskError, match="Task other"):
            app.task(name="other", **options)(plain)  # type: ignore[call-overload]


def test_a_task_can_be_called_as_the_function_it_is() -> None:
    task = PgTask().task(name="t")(lambda a, b=2: (a, b))

    assert task(1) == (1, 2)
