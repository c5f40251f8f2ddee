"""`pgtask config`: the settings in force."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import click

from pgtask.cli.context import settings
from pgtask.cli.output import Column, json_option, print_json, print_table
from pgtask.config import SECRETS, Settings, mask_secrets
from pgtask.model.bounds import Bounds
from pgtask.model.place import Place
from pgtask.model.wording import duration

DURATIONS = frozenset({"lease", "poll", "grace", "kill_after"})

# What a setting that is not given means.
MEANINGS = {
    "database_url": "embedded server",
    "url": "none: the database itself",
    "token": "none",
    "app": "built-in tasks",
    "queues": "all",
    "name": "host name",
    "max_jobs": "no limit",
    "max_rss": "no limit",
    "http_hosts": "none: the task http is off",
    "http_networks": "none but public ones",
    "smtp_host": "none: the task email writes files",
    "smtp_port": "by smtp_tls",
    "smtp_user": "none",
    "smtp_password": "none",
    "email_from": "pgtask at the host's name",
    "commands_file": "none: the task command is off",
    "cors_origins": "none",
    "trusted_proxies": "none",
    "metrics_port": "nowhere",
}


class Setting(NamedTuple):
    """A setting with its value as text and as JSON."""

    name: str
    value: Any
    shown: str
    origin: str


COLUMNS: tuple[Column[Setting], ...] = (
    Column(title="SETTING", show=lambda setting: setting.name),
    Column(
        title="VALUE",
        show=lambda setting: setting.shown,
        plain=lambda setting: None if setting.value is None else setting.shown,
        shrinks=True,
    ),
)
ORIGIN: Column[Setting] = Column(title="FROM", show=lambda setting: setting.origin)


@click.group()
def config() -> None:
    """Show the settings in force."""


@config.command()
@click.option("--origin", is_flag=True, help="Also show where each was given.")
@json_option
def show(origin: bool, json_output: bool) -> None:
    """Show the settings that a worker started here would have.

    Passwords are masked.

    Later sources win: defaults, pgtask.toml or [tool.pgtask] in pyproject.toml, .env, PGTASK_*,
    flags.
    """
    found = _settings(settings())
    if json_output and origin:
        print_json({item.name: {"value": item.value, "origin": item.origin} for item in found})
    elif json_output:
        print_json({item.name: item.value for item in found})
    else:
        print_table(found, (*COLUMNS, ORIGIN) if origin else COLUMNS, empty="")


def _settings(given: Settings) -> list[Setting]:
    found = []
    for field in fields(given):
        if field.name == "origins":
            continue
        value = getattr(given, field.name)
        if isinstance(value, (Path, Bounds, Place)):
            value = str(value)
        elif isinstance(value, tuple):
            value = list(value)
        elif field.name == "database_url" and value is not None:
            value = mask_secrets(value)
        elif field.name in SECRETS and value is not None:
            value = "***"
        found.append(Setting(field.name, value, _show(field.name, value), given.origin(field.name)))
    return found


def _show(name: str, value: Any) -> str:
    if value is None:
        return f"({MEANINGS[name]})"
    if name in DURATIONS:
        return duration(value)
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
