from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pgtask.cli.keyboard import split_keys
from pgtask.cli.top_sections import FAILURES, QUEUES, RUNNING, SECTIONS, TASKS
from pgtask.cli.top_view import ViewState, screen
from pgtask.cli.watcher import Sight
from pgtask.model.event import JobEvent
from pgtask.model.overview import Overview
from pgtask.model.queue import QueueRecord
from pgtask.model.statistics import Bucket, Statistics, Tally

NOW = datetime.now(UTC)
DANGEROUS = "\x1b[2Jx\x07\u202e\n\x9b1m"


def event(id: int, **values: Any) -> JobEvent:
    usual: dict[str, Any] = {
        "at": NOW,
        "id": id,
        "task": "t",
        "queue": "q",
        "attempt": 1,
        "status": "failed",
        "outcome": "failed",
    }
    return JobEvent(**usual | {"seconds": 1.0, "worker_id": 1, "error_type": "Error", "error": "bad"} | values)


def queue(name: str) -> QueueRecord:
    usual: dict[str, Any] = dict.fromkeys(QueueRecord.__slots__)
    usual |= {"name": name, "priority": 0, "pending": 1234, "scheduled": 0, "retrying": 0, "running": 0, "workers": 1}
    return QueueRecord(**usual | {"pending_estimated": False, "counts_exact": True})


def overview(queues: int = 3, failures: int = 30) -> Overview:
    tasks = {"busy": Tally(completed=100, run_seconds=1), "slow": Tally(completed=1, run_seconds=60)}
    tasks["bad"] = Tally(failed=5, run_seconds=5)
    statistics = Statistics(
        window=1800.0,
        total=sum(tasks.values(), Tally()),
        by_queue={},
        by_task=tasks,
        timeline=[Bucket(began_at=NOW - timedelta(seconds=60), completed=120, unsuccessful=0)],
    )
    return Overview(
        at=NOW,
        queues=[queue(f"q{number}") for number in range(queues)],
        workers=[],
        statistics=statistics,
        running=[event(1, status="running", outcome=None, task=DANGEROUS)],
        failures=[event(100 + number, error=DANGEROUS, task="mail.send") for number in range(failures)],
    )


@pytest.mark.parametrize("width", [20, 40, 80, 140, 300])
@pytest.mark.parametrize("height", [3, 5, 8, 12, 24, 40, 100])
@pytest.mark.parametrize("section", range(len(SECTIONS)))
def test_the_screen_is_exactly_as_large_as_the_terminal(width: int, height: int, section: int) -> None:
    for sight in (
        Sight(),
        Sight(overview=overview()),
        Sight(overview=overview(200), away_since=1.0, trouble="x" * 500),
    ):
        lines = screen(sight, ViewState(section=section), width, height)
        assert len(lines) == height
        assert max(line.cell_len for line in lines) <= width


@pytest.mark.parametrize(("height", "hidden"), [(60, ""), (12, "3 Running (1) · 4 Tasks (3) · 5 Failures (30)")])
def test_what_there_is_no_room_for_is_named(height: int, hidden: str) -> None:
    lines = [line.plain for line in screen(Sight(overview=overview()), ViewState(), 80, height)]
    assert any(line.startswith("Hidden: ") for line in lines) == bool(hidden)
    assert hidden in lines[-2]


def test_nothing_in_a_job_steers_the_terminal() -> None:
    sight = Sight(overview=overview(), message=DANGEROUS, message_at=NOW.timestamp())
    for line in screen(sight, ViewState(), 140, 60):
        assert line.plain.isprintable()


@pytest.mark.parametrize("height", [12, 24, 60])
@pytest.mark.parametrize("steps", [0, 5, 29, 1000])
def test_the_selected_row_is_on_the_screen(height: int, steps: int) -> None:
    sight = Sight(overview=overview(queues=40))
    state = ViewState(section=FAILURES)
    state.move(overview(), steps)
    marked = [
        line for line in screen(sight, state, 80, height) if any("reverse" in str(span.style) for span in line.spans)
    ]
    assert [line.plain.split()[0] for line in marked] == [str(100 + min(steps, 29))]


def test_the_selection_stays_with_the_row_when_others_come_and_go() -> None:
    state = ViewState(section=QUEUES)
    state.move(overview(), 2)
    assert state.place(overview(), QUEUES) == 2
    fewer = replace(overview(), queues=[queue("q2")])
    assert state.place(fewer, QUEUES) == 0
    assert state.place(replace(overview(), queues=[queue("a"), queue("b")]), QUEUES) == 0


def test_tasks_can_be_ordered() -> None:
    names = [ViewState(order=order).rows(overview(), TASKS)[0][0] for order in range(3)]
    assert names == ["busy", "slow", "bad"]


def test_an_outage_is_told_with_the_last_known_values() -> None:
    away = Sight(overview=overview(), away_since=NOW.timestamp(), trouble="Cannot reach PostgreSQL")
    lines = [line.plain for line in screen(away, ViewState(section=RUNNING), 80, 24)]
    assert "Database away since" in lines[0]
    assert "3,702 pending" in lines[1]
    assert "Cannot reach PostgreSQL" in lines[-1]


def test_keys_are_told_apart() -> None:
    assert split_keys("q\x1b[A\x1bOB\x1b[5~\t\x1b[Z\r") == ["q", "up", "down", "page up", "tab", "back tab", "enter"]
    assert split_keys("\x1b[15;2~j\x1b") == ["j", "escape"]
