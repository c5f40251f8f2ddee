"""The application of the built-in tasks."""

from __future__ import annotations

from pgtask.builtin.arithmetic import math
from pgtask.builtin.compute import compute
from pgtask.builtin.echo import echo
from pgtask.builtin.fail import fail
from pgtask.builtin.file import file
from pgtask.builtin.sleep import sleep
from pgtask.engine.app import PgTask

app = PgTask()

for _function in (compute, echo, fail, file, math, sleep):
    app.task(name=_function.__name__)(_function)
