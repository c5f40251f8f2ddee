from __future__ import annotations

from typing import Any

import pytest

from pgtask.engine.scheduler import fire_due
from tests.command_line import answer, lines, on_terminal, run
from tests.rows import Connection, live, number
from tests.schedules import add, column, jobs


def shown(database: str, name: str) -> Any:
    return answer(run(database, "schedules", "show", name, "--json"))


def test_a_schedule_is_added_changed_and_deleted(database: str, connection: Connection) -> None:
    given = ("--timezone", "Europe/Vienna", "--jitter", "30s", "-q", "mail", "--overlap", "skip", "--tag", "a")
    made = answer(run(database, "schedules", "add", "r", "0 7 * * mon-fri", "report", "year=2026", *given, "--json"))
    names = ("expression", "timezone", "jitter", "queue", "overlap", "tags", "payload", "state", "source")
    assert [made[name] for name in names] == [
        *("0 7 * * mon-fri", "Europe/Vienna", 30.0, "mail", "skip", ["a"], {"year": 2026}, "active", "runtime")
    ]
    again = run(database, "schedules", "add", "r", "@daily", "report")
    assert again.exit_code == 1
    assert again.stderr == "Error: Schedule 'r' exists already. Change it: pgtask schedules set r\n"

    changes = (
        "--expression",
        "@every 5m",
        "--queue",
        "other",
        "--payload",
        '{"year": 1}',
        "--starts-at",
        "2036-01-01T00:00Z",
    )
    changed = answer(run(database, "schedules", "set", "r", *changes, "--priority", "high", "--json"))
    assert [changed[name] for name in ("expression", "queue", "payload", "priority")] == [
        *("@every 5m", "other", {"year": 1}, 2)
    ]
    assert changed["anchored_at"] == changed["starts_at"] == "2036-01-01T00:00:00Z"
    changed = answer(
        run(database, "schedules", "set", "r", "--priority", "inherit", "--starts-at", "inherit", "--json")
    )
    assert (changed["priority"], changed["starts_at"], changed["jitter"]) == (None, None, 30.0)

    assert answer(run(database, "schedules", "delete", "r", "--json")) == {"name": "r", "deleted": True}
    assert number(connection, "SELECT count(*) FROM pgtask.schedules") == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "x", "0 0 30 2 *", "t"], "never due"),
        (["add", "x", "* * * * * *", "t"], "six fields"),
        (["add", "x", "R * * * *", "t"], "a jitter for the schedule"),
        (["add", "x", "@reboot", "t"], "Enqueue the job where your program starts"),
        (["add", "x", "@daily", "t", "--timezone", "Mars/Olympus"], "Mars/Olympus"),
        (["add", "x", "@daily", "t", "--catchup-limit", "5000"], "1 to 1000"),
        (["add", "x", "@daily", "t", "--jitter", "2d"], "0 to 86400"),
        (["add", "x", "@daily", "t", "--starts-at", "2036-01-02", "--ends-at", "2036-01-01"], "later than starts_at"),
        (["add", "x" * 201, "@daily", "t"], "1 to 200"),
        (["add", "x", "@daily", "t", "--overlap", "maybe"], "queue_one"),
        (["set", "s", "--expression", "61 * * * *"], "0 to 59"),
        (["set", "s"], "Say what to change"),
        (["set", "s", "--timezone", "inherit"], "There is no time zone 'inherit'"),
        (["set", "s", "--expression", "inherit"], "1 field"),
        (["preview", "0 0 30 2 *"], "never due"),
        (["preview", "@daily", "--timezone", "Mars/Olympus"], "Mars/Olympus"),
    ],
)
def test_refusals_are_one_clear_line(database: str, connection: Connection, arguments: list[str], says: str) -> None:
    add(connection, name="s")
    result = run(database, "schedules", *arguments)
    assert result.exit_code == 2, result.output
    assert says in result.stderr.splitlines()[-1]
    assert result.stdout == ""
    assert number(connection, "SELECT count(*) FROM pgtask.schedules") == 1


@pytest.mark.parametrize("command", ["show", "pause", "resume", "run", "delete", "preview"])
def test_an_unknown_schedule_is_not_found(database: str, connection: Connection, command: str) -> None:
    add(connection, name="nightly")
    result = run(database, "schedules", command, "nihgtly")
    assert result.exit_code == 3
    assert result.stderr == "Error: There is no schedule 'nihgtly'. Did you mean 'nightly'?\n"


def test_one_unknown_name_among_others_changes_nothing(database: str, connection: Connection) -> None:
    id = add(connection, name="nightly")
    assert run(database, "schedules", "pause", "nightly", "x").exit_code == 3
    assert column(connection, id, "paused_at") is None


def test_schedules_are_listed_with_their_states(database: str, connection: Connection) -> None:
    add(connection, "@every 10s", name="active", age=11)
    add(connection, "0 0 * * *", name="over", age=11, ends_at="2001-01-01")
    add(connection, "nonsense", name="broken")
    add(connection, "@daily", name="gone", source="code", application="a:b")
    connection.execute("UPDATE pgtask.schedules SET orphaned_at = now() WHERE name = 'gone'")
    add(connection, "@daily", name="paused")
    assert lines(run(database, "schedules", "pause", "paused")) == [["paused", "paused"]]
    fire_due(connection)

    listed = lines(run(database, "schedules", "list"))
    assert [line[:2] for line in listed] == [
        [name, state]
        for name, state in (
            ("active", "active"),
            ("broken", "broken"),
            ("gone", "orphaned"),
            ("over", "over"),
            ("paused", "paused"),
        )
    ]
    assert [bool(line[4]) for line in listed] == [True, False, False, False, False]
    table = on_terminal(database, "schedules", "list", columns=80)
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "@every 10s" in table
    assert shown(database, "broken")["error"]


