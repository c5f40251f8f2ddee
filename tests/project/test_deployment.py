"""What is given for Docker and systemd fits the commands and settings that there are."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from dotenv import dotenv_values

from pgtask.cli.context import State
from pgtask.cli.main import main
from pgtask.config import Settings, load_settings
from pgtask.model.duration import parse_duration

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}
UNIT = ROOT / "deploy" / "systemd" / "pgtask-worker@.service"
VARIABLES = {f"PGTASK_{field.name.upper()}" for field in fields(Settings)} - {"PGTASK_ORIGINS"}


def parsed(words: Sequence[str]) -> dict[str, Any]:
    """The parameters of a command line of pgtask. Raises click.UsageError when there is no such command or option."""
    context = main.make_context("pgtask", list(words), obj=State())
    command: click.Command = main
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        command, context = found, found.make_context(name, rest, parent=context)
    return context.params


def check_settings(variables: Mapping[str, str | None], directory: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that these variables make; all of them must be known."""
    ours = {name: value or "" for name, value in variables.items() if name.startswith("PGTASK_")}
    assert set(ours) - VARIABLES == set()
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    return load_settings(directory=directory)


def with_defaults(value: str) -> str:
    """What Compose puts in for ${NAME:-default} where nothing is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def read_unit() -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(UNIT.read_text())
    return unit


# Compose


@pytest.mark.parametrize("name", OURS)
def test_the_services_run_real_commands_with_real_settings(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = OURS[name]
    parsed(service["command"])
    environment = {name: with_defaults(value or "") for name, value in service["environment"].items()}

    assert sorted(OURS) == ["migrate", "worker"]
    settings = check_settings(environment, tmp_path, monkeypatch)

    assert settings.database_url == "postgresql://pgtask:pgtask@postgres:5432/pgtask"
    assert settings.app is None


def test_workers_start_after_the_schema_and_the_schema_after_the_server() -> None:
    services = COMPOSE["services"]
    assert services["worker"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["migrate"]["restart"] == "no"
    assert services["worker"]["restart"] == "unless-stopped"
    assert services["worker"]["deploy"]["replicas"] == 2
    assert services["postgres"]["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]


def test_a_container_is_given_longer_to_stop_than_its_jobs_are() -> None:
    worker = COMPOSE["services"]["worker"]

    assert parse_duration(worker["stop_grace_period"]) > parsed(worker["command"])["grace"]


def test_a_wrong_command_would_be_noticed() -> None:
    for words in (["worker", "--graces", "30s"], ["db", "migrat"], ["worker", "--grace", "soon"]):
        with pytest.raises(click.UsageError):
            parsed(words)


# The image


def test_the_image_is_built_from_all_that_the_wheel_needs_and_nothing_else_is_sent() -> None:
    copied = {
        source.rstrip("/")
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {"pgtask", *project["tool"]["setuptools"]["package-dir"].values()}
    needed |= {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == needed == sent


def test_the_image_runs_pgtask_as_an_ordinary_user_who_is_told_to_stop_by_term() -> None:
    final = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    words = dict(line.split(" ", 1) for line in final.splitlines() if line and line[0].isupper() and " " in line)

    assert words["USER"] == "10001:10001"
    assert words["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(words["ENTRYPOINT"]) == ["pgtask"]
    parsed(json.loads(words["CMD"]))


# systemd


def test_the_unit_runs_a_real_command_which_ends_before_it_is_killed() -> None:
    service = read_unit()["Service"]
    program, *words = shlex.split(service["ExecStart"].replace("%H", "host").replace("%i", "shop"))

    assert Path(program).name == "pgtask"
    assert parse_duration(service["TimeoutStopSec"]) > parsed(words)["grace"]
    assert parsed(words)["name"] == "host-shop"
    assert (service["Type"], service["KillMode"], service["Restart"]) == ("notify", "mixed", "always")
    assert parse_duration(service["WatchdogSec"]) > Settings().lease / 3


def test_the_units_environment_file_holds_real_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = dotenv_values(UNIT.with_name("example.env"))

    assert check_settings(variables, tmp_path, monkeypatch).app == "shop:tasks"


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="left out: systemd-analyze is not installed here (Debian: apt-get install systemd)",
)
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("pgtask")
    unit = tmp_path / "pgtask-worker@shop.service"
    unit.write_text(re.sub(r"(?<=ExecStart=)\S+", str(program), UNIT.read_text()))

    ran = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)

    # It complains of the machine's own units too, and ends with 0 whatever it finds.
    assert [line for line in ran.stderr.splitlines() if "pgtask-worker" in line] == []
    assert ran.returncode == 0, ran.stderr
