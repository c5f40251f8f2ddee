from __future__ import annotations

import re

import pytest

from pgtask.database import queues as store
from tests import rows
from tests.command_line import add_live_worker, add_run, answer, lines, on_terminal, run
from tests.rows import Connection, ago, insert


def listed(database: str) -> dict[str, dict[str, object]]:
    return {queue["name"]: queue for queue in answer(run(database, "queues", "list", "--json"))["items"]}


def test_the_default_queue_is_always_there(database: str) -> None:
    ((name, state, *counts),) = lines(run(database, "queues", "list"))
    assert (name, state, counts) == ("default", "active", ["0", "0", "0", "0", "0", "", "0", "", ""])


def test_queues_are_counted_by_status(database: str, connection: Connection) -> None:
    insert(connection, "t", queue="a", count=3, scheduled_at=ago(60))
    insert(connection, "t", queue="a", count=2, priority=3)
    insert(connection, "t", queue="a", scheduled_at=ago(-60))
    insert(connection, "t", queue="a", retry_count=1, scheduled_at=ago(-60))
    insert(connection, "t", queue="a", retry_count=1)
    insert(connection, "t", queue="a", status="running")
    insert(connection, "t", queue="b", status="running", count=2)
    add_live_worker(connection, queues=["a", "c"])
    add_live_worker(connection, expires_at=ago(1))
    connection.execute("INSERT INTO pgtask.tasks (name, queue) VALUES ('t', 'd')")
    connection.execute("INSERT INTO pgtask.queues (name, priority) VALUES ('e', 7)")

    found = listed(database)
    assert list(found) == ["e", "a", "b", "c", "d", "default"]
    counts = ("pending", "scheduled", "retrying", "running", "workers", "counts_exact")
    assert [found["a"][count] for count in counts] == [5, 1, 2, 1, 1, True]
    assert [found["b"][count] for count in counts] == [0, 0, 0, 2, 0, True]
    assert (found["b"]["oldest_due_at"], found["e"]["priority"]) == (None, 7)
    shown = on_terminal(database, "queues", "list").splitlines()
    assert shown[2].split() == ["a", "active", "5", "1", "2", "1", "1", "m", "1"]


def test_large_counts_are_marked_as_what_they_are(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "COUNT_CAP", 100)
    insert(connection, "t", queue="big", count=1000)
    insert(connection, "t", queue="big", scheduled_at=ago(-60), count=150)
    found = listed(database)["big"]
    assert (found["pending"], found["counts_exact"], found["pending_estimated"]) == (101, False, False)
    assert " 101+ " in on_terminal(database, "queues", "list")

    connection.execute("VACUUM ANALYZE pgtask.jobs")
    found = listed(database)["big"]
    assert (found["pending_estimated"], found["scheduled"]) == (True, 101)
    assert 900 <= int(str(found["pending"])) <= 1200
    assert "~1,0" in on_terminal(database, "queues", "list")


def test_a_queue_is_created_changed_and_deleted(database: str, connection: Connection) -> None:
    created = answer(run(database, "queues", "create", "mail", "--max-retries", "-1", "--retry-delay", "1m", "--json"))
    assert (created["max_retries"], created["retry_delay"], created["timeout"]) == (-1, 60, None)
    again = run(database, "queues", "create", "mail")
    assert again.exit_code == 1
    assert again.stderr == "Error: Queue 'mail' exists already. Change it: pgtask queues set mail\n"

    options = (
        "--max-retries",
        "inherit",
        "--priority",
        "5",
        "--weight",
        "7",
        "--retry-strategy",
        "fixed",
        "--timeout",
        "90",
    )
    changed = answer(run(database, "queues", "set", "mail", *options, "--json"))
    assert (changed["max_retries"], changed["priority"], changed["retry_strategy"]) == (None, 5, "fixed")
    assert (changed["retry_delay"], changed["timeout"], changed["weight"]) == (60, 90, 7)
    assert answer(run(database, "queues", "set", "mail", "--retry-strategy", "inherit", "--json"))["timeout"] == 90

    (id,) = insert(connection, "t", queue="mail")
    refused = run(database, "queues", "delete", "mail")
    assert refused.exit_code == 1
    assert "Cancel them first: pgtask jobs cancel --queue mail" in refused.stderr
    connection.execute("DELETE FROM pgtask.jobs WHERE id = %s", [id])
    assert answer(run(database, "queues", "delete", "mail", "--json")) == {"name": "mail", "deleted": True}
    assert "mail" not in listed(database)


