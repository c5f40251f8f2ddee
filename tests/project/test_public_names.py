"""What `import pgtask` and `import pgtask.testing` offer, and that nothing else slips out with them."""

from __future__ import annotations

import json
import subprocess
import sys
from types import ModuleType

import pytest

import pgtask
import pgtask.testing

each = pytest.mark.parametrize("module", [pgtask, pgtask.testing], ids=lambda module: module.__name__)


@each
def test_public_names_are_listed_sorted_and_all_there(module: ModuleType) -> None:
    assert sorted(set(module.__all__)) == list(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@each
def test_nothing_else_is_public(module: ModuleType) -> None:
    leaked = [
        name
        for name, value in vars(module).items()
        # pytest adds names such as @pytest_ar to the package of its plugin.
        if name.isidentifier() and not name.startswith("_") and name not in module.__all__
        # Submodules become attributes as soon as anyone imports them.
        if not (isinstance(value, ModuleType) and value.__name__ == f"{module.__name__}.{name}")
    ]
    assert leaked == []


@each
def test_a_star_import_brings_the_same_names(module: ModuleType) -> None:
    code = f"import json; from {module.__name__} import *; print(json.dumps([n for n in dir() if n[:2] != '__']))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert sorted(set(json.loads(ran.stdout)) - {"json"}) == sorted(module.__all__)
