"""The pytest plugin in projects of others: a folder of its own, and pytest as a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from pgtask.testing import servers

README = Path(__file__).resolve().parents[2] / "README.md"

Project = Callable[..., subprocess.CompletedProcess[str]]

SHOP = """
from pgtask import PgTask, Retry

tasks = PgTask()
sent = []


@tasks.task(queue="mail", max_retries=1, retry=Retry.fixed("5m"))
def send_email(to: str, subject: str = "hi") -> str:
    if to == "broken":
        raise ValueError("no such address")
    sent.append(to)
    return to


def sign_up(address: str) -> None:
    send_email.enqueue(to=address, subject="Welcome")
"""

CONFIGURED = """
[tool.pgtask]
app = "shop"
"""


@pytest.fixture
def project(tmp_path: Path, pgtask_server: str) -> Project:
    """Writes files and runs pytest on them."""

    def run(
        *arguments: str, environment: dict[str, str] | None = None, **files: str
    ) -> subprocess.CompletedProcess[str]:
        for name, text in files.items():
            file = tmp_path / name.replace("_toml", ".toml")
            (file if file.suffix else file.with_suffix(".py")).write_text(text)
        given = {name: value for name, value in os.environ.items() if not name.startswith(("PGTASK", "PYTEST"))}
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=tmp_path,
            env=given | {servers.VARIABLE: pgtask_server} | (environment or {}),
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def passed(ran: subprocess.CompletedProcess[str], count: int) -> None:
    """So many tests passed, and nothing else happened."""
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(rf"^=+ {count} passed in ", ran.stdout, re.MULTILINE), ran.stdout


def test_each_fixture_and_helper_works_in_a_project_of_others(project: Project) -> None:
    tests = """
import shop
from pgtask.testing import advance, assert_enqueued, drain, enqueued


def test_inline(pgtask_inline):
    shop.sign_up("a@b.c")
    assert shop.sent.pop() == "a@b.c"
    assert [ran.status for ran in pgtask_inline.ran] == ["completed"]
    shop.sign_up("broken")
    assert [job.status for job in pgtask_inline.waiting] == ["retrying"]
    pgtask_inline.run_waiting()
    assert pgtask_inline.ran[-1].status == "failed"
    assert_enqueued(shop.send_email, {"to": "broken"}, count=1)


def test_on_a_database(pgtask_live, monkeypatch):
    shop.sign_up("a@b.c")
    assert shop.sent == []
    assert_enqueued(shop.send_email, {"to": "a@b.c"}, queue="mail", count=1)
    monkeypatch.setattr(shop, "sent", [])
    (ran,) = drain(pgtask_live)
    assert (ran.outcome, ran.result, shop.sent) == ("completed", "a@b.c", ["a@b.c"])


def test_retries(pgtask_live):
    assert enqueued(pgtask_live) == []
    shop.sign_up("broken")
    assert [ran.status for ran in drain(pgtask_live)] == ["retrying"]
    advance(pgtask_live, "6m")
    assert [ran.status for ran in drain(pgtask_live)] == ["failed"]


def test_a_database_alone(pgtask_database):
    import psycopg
    with psycopg.connect(pgtask_database) as connection:
        assert connection.execute("SELECT count(*) FROM pgtask.jobs").fetchone() == (0,)
"""
    passed(project(shop=SHOP, test_shop=tests, pyproject_toml=CONFIGURED), 4)


def test_failing_assertions_say_what_there_is_instead(project: Project) -> None:
    tests = """
import shop
from pgtask.testing import assert_enqueued


def test_wrong_payload(pgtask_live):
    shop.sign_up("a@b.c")
    assert_enqueued(shop.send_email, {"to": "x@y.z"})


def test_wrong_count(pgtask_inline):
    shop.sign_up("a@b.c")
    shop.sign_up("d@e.f")
    assert_enqueued(shop.send_email, queue="mail", count=1)
"""
    ran = project(shop=SHOP, test_shop=tests, pyproject_toml=CONFIGURED)

    assert ran.returncode == 1
    shown = [line[1:].strip() for line in ran.stdout.splitlines() if line.startswith("E")]
    assert shown == [
        "AssertionError: Expected at least one job of shop.send_email with {'to': 'x@y.z'}; found 0.",
        "Jobs of this task (1):",
        "job 1 in queue mail, pending: {'to': 'a@b.c', 'subject': 'Welcome'}",
        "AssertionError: Expected 1 job of shop.send_email in queue mail; found 2.",
        "Jobs of this task (2):",
        "job 1 in queue mail, completed: {'to': 'a@b.c', 'subject': 'Welcome'}",
        "job 2 in queue mail, completed: {'to': 'd@e.f', 'subject': 'Welcome'}",
    ]
    # The traceback ends in the test, not in pgtask.
    assert "assertions.py" not in ran.stdout


def test_the_application_is_named_by_setting_or_fixture_or_asked_for(project: Project) -> None:
    tests = """
def test_inline(pgtask_inline):
    assert pgtask_inline.app is not None
"""
    conftest = """
import pytest
import shop


@pytest.fixture(scope="session")
def pgtask_app():
    return shop.tasks
"""
    asked = project(shop=SHOP, test_shop=tests)
    assert asked.returncode == 1
    assert "ConfigurationError: Which application is under test?" in asked.stdout

    passed(project(shop=SHOP, test_shop=tests, environment={"PGTASK_APP": "shop:tasks"}), 1)
    passed(project(shop=SHOP, test_shop=tests, conftest=conftest), 1)


def test_projects_that_do_not_use_it_pay_nothing(project: Project) -> None:
    tests = """
import sys


def test_nothing_is_loaded():
    assert {"psycopg", "docker", "testcontainers", "alembic", "sqlalchemy", "psutil"}.isdisjoint(sys.modules)
"""
    passed(project("-W", "error", test_other=tests), 1)


def test_processes_that_share_the_tests_do_not_disturb_each_other(project: Project) -> None:
    tests = """
import os

import pytest
import shop
from pgtask.testing import drain, enqueued


@pytest.mark.parametrize("number", range(6))
def test_on_a_database(number, pgtask_live):
    assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == "2"
    assert enqueued(pgtask_live) == []
    shop.sign_up("a@b.c")
    (ran,) = drain(pgtask_live)
    assert ran.outcome == "completed"
"""
    passed(project("-n", "2", shop=SHOP, test_shop=tests, pyproject_toml=CONFIGURED), 6)


def test_every_database_is_dropped_whatever_became_of_the_tests(project: Project, pgtask_server: str) -> None:
    tests = """
import psycopg


def test_database(pgtask_database, pgtask_template):
    with psycopg.connect(pgtask_database) as connection:
        (name,) = connection.execute("SELECT current_database()").fetchone()
    print("made", name, pgtask_template)
    assert False
"""
    ran = project("-s", test_other=tests)
    assert ran.returncode == 1

    (names,) = re.findall(r"made (\w+) (\w+)", ran.stdout)
    with psycopg.connect(pgtask_server) as connection:
        left = connection.execute("SELECT datname FROM pg_database WHERE datname = ANY (%s)", [list(names)]).fetchall()
    assert left == []


def test_the_example_in_the_readme_runs(project: Project) -> None:
    blocks = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", README.read_text(), re.DOTALL)

    assert [name for name, _ in blocks] == ["shop", "test_shop"]
    passed(project(pyproject_toml=CONFIGURED, **dict(blocks)), 2)
