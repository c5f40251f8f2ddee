"""Testing an application's tasks: inline, or on a PostgreSQL of the test's own.

The fixtures of the pytest plugin (`pgtask_inline`, `pgtask_live`, `pgtask_database`) bring both; what is here works
with any test runner.
"""

import importlib as _importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from pgtask.testing.assertions import assert_enqueued, enqueued
    from pgtask.testing.attempts import Ran
    from pgtask.testing.drainage import drain
    from pgtask.testing.inline_mode import Inline, inline
    from pgtask.testing.time_travel import advance

__all__ = ["Inline", "Ran", "advance", "assert_enqueued", "drain", "enqueued", "inline"]

# Imported when they are first used: pytest loads the plugin, and so this package, in projects that have no use for it.
_HOMES = {
    "Inline": "inline_mode",
    "Ran": "attempts",
    "advance": "time_travel",
    "assert_enqueued": "assertions",
    "drain": "drainage",
    "enqueued": "assertions",
    "inline": "inline_mode",
}


def __getattr__(name: str) -> _Any:
    """The public name, from the module that it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
