"""What is shipped is whole, and works where only that is installed."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import psycopg
import pytest

import pgtask

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"pgtask": "pgtask", "web": "pgtask/web", "migrations": "pgtask/migrations"}
METADATA = ("pyproject.toml", "README.md", "LICENSE")
SHIPPED = {".py", ".sql", ".mako", ".typed", ".html", ".css"}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist and the wheel made from it, of a clean copy of the sources."""
    source = tmp_path_factory.mktemp("source")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in METADATA:
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", "."]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return source / "dist"


@pytest.fixture(scope="session")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the wheel alone."""
    target = tmp_path_factory.mktemp("installed")
    (wheel,) = built.glob("*.whl")
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    return target


def _sources() -> dict[str, str]:
    """Each file to be shipped: where it lies here, and where it goes in the package."""
    return {
        str(path.relative_to(ROOT)): str(Path(place, path.relative_to(ROOT / folder)))
        for folder, place in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SHIPPED
    }


def _run(installed: Path, code: str, *arguments: str) -> str:
    """Runs Python on the installed files, with nothing of the checkout on its path."""
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=installed.parent,
        env=os.environ | {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_the_wheel_holds_every_source_file_under_its_installed_name(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert names == set(_sources().values())


def test_the_sdist_holds_every_source_file_where_it_lies(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    made = {name for name in names if name.startswith("pgtask.egg-info/")} | {"PKG-INFO", "setup.cfg"}

    assert names - made == {*_sources(), *METADATA}


def test_the_metadata_says_what_the_package_says(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))

    assert metadata["Version"] == pgtask.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Requires-Python"] == ">=3.11"


def test_the_command_and_the_pytest_plugin_are_declared_and_pytest_is_no_requirement(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        contents = {name.rpartition(".dist-info/")[2]: name for name in archive.namelist() if ".dist-info/" in name}
        declared = archive.read(contents["entry_points.txt"]).decode()
        metadata = email.message_from_bytes(archive.read(contents["METADATA"]))

    assert declared.split() == [
        *("[console_scripts]", "pgtask", "=", "pgtask.cli.main:main"),
        *("[pytest11]", "pgtask", "=", "pgtask.testing.plugin"),
    ]
    asking = [text for text in metadata.get_all("Requires-Dist", []) if text.startswith("pytest>")]
    assert asking == ['pytest>=8.3; extra == "testing"']


def test_the_moved_packages_are_found_where_the_wheel_is_installed(installed: Path) -> None:
    code = """
import pgtask, pgtask.migrations, pgtask.web
print(pgtask.__file__, pgtask.migrations.__file__, pgtask.web.__file__, sep="\\n")
"""
    assert _run(installed, code).splitlines() == [
        str(installed / "pgtask" / "__init__.py"),
        str(installed / "pgtask" / "migrations" / "__init__.py"),
        str(installed / "pgtask" / "web" / "__init__.py"),
    ]


def test_the_installed_wheel_migrates_a_database(installed: Path, empty_database: str) -> None:
    code = """
import sys
from pgtask.database import migrations
print(migrations.__file__, *migrations.migrate(sys.argv[1]), sep="\\n")
"""
    file, *applied = _run(installed, code, empty_database).splitlines()

    assert Path(file).is_relative_to(installed)
    assert applied
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT count(*) FROM pgtask.jobs").fetchone() == (0,)


def test_the_command_is_installed(installed: Path) -> None:
    assert (installed / "bin" / "pgtask").exists()
    assert "Usage" in _run(installed, "from pgtask.cli.main import main; main()", "--help")
