"""Progress and log lines on their way: not too often, the newest progress only, nothing lost when writing fails."""

from __future__ import annotations

import time

import pytest

from pgtask.database.outcomes import Notes
from pgtask.engine.attempt import Attempt
from pgtask.engine.context import MAX_LINES, JobContext
from pgtask.engine.notes import Notebook


def attempt(id: int = 1, number: int = 1) -> Attempt:
    return Attempt(id, number, "t", "q", 1, {}, None, 0, 0.0)


def context(notebook: Notebook, of: Attempt | None = None) -> JobContext:
    return JobContext(of or attempt(), notebook.progress, notebook.log)


def now() -> float:
    return time.monotonic()


def test_the_first_note_is_due_at_once_and_further_ones_twice_a_second() -> None:
    notebook = Notebook()
    assert notebook.take(now()) is None
    context(notebook).progress(10)
    assert notebook.take(now()) == Notes(progress={1: (1, 10, None)})
    context(notebook).progress(20)

    assert notebook.take(now()) is None
    assert 0 < (notebook.pause(None, now()) or 0) <= 0.5
    assert notebook.take(now() + 0.5) == Notes(progress={1: (1, 20, None)})
    assert notebook.pause(None, now()) is None


def test_what_ends_takes_all_its_notes_along() -> None:
    notebook = Notebook()
    context(notebook).progress(10)
    notebook.take(now())
    context(notebook).progress(100)

    assert notebook.take(float("inf")) == Notes(progress={1: (1, 100, None)})


def test_a_pause_is_shortened_for_notes_that_are_due_before_its_end() -> None:
    notebook = Notebook()
    assert notebook.pause(7.0, now()) == 7.0
    context(notebook).progress(10)
    assert notebook.pause(7.0, now()) == 0.0


def test_only_the_newest_progress_counts() -> None:
    notebook = Notebook()
    for percent in (10, 20, 30.9):
        context(notebook).progress(percent, f"at {percent}")
    context(notebook, attempt(2)).progress(5)

    notes = notebook.take(now())

    assert notes == Notes(progress={1: (1, 30, "at 30.9"), 2: (1, 5, None)})


def test_notes_that_could_not_be_written_come_again_unless_there_are_newer_ones() -> None:
    notebook = Notebook()
    first, second = context(notebook), context(notebook, attempt(2))
    first.progress(10)
    second.progress(15)
    first.log("one")
    failed = notebook.take(now())
    assert failed is not None
    first.progress(20)
    first.log("two", "error")

    notebook.restore(failed)

    notes = notebook.take(float("inf"))
    assert notes is not None
    assert notes.progress == {1: (1, 20, None), 2: (1, 15, None)}
    assert [(line[0], *line[2:]) for line in notes.logs] == [(1, 1, 1, "info", "one"), (1, 1, 2, "error", "two")]


@pytest.mark.parametrize("percent", [-1, 100.5, float("nan"), float("inf")])
def test_progress_out_of_range_is_the_handlers_mistake(percent: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        context(Notebook()).progress(percent)


def test_a_level_that_does_not_exist_is_the_handlers_mistake() -> None:
    with pytest.raises(ValueError, match="unknown level 'fatal'"):
        context(Notebook()).log("x", "fatal")


def test_texts_are_made_fit_to_be_stored() -> None:
    notebook = Notebook()
    context(notebook).progress(1, "a\0\ud800" + "x" * 10_000)
    context(notebook).log("a\0\ud800" + "x" * 10_000)

    notes = notebook.take(now())

    assert notes is not None
    message, line = str(notes.progress[1][2]), notes.logs[0][5]
    assert message.startswith("a␀?xxx")
    assert line.startswith("a␀?xxx")
    assert (len(message) < 600, len(line) < 4100) == (True, True)


def test_of_very_many_lines_the_last_one_says_that_there_were_more() -> None:
    notebook = Notebook()
    talkative = context(notebook)
    for n in range(MAX_LINES + 500):
        talkative.log(f"line {n}")

    notes = notebook.take(now())

    assert notes is not None
    assert [line[3] for line in notes.logs] == list(range(1, MAX_LINES + 1))
    assert "are not kept" in notes.logs[-1][5]
    assert notes.logs[-1][4] == "warning"
