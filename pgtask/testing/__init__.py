"""Testing an application's tasks: inline, or on a PostgreSQL of the test's own.

The fixtures of the pytest plugin (`pgtask_inline`, `pgtask_live`, `pgtask_database`) bring both; what is here works
with any test runner.
"""

from pgtask.testing.assertions import assert_enqueued, enqueued
from pgtask.testing.attempts import Ran
from pgtask.testing.drainage import drain
from pgtask.testing.inline_mode import Inline, inline
from pgtask.testing.time_travel import advance

__all__ = ["Inline", "Ran", "advance", "assert_enqueued", "drain", "enqueued", "inline"]
