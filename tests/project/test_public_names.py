"""What `import pgtask` offers, and that nothing else slips out with it."""

from __future__ import annotations

import json
import subprocess
import sys
from types import ModuleType

import pgtask


def test_public_names_are_listed_sorted_and_all_there() -> None:
    assert sorted(set(pgtask.__all__), key=str.casefold) == list(pgtask.__all__)
    assert [name for name in pgtask.__all__ if not hasattr(pgtask, name)] == []


def test_nothing_else_is_public() -> None:
    leaked = [
        name
        for name, value in vars(pgtask).items()
        if not name.startswith("_") and name not in pgtask.__all__
        # Submodules become attributes as soon as anyone imports them.
        if not (isinstance(value, ModuleType) and value.__name__ == f"pgtask.{name}")
    ]
    assert leaked == []


def test_a_star_import_brings_the_same_names() -> None:
    code = "import json; from pgtask import *; print(json.dumps([n for n in dir() if n[:2] != '__']))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert sorted(set(json.loads(ran.stdout)) - {"json"}) == sorted(pgtask.__all__)