LIMITS = {
    "max_workers": 8,
    "max_workers_per_key": 2,
    "rate_limit": "100/min",
    "rate_burst": 5,
    "max_size": 2000,
    "retry_budget": 0.2,
    "dead_letter_queue": "graves",
}


def test_limits_are_set_shown_and_taken_back(database: str, connection: Connection) -> None:
    options = ["--max-workers", "8", "--max-workers-per-key", "2", "--rate-limit", "100/min", "--rate-burst", "5"]
    options += ["--max-size", "2000", "--retry-budget", "20%", "--dead-letter-queue", "graves"]
    created = answer(run(database, "queues", "create", "mail", *options, "--json"))
    assert LIMITS.items() <= created.items()
    query = "SELECT rate_limit, rate_period, rate_burst, limited FROM pgtask.queues"
    assert connection.execute(query).fetchall() == [(100, 60.0, 5, True)]

    shown = on_terminal(database, "queues", "stats", "mail")
    for line in ("Max workers          8", "Rate limit           100/min, 5 at once", "Retry budget         20 %"):
        assert line in shown
    wide = on_terminal(database, "queues", "list", columns=200)
    assert "8 workers, 2 per key, 100/min, 2,000 waiting, 20 % retries, dead to graves" in wide
    assert "LIMITS" not in on_terminal(database, "queues", "list", columns=80)

    taken = [f"--{name.replace('_', '-')}={value}" for name, value in dict.fromkeys(LIMITS, "none").items()]
    taken = [option for option in taken if "burst" not in option and "per-key" not in option]
    changed = answer(run(database, "queues", "set", "mail", *taken, "--max-workers-per-key", "1", "--json"))
    assert {changed[name] for name in LIMITS} == {None, 1}
    assert "Rate limit" not in on_terminal(database, "queues", "stats", "mail")


def test_a_rate_brings_its_own_burst_and_a_burst_changes_it(database: str) -> None:
    def changed(*options: str) -> tuple[str, int]:
        queue = answer(run(database, "queues", "set", "default", *options, "--json"))
        return queue["rate_limit"], queue["rate_burst"]

    assert changed("--rate-limit", "50/s") == ("50/s", 50)
    assert changed("--rate-burst", "7") == ("50/s", 7)
    assert changed("--rate-limit", "5/10s") == ("5/10s", 1)


def test_a_changed_limit_is_announced(database: str, connection: Connection) -> None:
    connection.execute("LISTEN pgtask")
    run(database, "queues", "set", "default", "--rate-limit", "50/s")
    assert "queues" in [notice.payload for notice in connection.notifies(timeout=10, stop_after=1)]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--rate-burst", "5"], "A burst needs a rate: give both, such as --rate-limit 100/min --rate-burst 5."),
        (["--dead-letter-queue", "default"], "A queue cannot be its own dead letter queue: name another one."),
        (["--dead-letter-queue", "x" * 129], "The name of a dead letter queue has 1 to 128 bytes."),
        (["--dead-letter-queue", ""], "The name of a dead letter queue has 1 to 128 bytes."),
    ],
)
def test_what_only_the_database_can_refuse_is_one_clear_line(database: str, options: list[str], complaint: str) -> None:
    result = run(database, "queues", "set", "default", *options)
    assert (result.exit_code, result.stderr) == (2, f"Error: {complaint}\n")


def test_a_queue_without_a_name_is_refused_in_words(database: str) -> None:
    result = run(database, "queues", "create", "")
    assert (result.exit_code, result.stderr) == (2, "Error: A queue's name has 1 to 128 bytes.\n")


