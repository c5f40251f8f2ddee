"""docs/json.md says what `--json` prints; here each command is compared with it, key by key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from pgtask.cli.main import main
from pgtask.engine.scheduler import fire_due
from tests import rows
from tests.command_line import add_live_worker, add_run, answer, run
from tests.logins import Logins
from tests.rows import Connection, ago, insert
from tests.schedules import add

DOCUMENT = Path(__file__).parents[2] / "docs" / "json.md"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
SETTINGS = {"timeout", "retry_delay", "max_retry_delay", "lease", "jitter", "catchup_max_age", "rate_limit"}
UNITS = ("_seconds", "_bytes", "_per_second", "_percent", "_rate")
OF_NO_UNIT = {"ratio", "retry_budget", "value", "bound", "load_average"}
OF_BENCH, OF_DEMO = {"figure", "floor", "target", "bench settings"}, {"file", "sources"}

PRIMITIVES: dict[str, set[type]] = {
    "time": {str},
    "text": {str},
    "boolean": {bool},
    "integer": {int},
    "number": {int, float},
}

Keys = dict[str, str]
"""The type of each key."""


class Section(NamedTuple):
    """What stands under one heading: its text without tables, and the tables, each with the text before it."""

    text: str
    tables: list[tuple[str, Keys]]


def read_sections(part: str) -> dict[str, Section]:
    """The sections under `## part`, by their headings."""
    body = re.split(r"^## ", DOCUMENT.read_text(), flags=re.MULTILINE)
    (chosen,) = (text for text in body if text.startswith(part + "\n"))
    found = {}
    for piece in chosen.split("\n### ")[1:]:
        heading, _, rest = piece.partition("\n")
        section = Section(" ".join(line for line in rest.splitlines() if line and line[0] != "|"), [])
        before = ""
        for line in rest.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if line.startswith("| key "):
                section.tables.append((before, {}))
            elif line.startswith("| "):
                section.tables[-1][1][cells[0]] = cells[1]
            elif line and line[0] != "|":
                before = line
        found[heading.strip("`").removeprefix("pgtask ")] = section
    return found


OBJECTS = {name: section.tables[0][1] for name, section in read_sections("Objects").items()}
COMMANDS = read_sections("Commands")


class Checker:
    """Compares what was printed with the document, and remembers which objects it has seen."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def check(self, command: str, printed: Any) -> None:
        """What a command printed is what its section says."""
        section = COMMANDS[command]
        match = re.search(r"\bAn? (.+?)(?:[.,:]|$)", section.text)
        assert match
        kind, own = match[1], section.tables[0][1] if section.tables else {}
        if kind == "page of":
            self._keys(printed, OBJECTS["page of X"] | {"items": "any"}, command)
            assert printed["items"], f"{command} has printed no item"
            for item in printed["items"]:
                self._keys(item, own, command)
        elif own:
            self._keys(printed, OBJECTS.get(kind, {}) | own, command)
            self.seen.add(kind)
        else:
            self._value(printed, kind, command)

    def check_line(self, command: str, printed: dict[str, Any]) -> None:
        """An object of which the further keys depend on its event."""
        (_, always), *others = COMMANDS[command].tables
        (own,) = (keys for before, keys in others if f"`{printed['event']}`" in before)
        self._keys(printed, always | own, command)

    def _keys(self, value: Any, keys: Keys, where: str) -> None:
        assert isinstance(value, dict), where
        assert sorted(value) == sorted(keys), where
        for key, kind in keys.items():
            self._value(value[key], kind, f"{where}: {key}")

    def _value(self, value: Any, kind: str, where: str) -> None:
        if kind.endswith(" or null"):
            if value is not None:
                self._value(value, kind.removesuffix(" or null"), where)
            return
        form, _, of = kind.partition(" of ")
        match form:
            case "any":
                pass
            case "list":
                assert isinstance(value, list), where
                for item in value:
                    self._value(item, of, where)
            case "map":
                assert isinstance(value, dict), where
                for name, item in value.items():
                    self._value(item, of, f"{where}, {name}")
            case "page":
                self._keys(value, {"items": f"list of {of}", "next_cursor": "text or null"}, where)
                assert value["items"], f"{where} has printed no item"
            case "time" | "text" | "boolean" | "integer" | "number":
                assert type(value) in PRIMITIVES[form], f"{where}: {value!r}"
                assert form != "time" or TIME.fullmatch(value), f"{where}: {value}"
            case _:
                self.seen.add(kind)
                self._keys(value, OBJECTS[kind], where)


