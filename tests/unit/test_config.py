from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import pytest

from pgtask import config
from pgtask.config import Settings, available_cores, load_settings, mask_secrets
from pgtask.model.bounds import Bounds
from pgtask.model.errors import ConfigurationError


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("PGTASK_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.database_url is None
    assert settings.home == tmp_path / ".pgtask"
    assert settings.queues is None
    assert settings.processes == available_cores()
    assert (settings.concurrency, settings.lease, settings.poll, settings.grace) == (10, 30, 1, 30)
    assert settings.listen
    assert (settings.log_level, settings.log_format) == ("info", "auto")
    assert settings.origin("lease") == "default"


def test_each_source_wins_over_those_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text('[tool.pgtask]\nlease = "10s"')
    assert (load_settings().lease, load_settings().origin("lease")) == (10, "pyproject.toml")

    (tmp_path / "pgtask.toml").write_text("lease = 20\nconcurrency = 3")
    assert (load_settings().lease, load_settings().origin("lease")) == (20, "pgtask.toml")

    (tmp_path / ".env").write_text("PGTASK_LEASE=40s\nPGTASK_OTHER=1\nSECRET=2")
    assert (load_settings().lease, load_settings().origin("lease")) == (40, "PGTASK_LEASE in .env")

    monkeypatch.setenv("PGTASK_LEASE", "1m")
    assert (load_settings().lease, load_settings().origin("lease")) == (60, "PGTASK_LEASE")

    settings = load_settings({"lease": "2m", "poll": None})
    assert (settings.lease, settings.origin("lease")) == (120, "--lease")
    assert (settings.poll, settings.origin("poll")) == (1, "default")
    assert (settings.concurrency, settings.origin("concurrency")) == (3, "pgtask.toml")


def test_another_directory_can_be_read(tmp_path: Path) -> None:
    place = tmp_path / "project"
    place.mkdir()
    (place / "pgtask.toml").write_text('home = "state"\nqueues = ["mail", "default"]')
    settings = load_settings(directory=place)
    assert settings.home == place / "state"
    assert settings.queues == ("mail", "default")


def test_a_project_file_without_our_table_is_fine(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"')
    assert load_settings().lease == 30


def test_an_unknown_key_is_named_with_a_guess(tmp_path: Path) -> None:
    (tmp_path / "pgtask.toml").write_text("leese = 3")
    with pytest.raises(ConfigurationError, match=r"'leese' in pgtask\.toml\. Did you mean 'lease'\?"):
        load_settings()
    (tmp_path / "pgtask.toml").write_text("zzz = 3")
    with pytest.raises(ConfigurationError, match=r"'zzz' in pgtask\.toml\. Known: database_url, app"):
        load_settings()


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "pgtask.toml").write_text("lease = ")
    with pytest.raises(ConfigurationError, match=r"pgtask\.toml cannot be read"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("lease", "1h30m", 5400),
        ("grace", "0", 0),
        ("queues", "mail, default,,mail", ("mail", "default")),
        ("listen", "no", False),
        ("pooled", "yes", True),
        ("listen", "TRUE", True),
        ("processes", "4", 4),
        ("concurrency", "auto", Bounds(1, 100)),
        ("concurrency", " AUTO:2-7 ", Bounds(2, 7)),
        ("processes", "auto", Bounds(1, available_cores())),
        ("log_level", "DEBUG", "debug"),
        ("database_url", "host=/tmp dbname=x", "host=/tmp dbname=x"),
        ("database_url", "postgres://u@h/d", "postgres://u@h/d"),
        ("name", " web-1 ", "web-1"),
        ("http_hosts", "api.example.com, *.example.org:8443", ("api.example.com", "*.example.org:8443")),
        ("http_networks", "127.0.0.1,10.0.0.0/8", ("127.0.0.1", "10.0.0.0/8")),
        ("smtp_port", "2525", 2525),
        ("smtp_tls", "None", "none"),
        ("smtp_password", " hush ", " hush "),
    ],
)
def test_variables_are_parsed(monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object) -> None:
    monkeypatch.setenv(f"PGTASK_{name.upper()}", text)
    assert getattr(load_settings(), name) == value


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("lease", "soon", "PGTASK_LEASE is wrong: 'soon' is no duration"),
        ("lease", "0", "longer than nothing"),
        ("grace", "-1", "out of range"),
        ("concurrency", "0", "'0' is no whole number from 1 on"),
        ("processes", "many", "'many' is no whole number"),
        ("listen", "maybe", "'maybe' is neither true nor false"),
        ("log_level", "loud", "none of debug, info, warning, error"),
        ("queues", ",", "names no queue"),
        ("database_url", "mysql://h/d", "not a PostgreSQL URL"),
        ("database_url", "somewhere", "no URL"),
        ("http_hosts", "https://a.org", "is no host; write api.example.com"),
        ("http_hosts", ",", "names no host"),
        ("http_networks", "localhost", "does not appear to be an IPv4 or IPv6 network"),
        ("smtp_port", "70000", "is no port"),
        ("smtp_tls", "ssl", "none of starttls, tls, none"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, complaint: str
) -> None:
    monkeypatch.setenv(f"PGTASK_{name.upper()}", text)
    with pytest.raises(ConfigurationError, match=complaint):
        load_settings()


@pytest.mark.parametrize("text", ["lease = [1]", "queues = 3", "concurrency = true", "app = 1"])
def test_a_value_of_another_type_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "pgtask.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"in pgtask\.toml is wrong"):
        load_settings()


def test_paths_are_those_of_the_directory(tmp_path: Path) -> None:
    assert load_settings().outbox == tmp_path / ".pgtask" / "outbox"
    (tmp_path / "pgtask.toml").write_text('commands_file = "commands.toml"\noutbox = "/var/outbox"')
    settings = load_settings()
    assert (settings.commands_file, settings.outbox) == (tmp_path / "commands.toml", Path("/var/outbox"))


def test_a_password_does_not_show(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PGTASK_SMTP_PASSWORD", "hush")
    assert "hush" not in repr(load_settings())
    (tmp_path / "pgtask.toml").write_text("smtp_password = 123456")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "123456" not in str(caught.value)


def test_an_empty_variable_counts_as_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGTASK_QUEUES", "")
    monkeypatch.setenv("PGTASK_DATABASE_URL", "")
    assert load_settings().queues is None
    assert load_settings().database_url is None


def test_a_refused_url_does_not_show_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGTASK_DATABASE_URL", "mysql://me:hush@host/db")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://me:hush@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:hu@sh@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://host:5432/db", "postgresql://host:5432/db"),
        ("postgresql://me@h/db?password=hush&x=1", "postgresql://me@h/db?password=***&x=1"),
        ("host=h password=hush dbname=d", "host=h password=*** dbname=d"),
        ("host=h password='hu sh' dbname=d", "host=h password=*** dbname=d"),
        (r"host=h password = 'hu\'sh' dbname=d", "host=h password = *** dbname=d"),
        ("host=h sslpassword=hush", "host=h sslpassword=***"),
    ],
)
def test_passwords_are_masked(url: str, masked: str) -> None:
    assert mask_secrets(url) == masked


def test_every_setting_can_be_given() -> None:
    assert [*config._PARSERS, "origins"] == [field.name for field in fields(Settings)]
