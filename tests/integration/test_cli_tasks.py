"""`pgtask tasks`: what it shows and changes."""

from __future__ import annotations

import pytest

from tests.command_line import answer, lines, on_terminal, run
from tests.rows import Connection


@pytest.fixture(autouse=True)
def some(connection: Connection) -> None:
    """Two tasks, one with a rate that its code declares."""
    connection.execute(
        "INSERT INTO pgtask.tasks (name, rate_limit, rate_period, rate_burst,"
        " declared_rate_limit, declared_rate_period, declared_rate_burst)"
        " VALUES ('send', 100, 60, 5, 100, 60, 5), ('pay', NULL, NULL, NULL, NULL, NULL, NULL)"
    )


def task(database: str, name: str) -> dict[str, object]:
    (found,) = (item for item in answer(run(database, "tasks", "list", "--json"))["items"] if item["name"] == name)
    return dict(found)


def test_a_circuit_is_opened_shown_and_closed(database: str) -> None:
    assert lines(run(database, "tasks", "open", "pay", "--for", "2h", "--reason", "the bank is away")) == [
        ["pay", "circuit open for 2 h"]
    ]
    found = task(database, "pay")
    assert (found["circuit"], found["circuit_reason"]) == ("open", "the bank is away")
    assert found["next_probe_at"]
    assert found["circuit_changed_by"]
    shown = on_terminal(database, "tasks", "list", columns=200)
    (line,) = (line for line in shown.splitlines() if "pay" in line)
    assert "open" in line
    assert "in 1 h" in line
    assert "the bank is away" in line
    (plain,) = (line for line in lines(run(database, "tasks", "list")) if line[0] == "pay")
    assert plain[12] == "open"

    assert lines(run(database, "tasks", "close", "pay")) == [["pay", "circuit closed"]]
    assert lines(run(database, "tasks", "close", "pay")) == [["pay", "circuit was not open"]]
    assert task(database, "pay")["circuit"] == "closed"


def test_one_that_is_opened_without_an_end_says_so(database: str) -> None:
    run(database, "tasks", "open", "pay")

    assert "by hand" in on_terminal(database, "tasks", "list", columns=200)


def test_a_rate_is_set_taken_away_and_inherited(database: str) -> None:
    def rate() -> tuple[object, ...]:
        found = task(database, "send")
        return found["rate_limit"], found["rate_period_seconds"], found["rate_burst"], found["rate_set_by"] is not None

    assert rate() == (100, 60, 5, False)
    run(database, "tasks", "set", "send", "--rate-limit", "7/10s", "--rate-burst", "3")
    assert rate() == (7, 10, 3, True)
    run(database, "tasks", "set", "send", "--rate-burst", "4")
    assert rate() == (7, 10, 4, True)
    assert lines(run(database, "tasks", "set", "send", "--rate-limit", "none")) == [["send", "rate none"]]
    assert rate() == (None, None, None, True)
    assert lines(run(database, "tasks", "set", "send", "--rate-limit", "inherit")) == [
        ["send", "rate 100/min, burst 5"]
    ]
    assert rate() == (100, 60, 5, False)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["open", "pya"], 3, "No worker has registered a task 'pya'. Did you mean 'pay'?"),
        (["close", "nothing"], 3, "No worker has registered a task 'nothing'. See: pgtask tasks list"),
        (["set", "pya", "--rate-limit", "1/s"], 3, "Did you mean 'pay'?"),
        (["set", "pay"], 2, "Say what to change, such as --rate-limit 100/min."),
        (["set", "pay", "--rate-limit", "many"], 2, "'many' is no rate: write 100/min, 5/10s or 1000/h."),
        (
            ["set", "pay", "--rate-limit", "none", "--rate-burst", "2"],
            2,
            "--rate-burst belongs to a rate, not to none.",
        ),
        (["set", "pay", "--rate-burst", "2"], 2, "Task 'pay' has no rate: give --rate-limit, too, such as 100/min."),
        (["set", "pay", "--rate-limit", "1/s", "--rate-burst", "0"], 2, "'0' is no whole number from 1 on."),
        (["open", "pay", "--for", "0s"], 2, "It must be longer than nothing."),
    ],
)
def test_refusals_say_what_to_write(database: str, arguments: list[str], code: int, said: str) -> None:
    result = run(database, "tasks", *arguments)

    assert result.exit_code == code
    assert said in result.stderr