def with_json(command: click.Command, path: str = "") -> Iterator[str]:
    """The commands that have --json."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from with_json(found, f"{path} {name}")
    elif any("--json" in parameter.opts for parameter in command.params):
        yield path.strip()


def test_each_command_with_json_is_described() -> None:
    described = {re.sub(r" (--.*|ID)$", "", name) for name in COMMANDS}
    assert described == set(with_json(main))


def test_keys_say_what_they_are_in() -> None:
    tables = [*OBJECTS.values(), *(keys for section in COMMANDS.values() for _, keys in section.tables)]
    for key, kind in [pair for table in tables for pair in table.items()]:
        assert kind.startswith("time") == (key in {"at", "start_by", "unique_until"} or key.endswith("_at")), key
        if kind.startswith("number"):
            assert key.endswith(UNITS) or key in SETTINGS | OF_NO_UNIT, key


def fill(connection: Connection) -> dict[str, int]:
    """Jobs, workers, tasks and queues in many states; the ids of some."""
    connection.execute("INSERT INTO pgtask.tasks (name, queue, max_retries) VALUES ('echo', 'mail', 2)")
    connection.execute(
        "INSERT INTO pgtask.queues (name, paused_at, paused_by, timeout) VALUES ('mail', now(), 'dana', 30), ('bulk', "
        "NULL, NULL, NULL)"
    )
    worker = add_live_worker(connection, "web", queues=["mail"], cpu_percent=8.5, rss_bytes=45_000_000)
    add_live_worker(connection, "old", expires_at=ago(100), dead_at=ago(95))
    running, progress = insert(
        connection, "echo", status="running", attempt=1, started_at=ago(4), worker_id=worker, executor=1, count=2
    )
    connection.execute("UPDATE pgtask.jobs SET progress = 40, progress_message = 'read' WHERE id = %s", [progress])
    waiting, other = insert(connection, "echo", queue="mail", tags=["a"], count=2)
    add_run(connection, 1000, None, attempt=1, started_at=ago(90), error_type="ValueError", error="bad", traceback="t")
    used = {"cpu_seconds": 1.5, "peak_rss_bytes": 1000, "worker_id": worker, "executor": 1}
    add_run(connection, 1000, "failed", attempt=2, error_type="ValueError", error="bad", **used)
    connection.execute(
        "INSERT INTO pgtask.job_logs (job_id, attempt, line, level, message) VALUES (1000, 2, 1, 'info', 'hello')"
    )
    add_run(connection, 1001, worker_id=worker)
    for id, status, error_type in ((1002, "failed", "A"), (1003, "failed", "A"), (1004, "quarantined", "B")):
        add_run(connection, id, status, task="dead", error_type=error_type, error="bad", copy_id=7)
    for id in (1005, 1006):
        add_run(connection, id, "failed", task="dead", error_type="B" if id == 1005 else "C", error="bad")
    connection.execute("INSERT INTO pgtask.audit (actor, action, subject) VALUES ('shop', 'pause_queue', 'mail')")
    add(connection, age=35, name="tick", task="other")
    fire_due(connection)
    return {"worker": worker, "running": running, "progress": progress, "waiting": waiting, "other": other}


def test_each_command_prints_what_is_described(database: str, connection: Connection, logins: Logins) -> None:
    ids = fill(connection)
    worker, other, waiting = str(ids["worker"]), str(ids["other"]), str(ids["waiting"])
    checker = Checker()
    shown = {
        "jobs list": ["jobs", "list"],
        "jobs show": ["jobs", "show", "1000"],
        "jobs explain": ["jobs", "explain", waiting],
        "queues list": ["queues", "list"],
        "queues stats": ["queues", "stats", "mail"],
        "workers list": ["workers", "list"],
        "workers show": ["workers", "show", worker],
        "tasks list": ["tasks", "list"],
        "tasks open": ["tasks", "open", "echo", "--for", "1h"],
        "tasks close": ["tasks", "close", "echo"],
        "tasks set": ["tasks", "set", "echo", "--rate-limit", "100/min"],
        "tokens create": ["tokens", "create", "shop", "--scope", "enqueue", "--queue", "mail", "--rate", "5"],
        "tokens list": ["tokens", "list"],
        "tokens revoke": ["tokens", "revoke", "shop"],
        "audit list": ["audit", "list"],
        "top": ["top"],
        "stats": ["stats"],
        "config show": ["config", "show"],
        "config show --origin": ["config", "show", "--origin"],
        "db migrate": ["db", "migrate"],
        "db status": ["db", "status"],
        "db grant": ["db", "grant", "reader"],
        "db revoke": ["db", "revoke", "reader"],
        "enqueue": ["enqueue", "echo", "n=1"],
        "queues create": ["queues", "create", "new"],
        "queues set": ["queues", "set", "new", "--timeout", "5s"],
        "queues pause": ["queues", "pause", "new", "mail"],
        "queues resume": ["queues", "resume", "new", "bulk"],
        "queues delete": ["queues", "delete", "new"],
        "jobs edit": ["jobs", "edit", waiting, "--priority", "high"],
        "jobs run-now": ["jobs", "run-now", waiting],
        "jobs cancel ID": ["jobs", "cancel", other],
        "jobs cancel --task": ["jobs", "cancel", "--task", "echo", "-q", "mail", "-y"],
        "jobs retry ID": ["jobs", "retry", "1000"],
        "jobs retry --task": ["jobs", "retry", "--task", "echo", "--status", "cancelled", "-y"],
        "jobs delete ID": ["jobs", "delete", "1001", "-y"],
        "jobs delete --task": ["jobs", "delete", "--task", "echo", "--status", "cancelled", "-y"],
        "jobs cancel --detach": ["jobs", "cancel", "--task", "nobody*", "-y", "--detach"],
        "bulk list": ["bulk", "list"],
        "bulk show": ["bulk", "show", "1"],
        "bulk cancel": ["bulk", "cancel", "1"],
        "bulk watch": ["bulk", "watch", "1"],
        "dead list": ["dead", "list"],
        "dead stats": ["dead", "stats"],
        "dead resolve ID": ["dead", "resolve", "1002", "--note", "x"],
        "dead show": ["dead", "show", "1002"],
        "dead unresolve": ["dead", "unresolve", "1002"],
        "dead retry ID": ["dead", "retry", "1002", "--rate", "1/s"],
        "dead delete ID": ["dead", "delete", "1003", "-y"],
        "dead resolve --task": ["dead", "resolve", "--task", "dead", "-s", "quarantined", "-y"],
        "dead retry --task": ["dead", "retry", "--task", "dead", "--error", "B*", "-y"],
        "dead delete --task": ["dead", "delete", "--task", "dead", "--since", "1h", "-y"],
        "workers stop": ["workers", "stop", worker],
        "schedules list": ["schedules", "list"],
        "schedules show": ["schedules", "show", "tick"],
        "schedules add": ["schedules", "add", "new", "@daily", "echo", "--timeout", "5s", "--tag", "a"],
        "schedules set": ["schedules", "set", "new", "--jitter", "5s"],
        "schedules preview": ["schedules", "preview", "0 2 * * *"],
        "schedules pause": ["schedules", "pause", "new"],
        "schedules resume": ["schedules", "resume", "new"],
        "schedules run": ["schedules", "run", "new"],
        "schedules delete": ["schedules", "delete", "new"],
        "feed list": ["feed", "list"],
        "feed drop": ["feed", "drop", "c"],
        "webhooks add": ["webhooks", "add", "w", "https://example.com/", "--status", "failed", "-q", "mail"],
        "webhooks list": ["webhooks", "list"],
        "webhooks show": ["webhooks", "show", "w"],
        "webhooks pause": ["webhooks", "pause", "w"],
        "webhooks resume": ["webhooks", "resume", "w"],
        "webhooks delete": ["webhooks", "delete", "w"],
    }
    assert run(database, "events", "--consumer", "c", "--once").exit_code == 0
    for name, arguments in shown.items():
        checker.check(name, answer(run(database, *arguments, "--json")))
    checker.check("jobs show", answer(run(database, "jobs", "show", waiting, "--json")))
    checker.check("doctor", json.loads(run(database, "doctor", "--json").stdout))

    run(database, "webhooks", "add", "w", "http://127.0.0.1:9/")
    checker.check("webhooks test", json.loads(run(database, "webhooks", "test", "w", "--json").stdout))

    assert set(OBJECTS) - checker.seen - {"page of X"} == OF_BENCH | OF_DEMO
    untold = {"jobs tail", "jobs tail ID", "doctor", "demo", "bench", "events", "webhooks test"}
    assert set(COMMANDS) == {*shown, *untold}


def end(connection: Connection, id: int) -> None:
    """Ends a running job, with a line of its log."""
    connection.execute("DELETE FROM pgtask.jobs WHERE id = %s", [id])
    connection.execute(
        "INSERT INTO pgtask.job_logs (job_id, attempt, line, level, message) VALUES (%s, 1, 1, 'info', 'hello')", [id]
    )
    add_run(connection, id, cpu_seconds=0.5, peak_rss_bytes=1000)


def test_tail_of_a_job_prints_what_is_described(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = fill(connection)["progress"]
    monkeypatch.setattr("pgtask.cli.tail.time.sleep", lambda seconds: end(connection, id))  # noqa: ARG005
    lines = [json.loads(line) for line in run(database, "jobs", "tail", str(id), "--json").stdout.splitlines()]
    for line in lines:
        Checker().check_line("jobs tail ID", line)
    assert {line["event"] for line in lines} == {"started", "progress", "log", "ended", "status"}


def test_tail_prints_what_is_described(database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    id = fill(connection)["running"]

    def sleep(seconds: float) -> None:
        if rows.job(connection, id) is None:
            raise KeyboardInterrupt
        end(connection, id)
        insert(connection, "echo", status="running", attempt=1, started_at=ago(0))

    monkeypatch.setattr("pgtask.cli.tail.time.sleep", sleep)
    lines = [json.loads(line) for line in run(database, "jobs", "tail", "--json").stdout.splitlines()]
    checker = Checker()
    for line in lines:
        checker.check("jobs tail", line)
    assert {line["event"] for line in lines} == {"started", "ended"}


def test_events_print_what_is_described(database: str, connection: Connection) -> None:
    fill(connection)
    ended = run(database, "events", "--once", "--from-start", "--json").stdout
    reset = run(database, "events", "--once", "--after", "9-1-1-1", "--json").stdout
    lines = [json.loads(line) for line in (ended + reset).splitlines()]
    for line in lines:
        Checker().check_line("events", line)
    assert {line["event"] for line in lines} == {"ended", "reset"}


def test_demo_prints_what_is_described(database: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    checker = Checker()
    checker.check("demo", answer(run(database, "demo", str(tmp_path), "--json")))
    assert checker.seen >= OF_DEMO


def test_bench_prints_what_is_described(database: str) -> None:
    checker = Checker()
    result = run(database, "bench", "--quick", "--jobs", "100", "--only", "enqueue,rss", "--json", "-")
    checker.check("bench", answer(result))
    assert checker.seen >= OF_BENCH