def test_a_schedule_shows_its_next_ticks_and_what_came_of_the_latest(database: str, connection: Connection) -> None:
    id = add(connection, "@every 10s", name="s", age=35, payload={"a": 1})
    fire_due(connection)
    found = shown(database, "s")
    assert [tick["outcome"] for tick in found["ticks"]["items"]] == ["skipped", "skipped", "fired"]
    assert found["ticks"]["items"][-1]["job_id"] == jobs(connection, id)[0]
    assert found["ticks"]["items"][-1]["status"] == "pending"
    assert len(found["next"]) == 10
    assert found["next"][0]["tick_at"] == found["next_tick_at"]

    terminal = on_terminal(database, "schedules", "show", "s", columns=120)
    assert "every 10 s" in terminal
    assert "overlap is queue_one" in terminal
    plain = lines(run(database, "schedules", "show", "s"))
    assert ["name", "s"] in plain
    assert ["payload", '{"a": 1}'] in plain


def test_pausing_and_resuming_and_running(database: str, connection: Connection) -> None:
    id = add(connection, name="s")
    assert "resume it: pgtask schedules resume s" in on_terminal(database, "schedules", "pause", "s")
    (line,) = lines(run(database, "schedules", "run", "s"))
    assert live(connection, int(line[0]))["schedule_id"] == id
    assert lines(run(database, "schedules", "resume", "s")) == [["s", "resumed"]]
    assert lines(run(database, "schedules", "resume", "s")) == [["s", "not paused"]]


def test_a_schedule_of_the_code_is_not_deleted(database: str, connection: Connection) -> None:
    add(connection, name="s", source="code", application="a:b")
    result = run(database, "schedules", "delete", "s")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: Schedule 's' is declared in code and would come back: delete it there, or pause it.\n"
    )


def test_an_expression_is_previewed_without_a_database() -> None:
    given = ("schedules", "preview", "30 2 * * *", "--timezone", "America/New_York", "-n", "400", "--json")
    items = answer(run("postgresql://nobody@127.0.0.1:1/nothing", *given))["items"]
    assert len(items) == 400
    assert {item["local"][11:16] for item in items} == {"02:30", "03:00"}
    changes = [item["clock_change"] for item in items if item["clock_change"]]
    assert changes == ["clocks go from 02:00 to 03:00"]
    assert all(item["tick_at"].endswith("Z") for item in items)


def test_inherit_takes_back_what_a_schedule_may_have_none_of(database: str, connection: Connection) -> None:
    six = ("--seconds", "first", "--tag", "a", "--tag", "b", "-q", "mail", "--timeout", "5s", "--max-retries", "1")
    made = answer(run(database, "schedules", "add", "s", "0 0 7 * * *", "t", *six, "--json"))
    assert (made["seconds"], made["tags"]) == ("first", ["a", "b"])
    options = ("--seconds", "--tag", "-q", "--timeout", "--max-retries", "--task")
    back = [word for option in options for word in (option, "inherit")]
    changed = answer(run(database, "schedules", "set", "s", *back, "--expression", "0 7 * * *", "--json"))
    names = ("seconds", "tags", "queue", "timeout", "max_retries", "task", "expression")
    assert [changed[name] for name in names] == [None, None, None, None, None, "inherit", "0 7 * * *"]
    plain = answer(run(database, "schedules", "add", "plain", "@daily", "t", "--tag", "inherit", "--json"))
    assert plain["tags"] is None


@pytest.mark.parametrize("expression", ["0 0 1 * *", "@every 5m"])
def test_the_first_tick_shown_is_the_first_to_fire(database: str, connection: Connection, expression: str) -> None:
    given = ("--starts-at", "2036-01-01T00:00Z", "--ends-at", "2036-03-01T00:00Z")
    run(database, "schedules", "add", "s", expression, "t", *given)
    items = answer(run(database, "schedules", "preview", "s", "--json"))["items"]
    fire_due(connection)
    assert items[0]["tick_at"] == shown(database, "s")["next_tick_at"] == "2036-01-01T00:00:00Z"


def test_a_preview_says_what_the_expression_means(database: str) -> None:
    terminal = on_terminal(database, "schedules", "preview", "0 7 * * mon-fri", "--timezone", "Europe/Vienna")
    assert terminal.startswith("at 07:00")
    assert len(terminal.splitlines()) == 12


def test_a_schedule_is_previewed_by_its_name(database: str, connection: Connection) -> None:
    add(connection, "@every 1h", name="two words")
    (first, *rest) = answer(run(database, "schedules", "preview", "two words", "--json"))["items"]
    assert len(rest) == 9
    fire_due(connection)
    assert shown(database, "two words")["next_tick_at"] == first["tick_at"]
    run(database, "schedules", "pause", "two words")
    assert "It is paused" in run(database, "schedules", "preview", "two words").stderr