def test_a_queue_that_jobs_name_can_be_changed_without_being_created(database: str, connection: Connection) -> None:
    insert(connection, "t", queue="mail")
    assert "exists only by" in run(database, "queues", "delete", "mail").stderr
    assert answer(run(database, "queues", "set", "mail", "--priority", "2", "--json"))["priority"] == 2


@pytest.mark.parametrize("command", [["pause"], ["resume"], ["set", "--priority", "1"], ["stats"], ["delete"]])
def test_an_unknown_queue_is_not_found(database: str, connection: Connection, command: list[str]) -> None:
    insert(connection, "t", queue="mail")
    result = run(database, "queues", *command, "mial")
    assert result.exit_code == 3
    assert result.stderr == "Error: There is no queue 'mial'. Did you mean 'mail'?\n"
    assert rows.number(connection, "SELECT count(*) FROM pgtask.queues") == 0


def test_pausing_keeps_the_first_time_and_name(database: str, connection: Connection) -> None:
    connection.execute(
        "INSERT INTO pgtask.queues (name, paused_at, paused_by) VALUES ('a', now() - interval '3 h', 'dana')"
    )
    assert lines(run(database, "queues", "pause", "a", "default")) == [["a", "paused"], ["default", "paused"]]
    narrow, wide = (on_terminal(database, "queues", "list", columns=columns) for columns in (80, 120))
    assert "paused 3 h" in narrow
    assert re.search(r"paused 3 h .* dana$", wide, re.MULTILINE)
    assert listed(database)["default"]["paused_by"]

    assert lines(run(database, "queues", "resume", "a", "default")) == [["a", "resumed"], ["default", "resumed"]]
    assert lines(run(database, "queues", "resume", "a")) == [["a", "not paused"]]
    found = listed(database)["a"]
    assert (found["paused_at"], found["paused_by"]) == (None, None)


def test_pause_and_resume_answer_in_json(database: str) -> None:
    (paused,) = answer(run(database, "queues", "pause", "default", "--json"))["items"]
    assert (paused["name"], paused["paused_at"][-1]) == ("default", "Z")
    assert answer(run(database, "queues", "resume", "default", "--json"))["items"] == [
        {"name": "default", "resumed": True}
    ]


def test_stats_of_a_queue_are_of_that_queue_alone(database: str, connection: Connection) -> None:
    add_run(connection, 1, "completed", queue="mail", task="send")
    add_run(connection, 2, "failed", queue="mail", task="send")
    add_run(connection, 3, "completed", queue="default", task="echo")
    insert(connection, "send", queue="mail")
    found = answer(run(database, "queues", "stats", "mail", "--json"))
    assert (found["name"], found["pending"]) == ("mail", 1)
    assert found["statistics"]["by_task"].keys() == {"send"}
    assert found["statistics"]["total"]["error_rate"] == 0.5
    shown = on_terminal(database, "queues", "stats", "mail")
    assert "2 attempts, 2.0/h, 50 % errors" in shown
    assert ["pending", "1"] in lines(run(database, "queues", "stats", "mail"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "Say what to change"),
        (["--priority", "101"], "a number from -100 to 100"),
        (["--max-retries", "-2"], "0 is none, -1 without limit"),
        (["--timeout", "0"], "longer than nothing"),
        (["--retry-strategy", "cubic"], "'cubic' is not one of"),
        (["--rate-limit", "100"], "write 100/min, 5/10s or 1000/h."),
        (["--rate-limit", "none", "--rate-burst", "5"], "Without a rate there is no burst"),
        (["--rate-burst", "0"], "no whole number from 1 to 2147483647."),
        (["--max-workers", "-1"], "no whole number from 0 to 2147483647."),
        (["--max-workers-per-key", "none"], "'none' is no whole number from 1 to"),
        (["--max-size", "3000000000"], "no whole number from 1 to 2147483647."),
        (["--retry-budget", "0.2"], "write 20%, from 0% to 100%."),
        (["--retry-budget", "101%"], "write 20%, from 0% to 100%."),
    ],
)
def test_settings_that_make_no_sense_are_usage_errors(database: str, options: list[str], complaint: str) -> None:
    result = run(database, "queues", "set", "default", *options)
    assert result.exit_code == 2
    assert complaint in result.stderr
