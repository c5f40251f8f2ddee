"""The benchmark measures what it says and reports it whole; how fast anything is, is not for tests to judge."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from pgtask.benchmark import suite
from pgtask.benchmark.figures import Figure, Floor, Target
from pgtask.benchmark.pgbench import Pgbench
from tests.command_line import run, start
from tests.support import eventually

JOBS = 200
FIGURE = {"name", "title", "unit", "value", "samples", "floor", "ratio", "targets"}


def bench(database: str, *arguments: str) -> tuple[int, str, str]:
    """Runs `pgtask bench` at its smallest: its exit code, output and errors."""
    pipe = subprocess.PIPE
    with start(database, "bench", "--quick", "--jobs", str(JOBS), *arguments, stdout=pipe, stderr=pipe) as process:
        output, errors = process.communicate(timeout=110)
    return process.returncode, output, errors


def databases(connection: psycopg.Connection) -> set[str]:
    """The databases of benchmarks."""
    rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'pgtask\\_bench\\_%'")
    return {row[0] for row in rows}


@pytest.mark.parametrize(
    ("only", "names"),
    [
        ("drain", {"drain.isolated_2", "drain.threads_1", "drain.threads_2", "drain.coroutines_1"}),
        ("enqueue", {"enqueue.one", "enqueue.many", "enqueue.copy"}),
        ("trigger,wal", {"trigger", "wal", "cpu.worker", "cpu.server"}),
        ("burst,held", {"burst", "held", "held.wait"}),
        ("queues,backlog", {"queues", "backlog"}),
        ("history,snapshot", {"history", "snapshot"}),
        (
            "api",
            {
                "api.post",
                "api.bulk",
                *(f"api.{what}.{word}" for what in ("post", "detail", "list") for word in ("p50", "p95", "p99")),
            },
        ),
        ("rss,slots", {"rss.executor", "rss.supervisor", "slots.threads", "slots.coroutines"}),
    ],
)
def test_each_measurement_gives_its_figures_with_all_that_is_needed_to_judge_them(
    database: str, connection: psycopg.Connection, only: str, names: set[str]
) -> None:
    before = databases(connection)
    code, output, errors = bench(database, "--only", only, "--json", "-")

    assert code == 0, errors
    report: dict[str, Any] = json.loads(output)
    assert report["settings"] == {"runs": 1, "jobs": JOBS, "quick": True}
    assert report["server"]["server_version"]
    assert isinstance(report["durable"], bool)
    assert report["pgbench"]
    # The processor time of a server in a container cannot be seen.
    assert {figure["name"] for figure in report["figures"]} | {"cpu.server"} == names | {"cpu.server"}
    for figure in report["figures"]:
        assert set(figure) == FIGURE
        assert len(figure["samples"]) == 1
        assert figure["value"] == figure["samples"][0]
        if figure["floor"]:
            assert figure["ratio"] == pytest.approx(figure["value"] / figure["floor"]["value"])
        for target in figure["targets"]:
            assert isinstance(target["met"], bool)
            assert target["text"][0] in "≤≥"
    assert databases(connection) == before


def test_without_a_file_it_prints_a_line_for_each_figure_and_says_on_what(database: str, tmp_path: Path) -> None:
    code, output, errors = bench(database, "--only", "rss", "--json", str(tmp_path / "out.json"))

    assert code == 0, errors
    assert [line.split("\t")[0] for line in output.splitlines()] == ["rss.executor", "rss.supervisor"]
    assert json.loads((tmp_path / "out.json").read_text())["figures"][0]["name"] == "rss.executor"
    assert "synchronous_commit" in errors
    assert "show that all works, not how fast it is" in errors


def test_an_interruption_shows_what_is_done_and_drops_its_database(
    database: str, connection: psycopg.Connection
) -> None:
    before = databases(connection)
    arguments = ("bench", "--quick", "--only", "rss,slots", "--runs", "1000", "--json", "-")
    with start(database, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        (name,) = eventually(lambda: databases(connection) - before, 60)
        other = conninfo_to_dict(database) | {"dbname": name}
        eventually(lambda: _workers(other), 60)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)

    assert (process.returncode, errors.splitlines()[-1]) == (130, "Interrupted.")
    assert databases(connection) == before


def _workers(database: dict[str, Any]) -> int:
    try:
        with psycopg.connect(**database) as connection:
            row = connection.execute("SELECT count(*) FROM pgtask.workers").fetchone()
    except psycopg.Error:
        return 0
    return row[0] if row else 0


def test_what_cannot_be_measured_is_left_out_with_the_reason(
    database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Pgbench, "find", lambda: None)
    result = run(database, "bench", "--quick", "--only", "trigger,rss", "--json", str(tmp_path / "out.json"))

    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out.json").read_text())["left_out"].keys() == {"trigger"}
    assert "Left out: trigger, as it takes pgbench" in result.stderr
    assert "There is no pgbench here" in result.stderr


def test_an_unknown_measurement_is_refused_with_those_that_there_are() -> None:
    result = run(None, "bench", "--only", "drain,drian")

    assert result.exit_code == 2
    assert "There is no measurement 'drian'." in result.stderr
    assert all(name in result.stderr.replace("\n", " ") for name in suite.MEASUREMENTS)


def test_a_ratio_is_the_median_of_the_runs_own_ratios_and_targets_are_judged_by_it() -> None:
    figure = Figure(
        name="n",
        title="t",
        unit="jobs/s",
        samples=[10.0, 60.0, 40.0],
        floor=Floor("f", [20.0, 60.0, 50.0]),
        targets=(Target(0.8), Target(0.81), Target(40, absolute=True), Target(39, at_most=True, absolute=True)),
    )

    assert (figure.value, figure.ratio) == (40.0, 0.8)
    assert [figure.met(target) for target in figure.targets] == [True, False, True, False]
    alone = Figure(name="n", title="t", unit="s", samples=[1.0], targets=(Target(0.5),))
    assert (alone.ratio, alone.met(alone.targets[0])) == (None, None)
