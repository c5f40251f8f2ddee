"""Who may import whom: each layer only itself and those before it, and only one speaks SQL."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"pgtask": "pgtask", "web": "pgtask.web", "migrations": "pgtask.migrations"}

# Innermost first. What stands together may import each other; `pgtask` is the public face itself.
LAYERS = (
    {"pgtask.model", "pgtask.version"},
    {"pgtask.config"},
    {"pgtask.database", "pgtask.migrations"},
    {"pgtask.observability"},
    {"pgtask.engine"},
    {"pgtask"},
    {"pgtask.builtin"},
    {"pgtask.benchmark"},
    {"pgtask.client"},
    {"pgtask.cli", "pgtask.web"},
    {"pgtask.__main__"},
    # Above all: it may use everything, and nothing that is run in production uses it.
    {"pgtask.testing"},
)

# Libraries that belong to some modules alone, so that the rest can be read, tested and started without.
OWNERS = {
    "psycopg": ("pgtask.database",),
    "psycopg_pool": ("pgtask.database",),
    "alembic": ("pgtask.database.migrations", "pgtask.migrations"),
    "sqlalchemy": ("pgtask.database.migrations", "pgtask.migrations"),
    "click": ("pgtask.cli",),
    "rich": ("pgtask.cli",),
    "flask": ("pgtask.web",),
    "werkzeug": ("pgtask.web",),
    "pydantic": ("pgtask.web",),
    "gunicorn": ("pgtask.web",),
    "prometheus_client": ("pgtask.web", "pgtask.observability", "pgtask.engine.exporter"),
    "urllib3": ("pgtask.client", "pgtask.engine.delivery"),
    "pytest": ("pgtask.testing.plugin",),
    "docker": ("pgtask.testing.servers",),
    "testcontainers": ("pgtask.testing.servers",),
    "httpcore": ("pgtask.builtin.request", "pgtask.builtin.target"),
}


class Import(NamedTuple):
    target: str
    line: int
    typing_only: bool


def _name(path: Path) -> str:
    top, *rest = path.relative_to(ROOT).with_suffix("").parts
    parts = [FOLDERS[top], *rest]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))}


def _imports(module: str) -> Iterator[Import]:
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    yield from _walk(ast.parse(path.read_text()).body, package, typing_only=False)


def _walk(nodes: list[ast.stmt], package: str, *, typing_only: bool) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, typing_only)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                yield Import(submodule if submodule in MODULES else base, node.lineno, typing_only)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _walk(node.body, package, typing_only=True)
            yield from _walk(node.orelse, package, typing_only=typing_only)
        else:
            inner = [child for child in ast.walk(node) if isinstance(child, ast.stmt)]
            yield from _walk(
                [child for child in inner if isinstance(child, (ast.Import, ast.ImportFrom))],
                package,
                typing_only=typing_only,
            )


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _layer(module: str) -> int:
    """The layer of the longest name that fits; `pgtask` alone stands for itself, not for all."""
    for level, layer in enumerate(LAYERS):
        if any(_within(module, package) for package in layer - {"pgtask"}):
            return level
    assert module == "pgtask", f"{module} is in no layer: add it to LAYERS"
    return next(level for level, layer in enumerate(LAYERS) if "pgtask" in layer)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_its_own_layer_and_those_before_it(module: str) -> None:
    upward = [
        f"line {found.line} imports {found.target}"
        for found in _imports(module)
        if found.target in MODULES and _layer(found.target) > _layer(module)
        # To name a type is no dependency, except for the model, which stands alone.
        if not found.typing_only or _within(module, "pgtask.model")
    ]
    assert upward == []


@pytest.mark.parametrize("module", MODULES)
def test_a_library_is_used_only_where_it_belongs(module: str) -> None:
    strays = [
        f"line {found.line} imports {found.target}"
        for found in _imports(module)
        for owners in [OWNERS.get(found.target.partition(".")[0])]
        if owners is not None and not found.typing_only and not any(_within(module, owner) for owner in owners)
    ]
    assert strays == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module: {
            found.target
            for found in _imports(module)
            if found.target in MODULES and found.target != module and not found.typing_only
        }
        for module in MODULES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("pgtask", {"alembic", "sqlalchemy", "click", "rich", "flask", "dotenv"}),
        ("pgtask.database.migrations", {"alembic", "sqlalchemy"}),
        ("pgtask.migrations", {"alembic", "sqlalchemy"}),
        ("pgtask.model", {"psycopg"}),
        # pytest loads the plugin in every project of the environment.
        (
            "pgtask.testing.plugin",
            {"psycopg", "alembic", "sqlalchemy", "docker", "testcontainers", "asyncio", "psutil"},
        ),
        ("pgtask.builtin.app", {"httpcore", "alembic", "sqlalchemy"}),
    ],
)
def test_importing_stays_light(module: str, unwanted: set[str]) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert unwanted.isdisjoint(json.loads(ran.stdout))
