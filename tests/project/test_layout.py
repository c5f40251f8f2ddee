"""The package list tells the truth, and no module outgrows its role."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 300

# Folders that lie at the top and are installed inside the package.
INSTALLED_AS = {"pgtask": "pgtask", "web": "pgtask.web", "migrations": "pgtask.migrations"}

MODULES = sorted(path for folder in INSTALLED_AS for path in (ROOT / folder).rglob("*.py"))


def test_the_package_list_names_every_folder_with_python_in_it() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]

    found = set()
    for module in MODULES:
        top, *rest = module.parent.relative_to(ROOT).parts
        found.add(".".join([INSTALLED_AS[top], *rest]))

    assert settings["packages"] == sorted(found)
    assert settings["package-dir"] == {name: folder for folder, name in INSTALLED_AS.items() if name != folder}


def test_every_package_has_an_init_that_says_what_it_is_for() -> None:
    folders = {module.parent for module in MODULES}

    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_longer_than_its_role_needs(module: Path) -> None:
    lines = len(module.read_text().splitlines())

    assert lines <= LONGEST
